"""Reads one event stream as a browser gets it, byte for byte, and notes when each word of the model came first."""

from __future__ import annotations

import asyncio
import time
import zlib

from bench.task import NUMBERS, WORD
from bench.wire import request


class Listener:
    """One client. end: bytes that only the last event of a run holds."""

    def __init__(self, port: int, end: bytes) -> None:
        self._port, self._end = port, end
        self.arrived: dict[int, float] = {}  # number of the word -> time.monotonic()
        self.wire = 0  # bytes of the response, with its head and framing
        self.plain = 0  # bytes of the events, unpacked
        self.events = 0
        self._ended = False

    async def follow(self, path: str, opened: asyncio.Event | None = None) -> None:
        """Read until the run has ended. opened is set when the server has begun to answer."""
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "gzip"}
        reader, writer, head = await request(self._port, "GET", path, headers=headers)
        try:
            self.wire += len(head)
            if opened:
                opened.set()
            unpack = zlib.decompressobj(31).decompress if b"content-encoding: gzip" in head.lower() else bytes
            rest = b""
            while not self._ended:
                rest = self._hear(rest + unpack(await self._chunk(reader)))
        finally:
            writer.close()

    async def _chunk(self, reader: asyncio.StreamReader) -> bytes:
        line = await reader.readuntil(b"\r\n")
        size = int(line, 16)
        if not size:
            raise RuntimeError("the stream ended before the run did")
        data = await reader.readexactly(size + 2)
        self.wire += len(line) + len(data)
        return data[:-2]

    def _hear(self, data: bytes) -> bytes:
        """Take in all whole events; returns what is left."""
        now = time.monotonic()
        whole, _, rest = data.rpartition(b"\n\n")
        self.plain += len(data) - len(rest)
        self.events += whole.count(b"\n\n") + bool(whole)
        for word in WORD.findall(whole):
            self.arrived.setdefault(NUMBERS[word], now)
        self._ended = self._end in whole
        return rest
