"""How many workers may live: the rest wait their turn, and who has long done nothing gives up its place."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Protocol

from tools.problem import Stopped

LIVE = 12  # workers: each may take 1.25 GB, and most take 10 MB
IDLE_SECONDS = 600.0
_ROOM = 4  # times as many, with those that wait for a tool
_SWEEP_SECONDS = 15.0
_WAIT_SECONDS = 0.05


class Sitter(Protocol):
    """Who has a worker."""

    @property
    def in_tools(self) -> bool:
        """Its step waits for a tool, or for the user: it does nothing, and perhaps for hours."""

    def let_go(self) -> bool:
        """End the worker if no step is running: its variables are saved. Says whether that was so."""


class Seats:
    """Places for workers, taken in the order in which they were asked for."""

    def __init__(self, limit: int = LIVE, idle_seconds: float = IDLE_SECONDS) -> None:
        self._limit, self._idle_seconds = limit, idle_seconds
        self._changed = threading.Condition()
        self._taken: dict[Sitter, float] = {}  # when it was last used; the longest unused first
        self._waiting: list[Sitter] = []
        self._sweeper: threading.Thread | None = None

    def take(self, sitter: Sitter, stop: Callable[[], bool]) -> None:
        """Wait for a place, if it has none yet. Whoever is idle makes room. Raises Stopped."""
        with self._changed:
            if sitter in self._taken:
                return
            self._waiting.append(sitter)
            if self._sweeper is None:
                sweeper = threading.Thread(target=self._sweep, name="sandbox-idle", daemon=True)
                with contextlib.suppress(RuntimeError):  # no thread left now: with the next one
                    sweeper.start()
                    self._sweeper = sweeper
        try:
            while not self._sit(sitter):
                if stop():
                    raise Stopped
        finally:
            with self._changed:
                self._waiting.remove(sitter)
                self._changed.notify_all()

    def used(self, sitter: Sitter) -> None:
        with self._changed:
            if self._taken.pop(sitter, None) is not None:
                self._taken[sitter] = time.monotonic()

    def leave(self, sitter: Sitter) -> None:
        with self._changed:
            self._taken.pop(sitter, None)
            self._changed.notify_all()

    def _sit(self, sitter: Sitter) -> bool:
        with self._changed:
            first = self._waiting[0] is sitter
            busy = sum(not taken.in_tools for taken in self._taken)
            if first and busy < self._limit and len(self._taken) < _ROOM * self._limit:
                self._taken[sitter] = time.monotonic()
                return True
            others = list(self._taken) if first else []
        if not any(other.let_go() for other in others):
            with self._changed:
                self._changed.wait(_WAIT_SECONDS)
        return False

    def _sweep(self) -> None:
        while True:
            time.sleep(min(_SWEEP_SECONDS, self._idle_seconds))
            with self._changed:
                before = time.monotonic() - self._idle_seconds
                idle = [sitter for sitter, used in self._taken.items() if used < before]
            for sitter in idle:
                sitter.let_go()


seats = Seats()
