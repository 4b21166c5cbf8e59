"""The Executor: runs generated code step by step in a child process that knows names and docs of tools, and no secrets.

Variables live in the child from step to step. After each step it saves them in its own folder; a child that had to be
killed, or a server that was, is followed by a new child that loads them. The host never reads what is saved.
"""

from __future__ import annotations

import ast
import keyword
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import JsonValue

from agent.sandbox import levels
from agent.sandbox.calls import RESULT, Calls, CallTool, ToolCall
from agent.sandbox.child import Child, Kind, Start, make_folders
from agent.sandbox.files import remove_since
from agent.sandbox.forks import zygote
from agent.sandbox.levels import Level
from agent.sandbox.limits import USUAL, Limits, cause
from agent.sandbox.messages import StepDone, WorkerBroken
from agent.sandbox.remote import Remote
from agent.sandbox.rental import Consent
from agent.sandbox.seal import Seal, Slot, owner_key
from agent.sandbox.seats import seats
from agent.sandbox.spares import spares
from agent.sandbox.step import Output, Step, StepCutOff
from agent.sandbox.turns import Turn, turns
from agent.sandbox.watch import Ceiling, UsageWatch
from tools.problem import Problem, RunEnd, Stopped

__all__ = ["CallTool", "Executor", "Limits", "Lost", "StepResult", "ToolCall", "ToolStub"]

_LETTING_GO = 1.0  # seconds

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ToolStub:
    """All that the code learns of a tool. signature: as in Python, "(query: str, limit: int = 8) -> list"."""

    name: str
    signature: str = "(*args, **kwargs)"
    doc: str = ""

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or keyword.iskeyword(self.name):
            raise Problem(f"A tool cannot be called {self.name!r}.", "Name it as a Python function can be named.")
        try:
            [function] = ast.parse(f"def tool{self.signature}: ...").body
            if not isinstance(function, ast.FunctionDef) or len(function.body) != 1:
                raise SyntaxError
        except (SyntaxError, ValueError):
            raise Problem(
                f"{self.signature!r} of {self.name} is no signature.", 'Write it as in "(a: int = 1) -> str".'
            ) from None


@dataclass(frozen=True)
class Lost:
    """A variable that a new child does not have any more."""

    name: str
    why: str


@dataclass(frozen=True)
class StepResult:
    """What came of a step. At most one of value, error and final says something."""

    output: str  # all that was printed, as it was told
    value: str = ""  # repr of the last expression; empty for None
    error: str = ""  # a traceback of the user's frames, or the limit that was passed; in words for the model
    final: bool = False
    answer: JsonValue = None  # given to final_answer
    seconds: float = 0.0
    restarted: str = ""  # why a new child has taken over before or in this step; empty: the same one
    lost: tuple[Lost, ...] = field(default=())  # told once, in the step in which a new child took over


