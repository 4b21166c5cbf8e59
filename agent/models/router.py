"""RouterModel: a conversation with any OpenAI-compatible chat endpoint, Hugging Face's router first.

A reply travels through a queue from the loop that all sessions share to the thread that reads it. That queue never
holds more than one reply, and the size of a reply is bounded.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from typing import Any

from smolagents import ChatMessage

from agent.models.deltas import Broken, Cancel, Delta, Done, NativeCall, NotAsked, Reasoning, Restarted, Text, Usage
from agent.models.endpoint import Endpoint, Failed, wire
from tools.problem import Stopped

__all__ = ["Cancel", "Delta", "Done", "NativeCall", "Reasoning", "Restarted", "RouterModel", "Text", "Usage"]

_ROLES = {"tool-call": "assistant", "tool-response": "user"}  # smolagents' own roles
_Inbox = SimpleQueue[list[Delta] | BaseException]


class RouterModel:
    """One model at one endpoint. Safe for many threads at once."""

    def __init__(
        self,
        model_id: str,
        base_url: str,
        api_key: str = "",
        *,
        bill_to: str = "",
        session_id: str = "",
        attempts: int = 5,
        idle_seconds: float = 300.0,
        window: int | None = None,
    ) -> None:
        """base_url: such as "https://router.huggingface.co/v1"; the key is sent to its host and nowhere else.

        bill_to: the organization that pays; session_id: groups a session's requests. Both are the Hugging Face
        router's own. idle_seconds: silence after which a request has failed; a local model may read for minutes
        before it speaks. window: tokens, where they are known. Raises Problem for an address or a key that cannot be one.
        """
        self.model_id = model_id
        headers = {"X-HF-Bill-To": bill_to, "X-HF-Session-id": session_id}
        self._endpoint = Endpoint(base_url, api_key, {k: v for k, v in headers.items() if v}, idle_seconds=idle_seconds)
        self._attempts = attempts
        self.window = window

    def __repr__(self) -> str:
        return f"RouterModel({self.model_id!r}, {self._endpoint.base_url!r})"

    def stream(
        self,
        messages: Sequence[ChatMessage | dict[str, Any]],
        *,
        stop_words: Sequence[str] = (),
        cancel: Cancel,
        max_tokens: int | None = None,
    ) -> Iterator[Delta]:
        """Ask for one reply, of at most max_tokens; yield what is said as it is said, Done last.

        A failure that may pass is met with another attempt, told as Restarted. Raises Problem when no reply is to be
        had, and Stopped as soon as cancel is set; the request is then ended at the server, too.
        """
        body = self._body(messages, stop_words)
        if max_tokens:
            body["max_tokens"] = max_tokens
        return self._converse(body, cancel)

    def _body(self, messages: Sequence[ChatMessage | dict[str, Any]], stop_words: Sequence[str]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model_id,
            "messages": plain_messages(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if stop_words:
            body["stop"] = list(stop_words)
        return body

    def _converse(self, body: dict[str, Any], cancel: Cancel) -> Iterator[Delta]:
        """Read one reply, in the thread of the one who asks.

        The next attempt begins when the reader takes what follows Restarted: it may settle what the broken one cost.
        """
        attempt = 1
        while True:
            try:
                yield from self._attempt(body, cancel)
                return
            except Failed as failed:
                if failed.broken:
                    yield Broken(failed.broken)
                if attempt == self._attempts or not failed.passes:
                    raise failed.problem from None
                wait = _backoff(attempt) if failed.wait is None else failed.wait
                attempt += 1
                yield Restarted(failed.problem.message, attempt, round(wait, 1))
                if cancel.event.wait(wait):
                    raise NotAsked from None

    def _attempt(self, body: dict[str, Any], cancel: Cancel) -> Iterator[Delta]:
        inbox: _Inbox = SimpleQueue()
        with cancel.waking(lambda: inbox.put(Stopped())):
            if cancel.is_set():
                raise NotAsked
            asking = asyncio.run_coroutine_threadsafe(self._ask(body, inbox), wire().loop)
            try:
                while True:
                    batch = inbox.get()
                    if isinstance(batch, BaseException):
                        raise batch
                    for delta in batch:
                        if cancel.is_set():
                            raise Stopped
                        yield delta
                        if isinstance(delta, Done):
                            return
            finally:
                asking.cancel()

    async def _ask(self, body: dict[str, Any], inbox: _Inbox) -> None:
        """Ask once, on the loop. The last thing told is Done or an exception."""
        try:
            inbox.put([await self._endpoint.reply(body, inbox.put)])
        except asyncio.CancelledError:
            inbox.put(Stopped())
            raise
        except Exception as error:
            inbox.put(error)


def plain_messages(messages: Sequence[ChatMessage | dict[str, Any]]) -> list[dict[str, str]]:
    """What every server takes: role and text; neighbours with the same role in one message, none of them empty."""
    plain: list[dict[str, str]] = []
    for message in messages:
        role, content = (
            (message["role"], message["content"]) if isinstance(message, dict) else (message.role, message.content)
        )
        if isinstance(content, list):
            content = "\n".join(part["text"] for part in content if part.get("type") == "text")
        role = str(getattr(role, "value", role))
        role = _ROLES.get(role, role)
        if not content:
            continue
        if plain and plain[-1]["role"] == role:
            plain[-1]["content"] += "\n" + content
        else:
            plain.append({"role": role, "content": content})
    return plain


def _backoff(attempt: int) -> float:
    """Seconds before the next attempt: twice as long each time, spread so that sessions do not come back together."""
    return min(30.0, 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
