"""What a worker uses, looked at from outside while a step runs: time, memory, threads, disk."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.sandbox.files import DiskUsage, usage

Excess = Literal["", "cpu", "memory", "threads", "disk"]

LOOK_SECONDS = 0.05
_SHARE = 20  # looking at the disk takes at most a twentieth of the time
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = resource.getpagesize()


@dataclass(frozen=True)
class Ceiling:
    """The most that a step may use."""

    cpu_seconds: float
    memory_bytes: int
    threads: int
    disk: DiskUsage


class UsageWatch:
    """Of one step. pid: of a worker that is not reaped before the watch ends. Without /proc it sees the disk only."""

    def __init__(self, pid: int, folders: list[Path], most: Ceiling) -> None:
        self._pid, self._folders, self._most = pid, folders, most
        self._look = time.monotonic() + LOOK_SECONDS
        self._look_at_disk = 0.0
        self._seen_at = time.monotonic()
        self._cpu_before = self._process()[0]
        # What tools have put there is not the code's: it may be over from the start, and then not grow.
        there = usage(folders, DiskUsage(sys.maxsize, sys.maxsize, most.disk.depth))
        self._disk = DiskUsage(
            max(most.disk.bytes, there.bytes), max(most.disk.entries, there.entries), most.disk.depth
        )
        self._seen = there

    def sees(self) -> bool:
        """Whether the worker's use can be seen at all. Where it cannot, limits are none."""
        return self._process()[2] > 0

    def over(self) -> Excess:
        """Which limit is passed. Cheap: it looks every 50 ms, and at a large folder less often."""
        now = time.monotonic()
        if now < self._look:
            return ""
        self._look = now + LOOK_SECONDS
        cpu, threads, memory = self._process()
        if memory > self._most.memory_bytes:
            return "memory"
        if threads > self._most.threads:
            return "threads"
        if now >= self._look_at_disk:
            found = self._on_disk()
            most = self._disk
            if found.bytes > most.bytes or found.entries > most.entries or found.depth > most.depth:
                return "disk"
            took = time.monotonic() - now
            self._look_at_disk = now + took + min(_SHARE * took, self._time_left(found, now) / 2)
            self._seen, self._seen_at = found, now
        return "cpu" if cpu - self._cpu_before > self._most.cpu_seconds else ""

    def _process(self) -> tuple[float, int, int]:
        """Seconds of CPU so far, threads, bytes of memory."""
        try:
            with open(f"/proc/{self._pid}/stat", encoding="ascii", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            return 0.0, 0, 0
        return (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[17]), int(fields[21]) * _PAGE

    def _on_disk(self) -> DiskUsage:
        found = usage(self._folders, self._disk)
        return DiskUsage(found.bytes + self._unnamed_bytes(), found.entries, found.depth)

    def _time_left(self, found: DiskUsage, now: float) -> float:
        """Seconds until the disk is full, should it fill on as since the last look."""
        passed = now - self._seen_at
        left = [
            passed * (most - there) / (there - before)
            for most, there, before in (
                (self._disk.bytes, found.bytes, self._seen.bytes),
                (self._disk.entries, found.entries, self._seen.entries),
            )
            if there > before
        ]
        return min(left, default=float("inf"))

    def _unnamed_bytes(self) -> int:
        """On disk in files that have no name any more, but are open or mapped."""
        sizes: dict[str, int] = {}
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{self._pid}/fd"):
                with contextlib.suppress(OSError):
                    found = os.stat(f"/proc/{self._pid}/fd/{name}")
                    if not found.st_nlink:
                        sizes[str(found.st_ino)] = found.st_blocks * 512
        with contextlib.suppress(OSError), open(f"/proc/{self._pid}/maps", encoding="utf-8", errors="replace") as maps:
            for line in maps:
                if line.endswith(" (deleted)\n") and any(str(folder) in line for folder in self._folders):
                    span, _, _, _, inode, _ = line.split(maxsplit=5)
                    start, end = (int(place, 16) for place in span.split("-"))
                    sizes[inode] = max(sizes.get(inode, 0), end - start)
        return sum(sizes.values())
