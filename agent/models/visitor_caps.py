"""What the Space's owner lets visitors without a token think for: a cap per visitor and day, and one for all together.

Kept in one append-only JSONL file that any number of processes share. A line is on the disk before its hold counts as
granted, and every decision is made under the file's lock on all lines that are there. What a crash leaves held stays
held until its day is over: rather too little is spent than too much.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tools.problem import Problem

FILE = "owner-spend.jsonl"
_OWN = "Sign in with Hugging Face to think at your own cost."


@dataclass
class _Hold:
    visitor: str
    day: str  # UTC, as 2026-11-23; what is settled later counts for this day, too
    micro_usd: int  # the most it may cost, then what it did cost
    open: bool = True


@dataclass
class _Tally:
    """What was read of the file so far. inode: of the file, 0 before any."""

    inode: int = 0
    offset: int = 0
    lines: int = 0
    holds: dict[str, _Hold] = field(default_factory=dict)
    used: dict[tuple[str, str], int] = field(default_factory=dict)  # (day, visitor), and "" for all of the day
    oldest: str = ""  # day that is remembered

    def forget(self, before: str) -> None:
        """Drop what only days before this one ask for."""
        if before > self.oldest:
            self.oldest = before
            self.holds = {name: hold for name, hold in self.holds.items() if hold.day >= before}
            self.used = {of: sum for of, sum in self.used.items() if of[0] >= before}


class VisitorCaps:
    """The owner's money for visitors. Whole micro-dollars; safe for threads and processes. clock: Unix time.

    per_visitor: the most for one visitor on one UTC day; per_day: the most for all together.
    """

    def __init__(
        self, data_dir: Path, per_visitor: int, per_day: int, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = data_dir / FILE
        self._per_visitor, self._per_day, self._clock = per_visitor, per_day, clock
        self._known = _Tally()
        self._lock = threading.Lock()

    def free(self, visitor: str) -> int:
        """How much this visitor may still spend today."""
        with self._opened() as (_, known):
            return self._free(known, visitor, self._today())

    def reserve(self, visitor: str, hold: str, micro_usd: int, *, day: str = "") -> None:
        """Hold the most that one call can cost, before it is made. day: UTC, today if not given.

        A repeated reservation of an open hold changes nothing. Raises Problem when a cap would be passed, when the
        hold has ended or was another's, and when it cannot be written down.
        """
        if not visitor or micro_usd < 0:
            raise ValueError("a hold has a visitor and an amount")
        day = day or self._today()
        with self._opened() as (file, known):
            if held := known.holds.get(hold):
                if held.open and (held.visitor, held.micro_usd) == (visitor, micro_usd):
                    return
                raise Problem(f"The hold {hold!r} was used already.", "Ask again under a new name.")
            if micro_usd > self._free(known, visitor, day):
                whose = "today's free thinking of this Space" if self._all_used(known, day, micro_usd) else "your share"
                raise Problem(
                    f"This call may cost more than what is left of {whose}.", f"{_OWN} Or come back tomorrow."
                )
            _write(file, {"kind": "held", "day": day, "visitor": visitor, "hold": hold, "micro_usd": micro_usd})

    def settle(self, hold: str, micro_usd: int) -> None:
        """Replace an open hold by what the call did cost, once. Unknown and ended holds stay as they are."""
        if micro_usd < 0:
            raise ValueError("a cost is not below zero")
        self._end("settled", hold, micro_usd)

    def release(self, hold: str) -> None:
        """Give an open hold back: nothing was spent."""
        self._end("released", hold, 0)

    def _end(self, kind: Literal["settled", "released"], hold: str, micro_usd: int) -> None:
        with self._opened() as (file, known):
            held = known.holds.get(hold)
            if held and held.open:
                _write(file, {"kind": kind, "hold": hold, "micro_usd": micro_usd})

    def _today(self) -> str:
        return self._day(self._clock())

    @staticmethod
    def _day(at: float) -> str:
        return time.strftime("%Y-%m-%d", time.gmtime(at))

    def _free(self, known: _Tally, visitor: str, day: str) -> int:
        own = self._per_visitor - known.used.get((day, visitor), 0)
        return max(0, min(own, self._per_day - known.used.get((day, ""), 0)))

    def _all_used(self, known: _Tally, day: str, micro_usd: int) -> bool:
        return micro_usd > self._per_day - known.used.get((day, ""), 0)

    @contextmanager
    def _opened(self) -> Iterator[tuple[int, _Tally]]:
        """The file, locked against threads and processes, and what all its lines say."""
        with self._lock:
            try:
                file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise Problem(f"The owner's purse cannot be opened: {error.strerror}.", _OWN) from None
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._catch_up(file)
                yield file, self._known
            except OSError as error:
                raise Problem(f"The owner's purse cannot be kept: {error.strerror}.", _OWN) from None
            finally:
                os.close(file)  # and with it the lock

    def _catch_up(self, file: int) -> None:
        """Read the lines that were added since. A torn last one was never granted, and is cut off."""
        stat = os.fstat(file)
        if stat.st_ino != self._known.inode or stat.st_size < self._known.offset:
            self._known = _Tally(inode=stat.st_ino)
        known = self._known
        added = os.pread(file, stat.st_size - known.offset, known.offset)
        whole = added.rfind(b"\n") + 1
        if whole < len(added):
            os.ftruncate(file, known.offset + whole)
        lines = added[:whole].splitlines()
        for line in lines:
            try:
                _take(known, json.loads(line))
            except (ValueError, KeyError, TypeError, RecursionError):
                number = known.lines + 1
                self._known = _Tally()
                raise Problem(
                    f"Line {number} of {FILE} is damaged.", "Its owner must mend or remove the file."
                ) from None
            known.lines += 1
        known.offset += whole
        known.forget(before=self._day(self._clock() - 86_400))


def _take(known: _Tally, line: dict[str, Any]) -> None:
    """Fold one line in. Raises KeyError, TypeError or ValueError when it makes no sense."""
    kind, hold, micro_usd = line["kind"], line["hold"], line["micro_usd"]
    if type(micro_usd) is not int or micro_usd < 0:
        raise ValueError(micro_usd)
    if kind == "held":
        known.holds[hold] = _Hold(line["visitor"], line["day"], micro_usd)
        change, held = micro_usd, known.holds[hold]
    elif kind in ("settled", "released"):
        if hold not in known.holds:  # forgotten: its day is long over
            return
        held = known.holds[hold]
        change, held.open = micro_usd - held.micro_usd, False
        held.micro_usd = micro_usd
    else:
        raise ValueError(kind)
    for whose in (held.visitor, ""):
        known.used[held.day, whose] = known.used.get((held.day, whose), 0) + change


def _write(file: int, line: dict[str, Any]) -> None:
    """Append a line and see it to the disk; half a line is taken back."""
    size = os.fstat(file).st_size
    try:
        rest = memoryview(json.dumps(line).encode() + b"\n")
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise
