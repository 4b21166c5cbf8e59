"""Whose code runs: at most so many steps at once, in slices, the one that has had the least first.

A step that must wait is stopped where it is and goes on later; it notices nothing but the time. Hostile code that
never ends thus costs others a slice, and a new step that ends soon does not wait at all.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from tools.problem import Stopped

_SLICE = 0.03  # seconds that one may be ahead of another that waits
_MEMORY_SECONDS = 5.0  # in which what was used is mostly forgotten
_WAIT_SECONDS = 0.02


class Freezable(Protocol):
    """A worker, which can be let run and stopped, from any thread."""

    def thaw(self) -> None: ...

    def freeze(self) -> None: ...


@dataclass(eq=False)
class Turn:
    """One session's. It outlives the step, so that many short steps count as one long one."""

    worker: Freezable | None = None
    running: bool = False
    elsewhere: bool = False  # it runs in another machine, and takes nobody's turn
    in_tools: bool = False  # it waits for a tool: it needs no turn, if others do
    used: float = 0.0  # seconds that it has run of late
    waited: float = 0.0  # seconds that it could have run, ever
    _since: float = field(default_factory=time.monotonic)

    def count(self, now: float) -> None:
        passed, self._since = now - self._since, now
        self.used *= math.exp(-passed / _MEMORY_SECONDS)
        if self.running:
            self.used += passed
        elif not self.in_tools:
            self.waited += passed

    def let(self, running: bool) -> None:
        self.running = running
        if self.worker:
            (self.worker.thaw if running else self.worker.freeze)()


class Turns:
    """All steps of this app. Every step's own thread looks now and then, so none of ours is needed."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._changed = threading.Condition()
        self._turns: list[Turn] = []

    def enter(self, turn: Turn, stop: Callable[[], bool]) -> None:
        """Wait until a step may begin. Raises Stopped."""
        with self._changed:
            turn.count(time.monotonic())
            turn.in_tools = False
            self._turns.append(turn)
            self._arrange()
            while not turn.running:
                self._changed.wait(_WAIT_SECONDS)
                self._arrange()
                if stop():
                    self._leave(turn)
                    raise Stopped

    def look(self, turn: Turn, in_tools: bool = False) -> None:
        """Hand on, or take, the turn if it is time. The worker is stopped and let go on by that."""
        with self._changed:
            turn.in_tools = in_tools
            if turn in self._turns:
                self._arrange()

    def resume(self, turn: Turn) -> None:
        """Let the worker, which is stopped, go on if it is its turn; else that comes later."""
        with self._changed:
            turn.let(turn.running)

    def leave(self, turn: Turn) -> None:
        """The step ends, or is made to: it needs no turn any more. The worker is left as it is. May be called again."""
        with self._changed:
            self._leave(turn)

    def _leave(self, turn: Turn) -> None:
        if turn in self._turns:
            turn.count(time.monotonic())
            turn.running = turn.in_tools = False
            self._turns.remove(turn)
            self._arrange()

    def _arrange(self) -> None:
        now = time.monotonic()
        for turn in self._turns:
            turn.count(now)
        ahead = sorted(self._turns, key=lambda turn: (turn.in_tools, turn.used - _SLICE * turn.running))
        chosen = [turn for turn in ahead if turn.elsewhere]
        here = [turn for turn in ahead if not turn.elsewhere]
        chosen, others = chosen + here[: self._at_once], here[self._at_once :]
        for turn in others:
            if turn.running:
                turn.let(False)
        for turn in chosen:
            if not turn.running:
                turn.let(True)
                self._changed.notify_all()


def cpus() -> int:
    """That this app may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


turns = Turns(at_once=max(1, cpus() - 1))  # one is the app's own
