"""A model server that follows a script: OpenAI-compatible, streaming, real sockets.

    with ModelServer([Reply("<code>\\nprint(1)\\n</code>"), Reply(status=503), Reply("done")]) as server:
        model = RouterModel("scripted", server.base_url)
        ...
    assert server.requests[0].body["stream"] is True

A script is a function from what was asked to the reply. Three are ready: in_order (a list is taken as that), by_turn
(many sessions with the same script) and by_words (another script per task). Also a process of its own:
`python -m tests.doubles.model_server --script file.json --port 0` prints its base URL.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

KEPT = 10_000  # requests that are remembered


@dataclass(frozen=True)
class Reply:
    """One scripted reply. Times in seconds.

    tokens win over text; text is said in pieces of four characters. silence comes before the first token, or, with
    break_after, after that many tokens. break_after: how the stream breaks after so many tokens (reasoning counts).
    raw: the bytes of the whole answer's body, sent in pieces of raw_piece bytes. body: the answer to a status that is
    an error.
    """

    text: str = ""
    tokens: Sequence[str] = ()
    delay: float = 0.0
    silence: float = 0.0
    reasoning: str = ""
    reasoning_field: str = "reasoning_content"
    tool_calls: Sequence[tuple[str, str]] = ()
    usage: Literal["last", "every", "separate", "none"] = "separate"
    input_tokens: int = 100
    finish_reason: str = "stop"
    done: bool = True  # whether [DONE] is sent
    break_after: int | None = None
    breaks: Literal["reset", "end", "error"] = (
        "reset"  # connection cut, clean end without [DONE], an error in the stream
    )
    error: Mapping[str, Any] = field(default_factory=lambda: {"message": "the backend is gone", "code": 503})
    stream: bool = True  # False: one JSON object, though a stream was asked for
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    provider: str = ""
    raw: bytes | None = None
    raw_piece: int = 2**20

    def said(self) -> list[str]:
        return [*self.tokens] or [self.text[i : i + 4] for i in range(0, len(self.text), 4)]


@dataclass
class Asked:
    """One request as it arrived, and what became of it."""

    headers: Mapping[str, str]
    body: Mapping[str, Any]
    sent_at: list[float] = field(default_factory=list)  # when each token was sent, time.monotonic()
    finished: threading.Event = field(default_factory=threading.Event)  # answered to the end, or broken as scripted
    left: threading.Event = field(default_factory=threading.Event)  # the client went away before the end

    @property
    def sent(self) -> int:
        """Tokens so far."""
        return len(self.sent_at)

    @property
    def user_texts(self) -> list[str]:
        return [str(message["content"]) for message in self.body["messages"] if message["role"] == "user"]

    @property
    def turn(self) -> int:
        """How many replies the conversation holds already."""
        return sum(message["role"] == "assistant" for message in self.body["messages"])


Script = Callable[[Asked], Reply]
AT_AN_END = Reply(status=400, body={"error": {"message": "The script is at its end.", "type": "invalid_request_error"}})


def in_order(replies: Sequence[Reply]) -> Script:
    """The next reply for each request, whoever asks."""
    left = iter(replies)
    return lambda asked: next(left, AT_AN_END)


def by_turn(replies: Sequence[Reply]) -> Script:
    """The reply at the conversation's own turn, so that any number of sessions can follow the same script."""
    return lambda asked: replies[asked.turn] if asked.turn < len(replies) else AT_AN_END


def by_words(scripts: Mapping[str, Script]) -> Script:
    """The script of those words that a user message holds; of several messages, the last that holds any. "" is the rest."""

    def choose(asked: Asked) -> Reply:
        for text in reversed(asked.user_texts):
            for words, script in scripts.items():
                if words and words in text:
                    return script(asked)
        return scripts[""](asked) if "" in scripts else AT_AN_END

    return choose


