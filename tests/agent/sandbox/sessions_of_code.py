"""A session of generated code for tests: an Executor with four small tools, and everything that it told."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from agent.sandbox.host import Executor, Limits, StepResult, ToolCall, ToolStub
from agent.sandbox.levels import Level
from tools.problem import Problem, Refused

TOOLS = (
    ToolStub("add", "(a: int, b: int = 1) -> int", "Add two numbers."),
    ToolStub("slow", "(i: int, seconds: float = 0.1) -> int", "Return i after a while."),
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
        super().__init__(folder, call, tools, self.told.append, limits, level=level)

    def __call__(self, code: str) -> StepResult:
        return self.run(code, threading.Event())

    def value(self, code: str) -> str:
        result = self(code)
        assert not result.error, result.error
        return result.value
