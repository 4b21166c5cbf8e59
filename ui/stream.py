"""A session's entries as server-sent events: everything after a seq, then what comes, until the reader leaves."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

if TYPE_CHECKING:
    from agent.session import Session

KEEP_ALIVE_SECONDS = 15.0
BATCH = 100  # entries read at a time; the most that a slow reader makes us hold


class EventStream(Response):
    """Follow a session from a seq. id: is the seq, data: one Entry as JSON.

    Memory does not grow with a slow reader: the next batch is read from the journal when the last one has left.
    """

    def __init__(
        self, session: Session, after: int, compress: bool, *, keep_alive_seconds: float = KEEP_ALIVE_SECONDS
    ) -> None:
        super().__init__(media_type="text/event-stream")
        self.session, self.after, self.keep_alive_seconds = session, after, keep_alive_seconds
        self.headers["cache-control"] = "no-store"
        self.headers["x-accel-buffering"] = "no"
        self.headers["x-content-type-options"] = "nosniff"
        del self.headers["content-length"]
        self._pack: Callable[[bytes], bytes] = bytes
        if compress:
            self.headers["content-encoding"] = "gzip"
            self._pack = _gzip()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        loop = asyncio.get_running_loop()
        awake = asyncio.Event()

        def wake() -> None:  # called by the thread that appends
            if not awake.is_set() and not loop.is_closed():
                loop.call_soon_threadsafe(awake.set)

        gone = loop.create_task(_leave(receive))
        gone.add_done_callback(lambda _: awake.set())
        unsubscribe = self.session.subscribe(wake)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send(self._body(b"retry: 1000\n\n"))
            while not gone.done():
                awake.clear()  # before reading, so that nothing is appended unseen
                entries = self.session.read(self.after, BATCH)
                if entries:
                    self.after = entries[-1][0]
                    await send(self._body(b"".join(b"id: %d\ndata: %s\n\n" % entry for entry in entries)))
                    continue
                try:
                    async with asyncio.timeout(self.keep_alive_seconds):
                        await awake.wait()
                except TimeoutError:
                    await send(self._body(b": still here\n\n"))
        finally:
            unsubscribe()
            gone.cancel()

    def _body(self, data: bytes) -> Message:
        return {"type": "http.response.body", "body": self._pack(data), "more_body": True}


async def _leave(receive: Receive) -> None:
    """Return when the reader has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _gzip() -> Callable[[bytes], bytes]:
    """A compressor whose every output can be read at once. A 4 KB window: 50 readers hold 2 MB together."""
    squeeze = zlib.compressobj(6, zlib.DEFLATED, 16 + 12, 5)
    return lambda data: squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH)
