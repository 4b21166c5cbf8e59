"""A session of generated code for tests: an Executor with four small tools, and everything that it told."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.sandbox.host import Executor, Limits, StepResult, ToolCall, ToolStub
from agent.sandbox.levels import Level
from tools.problem import Problem, Refused, Stopped

PATIENCE = 60.0  # seconds; what takes longer hangs

TOOLS = (
    ToolStub("add", "(a: int, b: int = 1) -> int", "Add two numbers."),
    ToolStub("slow", "(i: int, seconds: float = 0.1) -> int", "Return i after a while."),
    ToolStub("meet", "(i: int) -> int", "Return i when eight have come."),
    ToolStub("get_rows", "(n: int) -> list[dict]", "Rows of a small dataset."),
    ToolStub("echo", "(value) -> object", "Return what came."),
    ToolStub("refuse", "() -> None", "Ask the user, who says no."),
    ToolStub("fail", "(message: str) -> None", "Report a problem."),
)


def call(asked: ToolCall) -> object:
    return globals()[f"_{asked.name}"](*asked.args, **asked.kwargs)


def _add(a: int, b: int = 1) -> int:
    return a + b


def _slow(i: int, seconds: float = 0.1) -> int:
    time.sleep(seconds)
    return i


_eight = threading.Barrier(8)


def _meet(i: int) -> int:
    _eight.wait(PATIENCE)
    return i


def _get_rows(n: int) -> list[dict[str, object]]:
    return [{"id": f"r{i}", "text": "word " * (i % 7 + 1), "label": i % 3} for i in range(n)]


def _echo(value: object) -> object:
    return value


def _refuse() -> None:
    raise Refused("The user said no: too dear.", "Do not ask for the same again.")


def _fail(message: str) -> None:
    raise Problem(message, "Name another.")


_LIMITS = Limits()


class Code(Executor):
    """Runs steps without ceremony: nobody presses Stop unless a test does."""

    def __init__(
        self,
        folder: Path,
        limits: Limits = _LIMITS,
        tools: tuple[ToolStub, ...] = TOOLS,
        level: Level | None = None,
    ) -> None:
        self.told: list[str] = []
        super().__init__(folder, call, tools, on_output=self.told.append, limits=limits, level=level)

    def __call__(self, code: str) -> StepResult:
        return self.run(code, threading.Event())

    def value(self, code: str) -> str:
        result = self(code)
        assert not result.error, result.error
        return result.value

    def stopped(self, code: str, seconds: float = 0.1) -> float:
        """Press Stop so long after the code has begun; returns the seconds from then until the step has ended."""
        stop, pressed = threading.Event(), 0.0

        def press() -> None:
            nonlocal pressed
            self.wait_for("begun")
            time.sleep(seconds)
            pressed = time.monotonic()
            stop.set()

        presser = threading.Thread(target=press)
        presser.start()
        with pytest.raises(Stopped):
            self.run(f"print('begun')\n{code}", stop)
        ended = time.monotonic()
        presser.join()
        return ended - pressed

    def wait_for(self, word: str) -> None:
        """Until the code has printed it."""
        until(lambda: word in "".join(self.told))


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


def until_dead(pid: int) -> None:
    """Until the process has ended, with all of its threads."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], PATIENCE)[0], "it lives on"
    finally:
        os.close(handle)
