"""Server-sent events: bytes as they arrive -> the data of each event. Pure; bounded in memory, linear in time."""

from __future__ import annotations

from collections.abc import Iterator

MAX_EVENT = 8 * 2**20  # bytes of one line, and of one event's data


class EventTooLong(Exception):
    """The server sent an event without an end."""


class EventReader:
    """Reads one stream. Only data counts here: names, ids and comments are skipped."""

    def __init__(self) -> None:
        self._tail = bytearray()  # the line that has not ended yet
        self._data: list[bytes] = []  # the data lines of the event that has not ended yet
        self._size = 0  # of _data

    def feed(self, block: bytes) -> Iterator[str]:
        """Take the next bytes, cut anywhere; yield the events that are whole now. Raises EventTooLong."""
        self._tail += block
        if b"\n" in block or b"\r" in block:
            lines = self._tail.splitlines(keepends=True)
            # A lone CR at the end may be half of a CRLF, so it waits for what follows.
            self._tail = bytearray() if lines[-1].endswith(b"\n") else lines.pop()
            for line in lines:
                yield from self._line(line.rstrip(b"\r\n"))
        if len(self._tail) > MAX_EVENT:
            raise EventTooLong

    def close(self) -> Iterator[str]:
        """The stream has ended: yield the event that was left without its blank line, if any."""
        yield from self._line(bytes(self._tail).rstrip(b"\r"))
        yield from self._line(b"")

    def _line(self, line: bytes | bytearray) -> Iterator[str]:
        if not line:
            if self._data:
                # Decoded whole, so no character is cut; what is no UTF-8 is shown as such.
                yield b"\n".join(self._data).decode("utf-8", "replace")
            self._data, self._size = [], 0
        elif line.startswith(b"data:"):
            value = bytes(line[5:])
            self._data.append(value.removeprefix(b" "))
            self._size += len(value) + 1
            if self._size > MAX_EVENT:
                raise EventTooLong
