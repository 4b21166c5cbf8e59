"""For operators and tests: which confinement this machine gives, and what generated code does in it.

python -m agent.sandbox check
python -m agent.sandbox run step1.py step2.py [--level full] [--tools echo,sleep]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from agent.sandbox import levels
from agent.sandbox.forks import zygote
from agent.sandbox.host import Executor, StepResult, ToolCall, ToolStub
from tools.problem import Problem, Stopped

_TOOLS = {
    "echo": ToolStub("echo", "(value) -> object", "Return what came."),
    "sleep": ToolStub("sleep", "(seconds: float) -> float", "Return the seconds, after so many of them."),
}


def main(arguments: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.WARNING)
    options = _options().parse_args(arguments)
    try:
        found = levels.establish(options.level, "SPACE_ID" in os.environ, zygote(options.python))
        if options.command == "check":
            print(json.dumps({**found.report(), "line": found.line}, indent=1))
            return 0
        return _run(options.steps, found, options.tools, python=options.python)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2


def _run(files: Sequence[Path], found: levels.Standing, tools: Sequence[str], *, python: str) -> int:
    if found.level not in levels.RUNS_CODE:
        print(f"No code can run here. {found.line}", file=sys.stderr)
        return 1
    try:
        steps = [file.read_text(encoding="utf-8") for file in files]
    except (OSError, ValueError) as error:
        raise Problem(f"A step cannot be read: {error}.", "Name files with Python code.") from None
    stop = threading.Event()
    with (
        tempfile.TemporaryDirectory(prefix="sandbox-run-") as folder,
        Executor(
            Path(folder), _call, [_TOOLS[name] for name in tools], on_output=_ignore, level=found.level, python=python
        ) as code,
    ):
        for step in steps:
            try:
                result = code.run(step, stop)
            except Stopped:
                return 1
            print(json.dumps(_line(result, code.level)), flush=True)
    return 0


def _line(result: StepResult, level: str) -> dict[str, object]:
    return {
        "out": result.output,
        "value": result.value or None,
        "error": result.error or None,
        "final": result.answer if result.final else None,
        "seconds": round(result.seconds, 4),
        "level": level,
    }


def _call(call: ToolCall) -> object:
    [value] = [*call.args, *call.kwargs.values()]
    if call.name == "sleep":
        if not isinstance(value, (int, float)) or not 0 <= value <= 3600:
            raise Problem(f"{value!r} is no number of seconds.", "Give one from 0 to 3600.")
        time.sleep(value)
    return value


def _ignore(_text: str) -> None:
    """The output is in the result."""


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m agent.sandbox", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("check", "print level, kernel facts and self-test as JSON"), ("run", "run steps of a session")):
        command = commands.add_parser(name, help=what)
        command.add_argument("--level", choices=("best", *levels.LEVELS), default=os.environ.get("SANDBOX") or "best")
        command.add_argument("--python", default=sys.executable, help="interpreter of the workers")
        if name == "run":
            command.add_argument("steps", nargs="+", type=Path, help="files with one step each")
            command.add_argument("--tools", type=_tools, default=(), help=f"example tools: {','.join(_TOOLS)}")
    return parser


def _tools(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := [name for name in names if name not in _TOOLS]:
        raise argparse.ArgumentTypeError(f"there is no tool {unknown[0]!r}; there are {', '.join(_TOOLS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
