"""One chat endpoint over HTTP: one request, then one reply or one failure in our words.

All endpoints of the process share one asyncio loop, in a thread of its own, and one client.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2

from agent.models.completion import MAX_REPLY, Completion, ReplyTooLong
from agent.models.deltas import Delta, Done, Reasoning, Text, Usage
from agent.models.faults import Fault, explain, fault_in, fault_of_answer, wait_asked_for
from agent.models.sse import EventReader, EventTooLong
from tools.problem import Problem

CONNECT_SECONDS = 20.0
REPLY_SECONDS = 1800.0  # the longest one reply may take
LINGER_SECONDS = 5.0  # after the finish reason: the usage may follow
DRAIN_SECONDS = 0.2  # after [DONE]: to the end of the answer, so that the connection can be used again
GATHER_SECONDS = 0.03  # between two reads of a stream that comes slower than it can be read
QUOTED = 300  # characters of a server's own words that are passed on
MAX_ANSWER = 16 * 2**20  # bytes of an answer that is no stream
MAX_REFUSAL = 64 * 2**10  # bytes of an error that are read
_OPTIONAL = ("stop", "stream_options")  # fields of a request that some servers refuse
_AGAIN = "Send your message again, or pick another model or provider."

Tell = Callable[[list[Delta]], object]


class Failed(Exception):
    """A request came to nothing. passes: asking again may help; wait: seconds that the server asked for."""

    def __init__(self, problem: Problem, passes: bool = True, wait: float | None = None) -> None:
        super().__init__(problem.message)
        self.problem, self.passes, self.wait = problem, passes, wait
        self.broken: Usage | None = None  # what was counted of a reply that had begun


class _Wire(NamedTuple):
    loop: asyncio.AbstractEventLoop
    client: httpx2.AsyncClient


_wire: _Wire | None = None
_wire_lock = threading.Lock()


def wire() -> _Wire:
    """The loop and the client of this process, made when first needed."""
    global _wire
    with _wire_lock:
        if _wire is None:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="models", daemon=True).start()
            client = httpx2.AsyncClient(
                # A redirect would carry the key elsewhere; a cookie would tie one user's requests to another's.
                follow_redirects=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=50),
                headers={"User-Agent": "ml-intern", "Accept-Encoding": "identity"},
            )
            _wire = _Wire(loop, client)
        return _wire


class Endpoint:
    """An address, the key for it, and what was learned of its ways."""

    def __init__(self, base_url: str, api_key: str, headers: dict[str, str], *, idle_seconds: float) -> None:
        """Raises Problem for an address, a key or a header that cannot be one."""
        self.base_url = base_url.strip().rstrip("/")
        self.host = _host(self.base_url)
        self._key = api_key.strip()
        if self._key:
            headers = {"Authorization": f"Bearer {self._key}"} | headers
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):  # not shown: it may be the key
                raise Problem(
                    f"{name} holds a character that it cannot hold.",
                    "Copy the token or name again, without line breaks.",
                )
        self._headers = {"Content-Type": "application/json", "Accept": "text/event-stream"} | headers
        self._timeout = httpx2.Timeout(idle_seconds, connect=CONNECT_SECONDS)
        self._refused: set[str] = set()  # of _OPTIONAL

    async def reply(self, body: dict[str, Any], tell: Tell) -> Done:
        """Post body; tell what is said as it comes. Runs on wire().loop. Raises Failed."""
        while True:
            asked = {field: value for field, value in body.items() if field not in self._refused}
            completion = Completion()
            content = json.dumps(asked, ensure_ascii=False).encode("utf-8", "replace")
            try:
                return await self._reply(content, completion, tell)
            except Failed as failed:
                failed.broken = completion.broken
                raise
            except _Unwanted as unwanted:
                fields = unwanted.fields & asked.keys()
                if not fields:
                    raise unwanted.failed from None
                self._refused |= fields

    async def _reply(self, content: bytes, completion: Completion, tell: Tell) -> Done:
        kind = provider = ""
        try:
            async with (
                asyncio.timeout(REPLY_SECONDS) as limit,
                wire().client.stream(
                    "POST",
                    f"{self.base_url}/chat/completions",
                    content=content,
                    headers=self._headers,
                    timeout=self._timeout,
                ) as response,
            ):
                if not response.is_success:
                    raise await self._refusal(response)
                kind = response.headers.get("content-type", "").partition(";")[0]
                provider = self.safe(response.headers.get("x-inference-provider", ""))
                if kind.endswith("json"):
                    self._take([(await _start(response, MAX_ANSWER)).decode("utf-8", "replace")], completion, tell)
                    completion.finish_reason = completion.finish_reason or "stop"
                else:
                    await self._follow(response, completion, limit, tell=tell)
        except (httpx2.RequestError, TimeoutError) as error:
            if not completion.finish_reason:  # else all has been said, and only the goodbye is missing
                raise Failed(Problem(self._in_words(error), _AGAIN)) from None
        except (EventTooLong, ReplyTooLong):
            what = f"{self.host} sent a reply of more than {MAX_REPLY:,} characters."
            raise Failed(Problem(what, "Ask for less at once, or pick another model."), passes=False) from None
        if not completion.spoke and (completion.heard or kind != "text/event-stream"):
            what = f"{self.host} sent {self.safe(kind) or 'something'} that is no chat completion."
            raise Failed(Problem(what, "Check the base URL; most end in /v1."), passes=False)
        if not completion.finish_reason:
            raise Failed(Problem(f"{self.host} broke off in the middle of the reply.", _AGAIN))
        return completion.done(provider)

    async def _follow(
        self, response: httpx2.Response, completion: Completion, limit: asyncio.Timeout, *, tell: Tell
    ) -> None:
        """Read the stream to its end, or until the server keeps it open though all has been said."""
        events, done, now = EventReader(), False, asyncio.get_running_loop().time
        asked = now()
        async for block in response.aiter_bytes():
            waited = now() - asked > 0.001
            if not done:
                done = self._take(events.feed(block), completion, tell)
            if completion.finish_reason:
                end = now() + (DRAIN_SECONDS if done else LINGER_SECONDS)
                limit.reschedule(min(limit.when() or end, end))
            elif waited:
                # Let the socket gather what comes in drops: reading each token by itself costs half a millisecond.
                await asyncio.sleep(GATHER_SECONDS)
            asked = now()
        if not done:
            self._take(events.close(), completion, tell)

    def _take(self, events: Iterable[str], completion: Completion, tell: Tell) -> bool:
        """Take the data of some events, tell what they say in as few pieces as there are kinds; True at [DONE]."""
        said: list[Delta] = []
        done = False
        for data in events:
            if not data.strip():
                continue
            if done := data.strip() == "[DONE]":
                completion.finish_reason = completion.finish_reason or "stop"
                break
            try:
                chunk = json.loads(data)
            except (ValueError, RecursionError):
                raise Failed(Problem(f"{self.host} sent a damaged reply.", _AGAIN)) from None
            if not isinstance(chunk, dict):
                continue
            if fault := fault_in(chunk):
                raise self._failed(fault)
            for delta in completion.add(chunk):
                said[-1:] = _joined(said[-1:], delta)
        if said:
            tell(said)
        return done

    async def _refusal(self, response: httpx2.Response) -> Exception:
        """What an answer that is no success means."""
        if response.has_redirect_location:
            what = f"{self.host} sends requests on to {self.safe(response.headers['location'])}."
            return Failed(Problem(what, "Set the base URL to the address that answers itself."), passes=False)
        fault = fault_of_answer(response.status_code, await _start(response, MAX_REFUSAL))
        failed = self._failed(fault, wait_asked_for(response.headers.get("retry-after", "")))
        if response.status_code in (400, 422) and not fault.excess:
            named = {field for field in _OPTIONAL if field in fault.kinds or re.search(rf"\b{field}\b", fault.message)}
            return _Unwanted(named, failed)
        return failed

    def _failed(self, fault: Fault, wait: float | None = None) -> Failed:
        shown = replace(fault, message=self.safe(fault.message))
        return Failed(explain(shown, host=self.host, has_key=bool(self._key)), fault.passes, wait)

    def safe(self, text: str) -> str:
        """A server's words on one line, cut, without the key."""
        if self._key:
            text = text.replace(self._key, "***")
        text = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * QUOTED]).split())
        return text if len(text) <= QUOTED else text[:QUOTED] + "…"

    def _in_words(self, error: Exception) -> str:
        match error:
            case httpx2.ConnectTimeout():
                return f"{self.host} did not answer within {CONNECT_SECONDS:.0f} s."
            case httpx2.ConnectError():
                return f"{self.host} cannot be reached."
            case httpx2.TimeoutException():
                return f"{self.host} was silent for {self._timeout.read or 0:g} s."
            case TimeoutError():
                return f"{self.host} did not come to an end within {REPLY_SECONDS / 60:.0f} minutes."
            case _:
                return f"The connection to {self.host} was lost."


