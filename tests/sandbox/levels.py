"""How the tests choose the level of the sandbox: the one place that knows the Executor's ways with it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.sandbox import forks
from agent.sandbox.host import CallTool, Executor, Limits, ToolStub
from agent.sandbox.levels import Level


def executor(
    level: Level,
    folder: Path,
    call: CallTool,
    tools: Sequence[ToolStub],
    on_output: Callable[[str], None],
    limits: Limits,
    python: str = sys.executable,
) -> Executor:
    return Executor(folder, call, tools, on_output, limits, level=level, python=python)


def before_login(python: str = sys.executable) -> None:
    """What an app does first: start the zygote, before any secret is in this process."""
    forks.zygote(python).start()


def after_all(python: str = sys.executable) -> None:
    """What an app does last."""
    forks.zygote(python).close()


def read(folder: Path, path: str) -> str:
    """A file of a session as the host reads it for a tool."""
    with open(folder / path, errors="replace") as file:
        return file.read(100_000)
