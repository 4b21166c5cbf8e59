"""The app that is attacked: the real Executor, secrets where a Space has them, tools that note what was done with them.

`python -m tests.sandbox.app` with secrets in its environment. Reads the level and a token from the first line of standard
input, then one JSON command a line (open, run, facts, close, quit), and answers each with one. Standard error is its log.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

from agent.consent.approvals import Approvals
from agent.events import ApprovalAsked, Event
from agent.sandbox.host import Executor, StepResult, ToolCall, ToolStub
from agent.sandbox.levels import Level
from tests.sandbox import levels
from tools.cards import Answer, Delete
from tools.problem import Problem, Refused

STUBS = (
    ToolStub("search", "(*args, **kwargs) -> list", "Search for something."),
    ToolStub("add", "(a: int, b: int = 1) -> int", "Add two numbers."),
    ToolStub("slow", "(i: int, seconds: float = 0.1) -> int", "Return i after a while."),
    ToolStub("echo", "(value=None) -> object", "Return what came."),
    ToolStub("get_rows", "(n: int) -> list[dict]", "Rows of a small dataset."),
    ToolStub("big", "(n: int) -> str", "A text of n characters."),
    ToolStub("publish_file", "(path: str) -> str", "Read a file of the session, as publishing it would."),
    ToolStub("push_to_hub", "(repo: str, **kwargs) -> str", "Needs the user's yes, which never comes."),
    ToolStub("late_probe", "(word: str = '') -> str", "Notes that it was called."),
)
_MODULES = (math.sqrt, re.compile, json.loads, os.kill)


class Session:
    """One session of code, and what its tools did."""

    def __init__(self, folder: Path, level: Level, python: str, wall: float) -> None:
        self.folder = folder
        self.running = False
        self.told = 0  # characters
        self.calls: dict[str, int] = {}
        self.outside_steps = 0  # calls that ran while no step did
        self.most_calls = 0  # in one step
        self._in_step = 0
        self.questions: list[str] = []
        self.pushed = 0
        self._approvals = Approvals(self._on_event)
        self._lock = threading.Lock()
        limits = levels.limits(level, wall)
        self.code = Executor(
            folder, self._call, STUBS, on_output=self._on_output, limits=limits, level=level, python=python
        )

    def run(self, source: str) -> dict[str, object]:
        self.running, self._in_step = True, 0
        started = time.monotonic()
        try:
            result = self.code.run(source, threading.Event())
        except Problem as problem:
            result = StepResult(output="", error=f"no step: {problem}")
        finally:
            self.running = False
        return {
            "output": result.output,
            "value": result.value,
            "error": result.error,
            "final": result.answer if result.final else None,
            "seconds": time.monotonic() - started,
            "restarted": result.restarted,
        }

    def facts(self) -> dict[str, object]:
        return {
            "calls": self.calls,
            "most_calls": self.most_calls,
            "outside_steps": self.outside_steps,
            "questions": len(self.questions),
            "asked_to_push": self.calls.get("push_to_hub", 0),
            "pushed": self.pushed,
            "told": self.told,
            "pid": self.code.pid,
            "report": self.code.report(),
        }

    def _on_output(self, text: str) -> None:
        self.told += len(text)

    def _on_event(self, event: Event) -> None:
        """The user reads every question and says no."""
        if isinstance(event, ApprovalAsked):
            self.questions.append(event.call)
            no = Answer(verdict="no", reason="I did not ask for this.")
            threading.Thread(target=self._approvals.answer, args=(event.approval, no)).start()

    def _call(self, call: ToolCall) -> object:
        with self._lock:
            self.calls[call.name] = self.calls.get(call.name, 0) + 1
            self._in_step += 1
            self.most_calls = max(self.most_calls, self._in_step)
            self.outside_steps += not self.running
        return getattr(self, f"_{call.name}")(*call.args, **call.kwargs)

    def _push_to_hub(self, *args: Any, **_: Any) -> str:
        said = self._approvals.ask("call", Delete(repo=str(args)), threading.Event())
        if said.answer.verdict != "yes":
            raise Refused("The user said no.", "Do not ask for the same again.")
        self.pushed += 1
        return "pushed"

    def _publish_file(self, path: str) -> str:
        return levels.read(self.folder / "work", path)

    def _search(self, *_: Any, **__: Any) -> list[str]:
        return ["a result"]

    def _late_probe(self, word: str = "") -> str:
        return word

    def _add(self, a: int, b: int = 1) -> int:
        return a + b

    def _slow(self, i: int, seconds: float = 0.1) -> int:
        time.sleep(seconds)
        return i

    def _echo(self, value: object = None) -> object:
        return value

    def _big(self, n: int) -> str:
        return "x" * min(int(n), 8 << 20)

    def _get_rows(self, n: int) -> list[dict[str, object]]:
        return [{"id": f"r{i}", "text": "word " * (i % 7 + 1), "label": i % 3} for i in range(n)]


class OneLine(logging.Formatter):
    """A tool's failure is one line; a traceback in the log is then something that nobody caught."""

    def formatException(self, ei: Any) -> str:
        return repr(ei[1])


def main() -> None:
    log = logging.StreamHandler()
    log.setFormatter(OneLine())
    logging.basicConfig(handlers=[log])
    config = json.loads(sys.stdin.readline())
    level, python = config["level"], config["python"]
    levels.before_login(python)
    secret_in_memory = config["memory"]  # the login: a token that lives in this process only
    sessions: dict[str, Session] = {}
    for line in sys.stdin:
        command = json.loads(line)
        name = command.get("session", "")
        answer: dict[str, object] = {}
        match command["do"]:
            case "open":
                sessions[name] = Session(Path(command["folder"]), level, python, command["wall"])
            case "run":
                answer = sessions[name].run(command["code"]) | sessions[name].facts()
            case "facts":
                answer = sessions[name].facts()
            case "close":
                sessions.pop(name).code.close()
            case "quit":
                levels.after_all(python)
                print("{}", flush=True)
                return
        answer["sound"] = (math.sqrt, re.compile, json.loads, os.kill) == _MODULES and math.sqrt(9) == 3
        answer["login"] = bool(secret_in_memory)
        answer["capabilities"] = re.search(r"CapEff:\s+(\S+)", Path("/proc/self/status").read_text())[1]  # type: ignore[index]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