class ModelServer:
    """Serves a script on 127.0.0.1 within a with block. requests: what was asked so far, in order.

    models: what /v1/models lists; as the router's list it is in tests.doubles.router_list.
    """

    def __init__(
        self,
        script: Script | Sequence[Reply],
        port: int = 0,
        models: Sequence[Mapping[str, Any]] = ({"id": "scripted"},),
    ) -> None:
        self.models = list(models)
        self._script = script if callable(script) else in_order(script)
        self._port = port
        self._arrival = threading.Condition()
        self.requests: deque[Asked] = deque(maxlen=KEPT)

    def __enter__(self) -> ModelServer:
        routes = [
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/models", lambda _: JSONResponse({"object": "list", "data": self.models})),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            host="127.0.0.1",
            port=self._port,
            log_level="critical",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._uvicorn = uvicorn.Server(config)
        thread = threading.Thread(target=self._uvicorn.run, name="model server", daemon=True)
        thread.start()
        while not self._uvicorn.started:
            if not thread.is_alive():
                raise RuntimeError(f"no server on port {self._port}")
            time.sleep(0.005)
        self._port = self._uvicorn.servers[0].sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        # Not joined: uvicorn takes a fifth of a second to end, and nobody needs to wait for that.
        self._uvicorn.should_exit = self._uvicorn.force_exit = True

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def wait_for_request(self, number: int = 1, timeout: float = 60.0) -> Asked:
        """The request of that number, from 1; waits until it has arrived."""
        with self._arrival:
            if not self._arrival.wait_for(lambda: len(self.requests) >= number, timeout):
                raise AssertionError(f"{len(self.requests)} requests came within {timeout} s, not {number}")
            return self.requests[number - 1]

    async def _chat(self, request: Request) -> Response:
        asked = Asked(dict(request.headers), await request.json())
        with self._arrival:
            self.requests.append(asked)
            self._arrival.notify_all()
        reply = self._script(asked)
        headers = {**reply.headers, **({"x-inference-provider": reply.provider} if reply.provider else {})}
        if reply.status != 200:
            asked.finished.set()
            content = reply.body if isinstance(reply.body, str) else json.dumps(reply.body or {})
            return Response(content, reply.status, headers, media_type="application/json")
        if not reply.stream:
            asked.finished.set()
            return JSONResponse(_whole(reply), 200, headers)
        return _Streamed(reply, asked, {"content-type": "text/event-stream", **headers})


class _Streamed(Response):
    """Sends a reply token by token, and notes when the client leaves."""

    def __init__(self, reply: Reply, asked: Asked, headers: Mapping[str, str]) -> None:
        self.status_code, self.background, self.body = 200, None, b""
        self._reply, self._asked = reply, asked
        self.raw_headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        speaking = asyncio.create_task(self._speak(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait([speaking, leaving], return_when=asyncio.FIRST_COMPLETED)
            if speaking.done():
                self._asked.finished.set()
                speaking.result()  # a scripted reset ends the connection here, as an error
            else:
                self._asked.left.set()
        finally:
            for task in (speaking, leaving):
                task.cancel()
                with suppress(asyncio.CancelledError, _Reset):
                    await task

    async def _speak(self, send: Send) -> None:
        reply = self._reply
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if reply.raw is not None:
            for i in range(0, len(reply.raw), reply.raw_piece):
                await _write(send, reply.raw[i : i + reply.raw_piece])
                await asyncio.sleep(reply.delay)
        else:
            chunks = list(_chunks(reply))
            quiet_at = reply.break_after or 0
            due = time.monotonic()
            for number, (chunk, tokens) in enumerate(chunks):
                if number == quiet_at and reply.silence:
                    await asyncio.sleep(reply.silence)
                    due = time.monotonic()
                if number == reply.break_after:
                    if reply.breaks == "reset":
                        raise _Reset
                    if reply.breaks == "error":
                        await _write(send, _event({"error": reply.error}))
                    break
                due += reply.delay
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                self._asked.sent_at += [time.monotonic()] * tokens
                await _write(send, chunk)
            else:
                if reply.done:
                    await _write(send, b"data: [DONE]\n\n")
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Reset(Exception):
    """Raised into uvicorn, which then cuts the connection without the end of the body."""


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _write(send: Send, block: bytes) -> None:
    await send({"type": "http.response.body", "body": block, "more_body": True})


def _event(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


def _chunks(reply: Reply) -> Iterator[tuple[bytes, int]]:
    """The events of a reply with the number of tokens in each, up to [DONE]."""
    tokens = reply.said()
    deltas: list[dict[str, Any]] = [{reply.reasoning_field: reply.reasoning}] if reply.reasoning else []
    deltas += [{"content": token} for token in tokens]
    deltas += [
        {"tool_calls": [{"index": i, "id": f"call_{i}", "type": "function", "function": {"name": n, "arguments": a}}]}
        for i, (n, a) in enumerate(reply.tool_calls)
    ]
    for said, delta in enumerate(deltas, 1):
        chunk = _chunk([{"index": 0, "delta": delta, "finish_reason": None}])
        if reply.usage == "every":
            chunk["usage"] = _usage(reply, said)
        yield _event(chunk), 1
    last = _chunk([{"index": 0, "delta": {}, "finish_reason": reply.finish_reason}])
    if reply.usage in ("last", "every"):
        last["usage"] = _usage(reply, len(deltas))
    yield _event(last), 0
    if reply.usage == "separate":
        yield _event({**_chunk([]), "usage": _usage(reply, len(deltas))}), 0


def _chunk(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "scripted", "object": "chat.completion.chunk", "created": 0, "model": "scripted", "choices": choices}


def _usage(reply: Reply, said: int) -> dict[str, int]:
    return {"prompt_tokens": reply.input_tokens, "completion_tokens": said, "total_tokens": reply.input_tokens + said}


def _whole(reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(reply.said())}
    if reply.reasoning:
        message[reply.reasoning_field] = reply.reasoning
    if reply.tool_calls:
        message["tool_calls"] = [
            {"id": f"call_{i}", "type": "function", "function": {"name": n, "arguments": a}}
            for i, (n, a) in enumerate(reply.tool_calls)
        ]
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
    return {**_chunk([choice]), "object": "chat.completion", "usage": _usage(reply, len(reply.said()))}


def script_from(spec: Any) -> Script:
    """A script from JSON: a list of replies (in order), {"by_turn": [...]}, or {"by_words": {"words": script, ...}}."""
    match spec:
        case list():
            return in_order([Reply(**reply) for reply in spec])
        case {"by_turn": replies}:
            return by_turn([Reply(**reply) for reply in replies])
        case {"by_words": scripts}:
            return by_words({words: script_from(inner) for words, inner in scripts.items()})
    raise ValueError("a script is a list of replies, or an object with by_turn or by_words")


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve scripted model replies.")
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    with ModelServer(script_from(json.loads(options.script.read_text("utf-8"))), options.port) as server:
        print(server.base_url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