class Executor:
    """One session's Python. Steps run one at a time; start is lazy, and after a close nothing runs any more."""

    def __init__(
        self,
        folder: Path,
        call_tool: CallTool,
        tools: Sequence[ToolStub],
        *,
        on_output: Callable[[str], None],
        limits: Limits = USUAL,
        level: Level | None = None,  # None: the one in force for this app
        key: bytes | None = None,
        python: str = sys.executable,
        rent: Callable[[], Consent] | None = None,
    ) -> None:
        """folder: the child's own; what it held before is taken up again.

        call_tool runs in threads of the host, up to eight at once, in the context of the caller of run.
        on_output gets what is printed as it is printed, in the thread of run. key: the owner's, by which what was saved
        is known again; without one the folder has its own. rent: asks the user for a machine, at the level "remote".
        """
        self._folder, self._call_tool, self._tools, self._limits = folder.resolve(), call_tool, tuple(tools), limits
        self._on_output = on_output
        self._names = frozenset(tool.name for tool in tools)
        self._child: Child | None = None
        self._facts: dict[str, JsonValue] = {}
        self._restarted = ""  # since the last result: why there is another child
        self._lost: dict[str, str] = {}
        self._running = threading.Lock()
        self._remote = Remote(self._folder, rent) if rent else None
        self._turn = Turn(elsewhere=rent is not None)
        self._closed = False
        self._scratch = [self._folder / name for name in ("work", "tmp", "state")]
        self._ceiling = Ceiling(limits.cpu_seconds, limits.resident_bytes, limits.threads, limits.disk)
        self._given = level
        self._seal = Seal(self._folder, key or owner_key(self._folder, ""))
        self._zygote = zygote(python)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def level(self) -> Level:
        """The confinement of its code; at "tools-only" none runs. May take a second the first time."""
        return self._given or levels.standing().level

    @property
    def pid(self) -> int | None:
        """Of the child, while there is one."""
        return self._child.pid if self._child else None

    @property
    def in_tools(self) -> bool:
        """A step waits for a tool."""
        return self._turn.in_tools

    def report(self) -> dict[str, JsonValue]:
        """Which confinement is in force: the level, the kernel, the self-test; the child's own facts once it has started."""
        known = levels.standing().report() if self._given is None else {"kernel": levels.kernel()}
        inside = {"inside": self._facts.get("level")} if self._remote else {}
        return {**known, **self._facts, **inside, "level": self.level}

    def run(self, code: str, stop: threading.Event) -> StepResult:
        """Run one step.

        Raises Stopped, within a second, when stop is set or this is closed, and the RunEnd that a tool raised; the
        variables are kept then. Raises Problem when no child can be started, and what on_output raises. RuntimeError:
        another step is running.
        """
        if not self._running.acquire(timeout=_LETTING_GO):  # so long it may take to end an idle worker
            raise RuntimeError("another step is running in this session")
        try:
            return self._run(code, lambda: self._closed or stop.is_set())
        except BaseException as error:
            if not isinstance(error, (RunEnd, Problem)):  # the step was left half-way
                self._end("the step before could not be finished")
            raise
        finally:
            if self._child is None:
                seats.leave(self)
            self._running.release()

    def close(self) -> None:
        """End the child; a running step raises Stopped. May be called again, and from any thread."""
        self._closed = True
        with self._running:
            self._kill_and_give_back()
            seats.leave(self)
        if self._remote:
            self._remote.close()

    def let_go(self) -> bool:
        """End the child if it is idle; the next step gets another, with the variables. Says whether there is none."""
        if not self._running.acquire(blocking=False):
            return False
        try:
            self._kill_and_give_back()
            seats.leave(self)
        finally:
            self._running.release()
        return True

    # --- a step -----------------------------------------------------------------------------------

    def _run(self, code: str, stop: Callable[[], bool]) -> StepResult:
        started, began = time.monotonic(), time.time() - 0.01  # times of files are that coarse
        if self._child is None:
            if self.level not in levels.RUNS_CODE or (self.level == "remote") != bool(self._remote):
                raise Problem(
                    f"No code runs here: the sandbox is at the level {self.level}.", "Call the tools by name."
                )
            seats.take(self, stop)
        try:
            turns.enter(self._turn, stop)
            ended, printed, why = self._step(code, stop)
            if ended.why == "disk":
                remove_since(self._scratch, began, self._limits.disk, keep=self._seal.names)
            if not ended.done:
                self._ready(stop)  # now, so that the result can say what was lost
            return self._result(ended, why, printed, seconds=time.monotonic() - started)
        finally:
            turns.leave(self._turn)

    def _step(self, code: str, stop: Callable[[], bool]) -> tuple[StepCutOff, str, str]:
        """Run the code. Returns how it ended, what it printed, and why it was made to end, in words."""
        child = self._ready(stop)
        limits, inbox = self._limits, self._folder / "inbox"
        for old in os.listdir(inbox):
            if old.startswith(RESULT):
                (inbox / old).unlink(missing_ok=True)
        output = Output(self._on_output, limits.output_chars)
        place = self._remote.put if self._remote else str
        calls = Calls(self._call_tool, self._names, limits.calls, send=child.send, inbox=inbox, place=place)
        step = Step(
            child,
            self._turn,
            calls,
            output=output,
            watch=self._watch(child),
            wall_seconds=limits.wall_seconds,
            output_bytes=limits.output_bytes,
            sent_bytes=limits.sent_bytes,
        )
        ended = step.run(code, stop)
        seats.used(self)
        why = cause(ended.why, limits, ended.broken)
        if not ended.done:
            why = self._end(why)
        elif (not self._remote or self._remote.bring_back()) and ended.done.saved is not None:
            self._seal.mark(ended.done.saved)
        printed = output.end()
        if ended.why == "stopped":
            raise calls.end or Stopped
        return ended, printed, why

    def _result(self, ended: StepCutOff, why: str, output: str, *, seconds: float) -> StepResult:
        restarted, self._restarted = self._restarted, ""
        lost, self._lost = tuple(Lost(name, why) for name, why in self._lost.items()), {}
        done = ended.done or StepDone(type="done", value="", error="", final=False, answer=None, saved=None)
        error = done.error
        if ended.why:
            after = (
                "The variables are kept." if ended.done else "The variables are again as they were before this step."
            )
            error = f"{done.error}\n{why}. {after}".strip()
        final = done.final and not error
        return StepResult(
            output=output,
            value="" if error else done.value,
            error=error,
            final=final,
            answer=done.answer if final else None,
            seconds=seconds,
            restarted=restarted,
            lost=lost,
        )

    # --- the child --------------------------------------------------------------------------------

    def _ready(self, stop: Callable[[], bool]) -> Child:
        """The living child, or a new one with the variables loaded."""
        if self._child and not self._child.alive():
            self._end("The Python process ended between two steps")
        if stop():
            raise Stopped
        if self._remote:
            self._remote.ready(stop)
        if self._child is None:
            self._child = self._start_with_variables(stop)
        return self._child

    def _start_with_variables(self, stop: Callable[[], bool]) -> Child:
        saved = self._seal.last()
        if saved is None and self._seal.has_any():
            self._lost["all variables"] = "what is saved is not what this session has saved"
        for _ in range(1 if saved is None else 2):  # the second leaves out what was the end of the first
            try:
                return self._start(stop, saved)
            except WorkerBroken as broken:
                _log.warning("a worker could not start: %s", broken)
                why = f"loading them failed: {broken}"
        if saved is not None:
            self._lost["all variables"] = why
        try:
            return self._start(stop, None)
        except WorkerBroken as broken:
            raise Problem(f"Python could not be started here: {broken}.", "Look into the log of the app.") from None

    def _start(self, stop: Callable[[], bool], restore: Slot | None) -> Child:
        """Raises WorkerBroken when it does not become ready in time, Stopped."""
        make_folders(self._folder)
        child = self._turn.worker = self._take()
        watch = self._watch(child)

        def look() -> None:
            """Loading variables runs code of theirs: it waits its turn and keeps the limits as a step does."""
            turns.look(self._turn)
            if stop():
                raise Stopped
            if excess := watch.over():
                raise WorkerBroken(f"loading the variables takes too much: {excess}")

        try:
            self._facts, lost = child.begin(
                Start(
                    folder=self._remote.folder if self._remote else str(self._folder),
                    restore=restore,
                    tools=tuple(
                        {"name": tool.name, "signature": tool.signature, "doc": tool.doc} for tool in self._tools
                    ),
                    text_chars=self._limits.text_chars,
                ),
                look,
            )
        except BaseException:
            child.kill()
            raise
        child.freeze()
        self._lost |= {gone.name: gone.why for gone in lost}
        return child

    def _take(self) -> Child:
        memory, file = self._limits.memory_bytes, self._limits.file_bytes
        if self._remote:
            return Child(self._remote, Kind(self._remote.level, memory, file))
        return spares.take(self._zygote, Kind(self.level, memory, file))

    def _watch(self, child: Child) -> UsageWatch:
        return UsageWatch(child.pid, self._scratch, self._ceiling)

    def _end(self, why: str) -> str:
        """Kill the child, if there is one; the next step gets another. Returns why, with how it ended if not by us."""
        if how := self._kill():
            self._restarted = why if how == "SIGKILL" else f"{why} ({how})"
        return self._restarted if how else ""

    def _kill(self) -> str:
        """Returns how the child has ended, "SIGKILL" when by us; empty when there was none."""
        child, self._child = self._child, None
        return child.kill() if child else ""

    def _kill_and_give_back(self) -> None:
        self._kill()
        if self._remote:
            self._remote.release()
