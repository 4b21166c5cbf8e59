"""The journal: one append-only JSONL file per session. The first line is a header, each further line one Entry.

What is appended is with the operating system (and, for DURABLE events, on the disk) before any reader is told of it,
so what a reader has seen survives a crash of this process. Lines are read back from the file, not kept in memory.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from agent.events import DURABLE, VERSION, Entry, Event, OutputPrinted, ReasoningSaid, TextSaid
from agent.migration import migrated
from tools.problem import Problem

MERGED = (TextSaid, ReasoningSaid, OutputPrinted)  # deltas that may be told in one piece when read late
_MERGED_KINDS = tuple(f'"kind":"{k.model_fields["kind"].default}"'.encode() for k in MERGED)


class Header(BaseModel):
    """The first line of a journal. owner: whose session it is."""

    version: int = VERSION
    session: str
    owner: str
    created: float


class Journal:
    """One session's journal, held by one process at a time. Safe for all threads of it."""

    def __init__(self, path: Path, header: Header | None = None) -> None:
        """Open the journal at path, or make it when a header is given.

        A torn last line (the process died while writing it) is cut off. Raises Problem for a newer version,
        for a damaged line before the last, and when another process holds the journal.
        """
        self._path = path
        flags = os.O_RDWR | os.O_APPEND | (os.O_CREAT | os.O_EXCL if header else 0)
        self._fd = os.open(path, flags, 0o600)
        self._lock = threading.Lock()
        self._wakers: dict[object, Callable[[], None]] = {}
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise Problem(
                f"Session {path.stem!r} is open in another process.", "Use it there, or stop that process first."
            ) from None
        try:
            if header:
                self._write(header.model_dump_json().encode() + b"\n", durable=True)
                _sync_folder(path.parent)
            self.header, self._offsets = self._scan()
        except BaseException:
            os.close(self._fd)
            raise

    @property
    def last_seq(self) -> int:
        return len(self._offsets) - 1

    def append(self, event: Event) -> Entry:
        """Write the event as the next entry, then tell the readers."""
        with self._lock:
            if self._fd < 0:
                raise Problem("This session is closed.", "Open it again.")
            entry = Entry(seq=len(self._offsets), at=round(time.time(), 3), event=event)
            size = self._write(_encoded(entry) + b"\n", durable=isinstance(event, DURABLE))
            self._offsets.append(self._offsets[-1] + size)
            wakers = list(self._wakers.values())
        for wake in wakers:
            wake()
        return entry

    def read(self, after: int, limit: int = 500) -> list[tuple[int, bytes]]:
        """Up to limit lines after seq `after`, as (seq, JSON). Adjacent deltas of one step come as one, under the last seq."""
        first = max(after, 0)
        last = min(first + limit, self.last_seq)
        if first >= last:
            return []
        block = os.pread(self._fd, self._offsets[last] - self._offsets[first], self._offsets[first])
        lines = list(zip(range(first + 1, last + 1), map(migrated, block.splitlines()), strict=True))
        return list(_merged(lines)) if len(lines) > 1 else lines

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """All entries after seq `after` as they stand now, deltas merged."""
        while lines := self.read(after, limit=2000):
            for seq, line in lines:
                yield Entry.model_validate_json(line)
                after = seq

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have wake called, in any thread, after each append. Returns what ends that."""
        key = object()
        with self._lock:
            self._wakers[key] = wake

        def end() -> None:
            with self._lock:
                self._wakers.pop(key, None)

        return end

    def follow(self, after: int, until: Callable[[], bool]) -> Iterator[Entry]:
        """Entries after seq `after`, waiting for new ones, until `until()` holds and all are told."""
        wake = threading.Event()
        end = self.subscribe(wake.set)
        try:
            while True:
                wake.clear()
                ended = until()
                for entry in self.entries(after):
                    yield entry
                    after = entry.seq
                if ended:
                    return
                wake.wait(1.0)
        finally:
            end()

    def close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _write(self, data: bytes, durable: bool) -> int:
        start = os.fstat(self._fd).st_size
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            if durable:
                os.fsync(self._fd)
        except OSError as error:
            os.ftruncate(self._fd, start)  # half a line would damage every later one
            raise Problem(
                f"The conversation cannot be saved: {error.strerror}.",
                f"Make room under {self._path.parent}, then go on.",
            ) from error
        return len(data)

    def _scan(self) -> tuple[Header, array[int]]:
        """Read the file once: header, and where each line ends. Cuts a torn last line."""
        data = self._path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            os.ftruncate(self._fd, end)
        lines = data[:end].splitlines(keepends=True)
        header = _header(self._path, lines[0] if lines else b"")
        offsets = array("Q", [len(lines[0])])
        for number, line in enumerate(lines[1:], start=1):
            # A prefix is enough: the whole line is validated by whoever reads its meaning.
            if not line.startswith(b'{"seq":%d,' % number):
                raise Problem(
                    f"Line {number + 1} of {self._path.name} is damaged.",
                    "Restore the file from a copy, or start a new session.",
                )
            offsets.append(offsets[-1] + len(line))
        return header, offsets


def read_header(path: Path) -> Header:
    """The header alone, without opening the journal for writing."""
    with path.open("rb") as file:
        return _header(path, file.readline(4096))


def held_elsewhere(path: Path) -> bool:
    """Whether a journal that this process has not opened is open in another."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _header(path: Path, line: bytes) -> Header:
    try:
        raw = json.loads(line)
        version = raw["version"]
        if isinstance(version, int) and version > VERSION:
            raise Problem(
                f"Session {path.stem!r} was written by a newer version of this app (journal version {version}; this app knows {VERSION}).",
                "Update the app to open it. The file is left as it is.",
            )
        return Header.model_validate(raw)
    except (ValueError, KeyError, TypeError, ValidationError):
        raise Problem(f"{path.name} is no journal: its first line is not a header.", "Move the file away.") from None


def _merged(lines: list[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Join neighbouring deltas of the same kind and step. Nothing else is parsed."""
    held: dict[str, Any] | None = None
    for seq, line in lines:
        delta = json.loads(line) if any(kind in line[:80] for kind in _MERGED_KINDS) else None
        if held and delta and all(held["event"][key] == delta["event"][key] for key in ("kind", "step")):
            text = held["event"]["text"] + delta["event"]["text"]
            held = delta | {"event": delta["event"] | {"text": text}}
            continue
        if held:
            yield held["seq"], _dumped(held)
        held = delta
        if not delta:
            yield seq, line
    if held:
        yield held["seq"], _dumped(held)


def _encoded(entry: Entry) -> bytes:
    try:
        return entry.model_dump_json().encode()
    except PydanticSerializationError:  # half a surrogate pair, as models split emoji over tokens and PDFs contain them
        return _dumped(entry.model_dump())


def _dumped(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
