"""Whose code runs: at most so many steps at once, in slices, the one that has had the least first.

A step that must wait is stopped where it is and goes on later; it notices nothing but the time. Hostile code that
never ends thus costs others a slice, and a new step that ends soon does not wait at all.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_SLICE = 0.2  # seconds that one may be ahead of another that waits


@dataclass(eq=False)
class Turn:
    """One step's. thaw and freeze let its worker run and stop it, from any thread."""

    thaw: Callable[[], None]
    freeze: Callable[[], None]
    running: bool = False
    in_tools: bool = False  # it waits for a tool: it needs no turn, if others do
    used: float = 0.0  # seconds that it has run in this step
    waited: float = 0.0  # seconds that it could have run
    _since: float = field(default_factory=time.monotonic)

    def count(self, now: float) -> None:
        passed, self._since = now - self._since, now
        if self.running:
            self.used += passed
        elif not self.in_tools:
            self.waited += passed


class Turns:
    """All steps of this app. Every step's own thread calls look now and then, so none of ours is needed."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._lock = threading.Lock()
        self._turns: list[Turn] = []

    def enter(self, turn: Turn) -> None:
        """A step begins. Its worker is stopped, and runs as soon as it may."""
        with self._lock:
            self._turns.append(turn)
            self._arrange()

    def look(self, turn: Turn, in_tools: bool) -> None:
        """Hand on, or take, the turn if it is time."""
        with self._lock:
            turn.in_tools = in_tools
            if len(self._turns) > self._at_once:
                self._arrange()
            else:
                turn.count(time.monotonic())

    def leave(self, turn: Turn) -> None:
        """The step ends, or is made to: it needs no turn any more. The worker is left as it is."""
        with self._lock:
            if turn in self._turns:
                self._turns.remove(turn)
                self._arrange()

    def _arrange(self) -> None:
        now = time.monotonic()
        for turn in self._turns:
            turn.count(now)
        ahead = sorted(self._turns, key=lambda turn: (turn.in_tools, turn.used - _SLICE * turn.running))
        chosen = ahead[: self._at_once]
        for turn in ahead[self._at_once :]:
            if turn.running:
                turn.running = False
                turn.freeze()
        for turn in chosen:
            if not turn.running:
                turn.running = True
                turn.thaw()


def cpus() -> int:
    """That this app may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


turns = Turns(at_once=max(1, cpus() - 1))  # one is the app's own