class _Unwanted(Exception):
    """The server refused the request and named optional fields in doing so."""

    def __init__(self, fields: set[str], failed: Failed) -> None:
        super().__init__()
        self.fields, self.failed = fields, failed


def _joined(last: list[Delta], delta: Text | Reasoning) -> list[Delta]:
    match last, delta:
        case [Text(before)], Text(text):
            return [Text(before + text)]
        case [Reasoning(before)], Reasoning(text):
            return [Reasoning(before + text)]
        case _:
            return [*last, delta]


async def _start(response: httpx2.Response, limit: int) -> bytes:
    """The body, cut after limit bytes. A body that does not end ends after the client's patience."""
    body = bytearray()
    async for block in response.aiter_bytes():
        body += block
        if len(body) > limit:
            break
    return bytes(body[:limit])


def _host(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        sound = parts.scheme in ("http", "https") and bool(httpx2.URL(base_url).host)
    except (ValueError, httpx2.InvalidURL):
        sound = False
    if not sound or "@" in parts.netloc or parts.query or parts.fragment:  # not shown: it may hold a key
        what = "The address of the model server is no plain http or https address."
        raise Problem(what, 'Give one such as "https://router.huggingface.co/v1" or "http://127.0.0.1:11434/v1".')
    return parts.netloc
