"""One run of the agent: what the user said is driven to its end in a thread of its own. Exactly one RunEnded closes it."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.consent.approvals import Approvals
from agent.consent.consents import Consents, R
from agent.events import (
    ApprovalAnswered,
    Event,
    RunEnded,
    SandboxReported,
    StepEnded,
    ToolEnded,
    ToolSaid,
    ToolShowed,
)
from agent.jobs.jobs import Jobs
from agent.loop.coder import Coder
from agent.loop.memory import Memory, Recalled
from agent.loop.slash_commands import Typed
from agent.loop.toolbox import Toolbox
from agent.loop.window import Window
from agent.models.deltas import Cancel
from agent.resources import Resources
from agent.sandbox.host import Executor
from agent.session_model import SessionModel
from tools.cards import Answer, Demand, FileMade, GoOn
from tools.desk import Desk
from tools.problem import Problem, RunEnd, Stopped

log = logging.getLogger(__name__)

CLOSED = "The app was closed while this ran. Send a message to go on."
CLOSING_SECONDS = 0.25  # how long a stopped run waits for its tool calls to end by themselves


class Failure(RunEnd):
    """Something went wrong."""

    why = "failed"


@dataclass(frozen=True)
class Equipment:
    """What a session lends to its runs, one after the other."""

    session: str
    folder: Path
    resources: Resources
    emit: Callable[[Event], None]
    memory: Memory
    window: Window
    pin: Callable[[Demand], None]
    approvals: Approvals
    consents: Consents
    toolbox: Toolbox
    model: SessionModel
    jobs: Jobs
    child: Callable[[], Executor]  # started when first asked for, and kept


class Run:
    """Begun once. It goes on until done was called with its RunEnded."""

    def __init__(self, id: str, equipment: Equipment, steps_before: int, *, done: Callable[[RunEnded], None]) -> None:
        """steps_before: of the session. done: put down how it ended; the session is free for another then."""
        self.id = id
        self._lent, self._steps_before, self._done = equipment, steps_before, done
        self._cancel = Cancel()
        self._started = time.monotonic()
        self._produced: list[str] = []
        self._coder: Coder | None = None
        self._closing = False  # the app ends, not the user
        self._ended = threading.Event()

    def begin(self, typed: Typed | None) -> None:
        """Start its thread. typed: a tool call of the user's own, which takes no model; None: the agent works."""
        context = contextvars.copy_context()  # on ZeroGPU the visitor's quota travels in it
        name = f"run-{self._lent.session}-{self.id}"
        threading.Thread(target=context.run, args=(self._drive, typed), name=name, daemon=True).start()

    def stop(self) -> None:
        """Returns at once."""
        self._cancel.set()

    def close(self) -> None:
        """End it because the app ends, and wait a moment for that."""
        self._closing = True
        self._cancel.set()
        self._lent.approvals.stop()
        self._ended.wait(2.0)

    @property
    def step(self) -> int:
        """Number of the current step in the whole session; 0 before the first of the run."""
        return self._coder.step if self._coder else 0

    def ask(self, request: R) -> tuple[Answer, R]:
        """Put before the user what no tool asks for; the answer, and the request as agreed. Raises Stopped."""
        return self._lent.consents.get("", request, self._cancel.event)

    def desk(self, call: str) -> Desk:
        """All that the tool of this call reaches."""
        lent, stop = self._lent, self._cancel.event

        def show(card: Any) -> None:
            if lent.toolbox.is_open(call):
                lent.emit(ToolShowed(call=call, card=card))
            if isinstance(card, FileMade):
                self._produced.append(card.path)

        def say(text: str) -> None:
            if lent.toolbox.is_open(call):
                lent.emit(ToolSaid(call=call, text=text))

        return Desk(
            call=call,
            hub=lent.resources.hub(),
            web=lent.resources.web,
            folder=lent.folder,
            show=show,
            say=say,
            judge=lambda request: lent.consents.get(call, request, stop),
            grants={"spend": lambda request: lent.jobs.contract(call, request, stop)},
            jobs=lent.jobs,
            pin=lent.pin,
            stop=stop,
        )

    # --- in its thread ---

    def _drive(self, typed: Typed | None) -> None:
        answer = ""
        end: RunEnd | None = Failure("")
        try:
            answer = self._call_typed(typed) if typed else self._work()
            end = None
        except RunEnd as over:
            end = Stopped(CLOSED) if self._closing and over.why == "stopped" else over
        except Problem as problem:
            end = Failure(str(problem))
        except Exception as error:
            log.exception("run %s of session %s failed", self.id, self._lent.session)
            what = f"Something nobody foresaw went wrong ({type(error).__name__}); the log has the details."
            end = Failure(f"{what} Send a message to go on.")
        finally:
            try:
                self._end(answer, end)
            finally:
                self._ended.set()

    def _work(self) -> str:
        lent = self._lent
        model, child = lent.model.thinker(self.ask), lent.child()
        facts = child.report()
        lent.emit(SandboxReported(level=str(facts["level"]), facts=facts))
        self._coder = Coder(
            model,
            list(lent.toolbox.tools.values()),
            child,
            call_tool=lambda name, arguments: lent.toolbox.call(name, (), arguments, by="agent", step=self.step),
            emit=lent.emit,
            memory=lent.memory,
            work=lent.folder / "work",
            run=self.id,
            cancel=self._cancel,
            steps_before=self._steps_before,
            max_steps=lent.resources.max_steps,
            go_on=self._go_on,
            window=lent.window,
        )
        return self._coder.run_to_end()

    def _go_on(self, steps: int) -> int:
        answer, agreed = self.ask(GoOn(steps=steps, more=self._lent.resources.max_steps))
        return agreed.more if answer.verdict == "yes" else 0

    def _call_typed(self, typed: Typed) -> str:
        try:
            self._lent.toolbox.call(typed.tool, (), typed.arguments, by="user")
        except Problem:  # its call has just said why
            raise Failure(f"{typed.tool} could not do it.") from None
        return ""

    def _end(self, answer: str, early: RunEnd | None) -> None:
        """early: why it ended without an answer."""
        toolbox, coder = self._lent.toolbox, self._coder
        if early:
            deadline = time.monotonic() + CLOSING_SECONDS
            while toolbox.busy and time.monotonic() < deadline:
                time.sleep(0.005)
        self._lent.approvals.stop()
        toolbox.close_open_calls()
        self._done(
            RunEnded(
                run=self.id,
                why=early.why if early else "answered",
                answer=answer,
                message=early.message if early else "",
                produced=tuple(dict.fromkeys(self._produced)),
                steps=coder.steps if coder else 0,
                seconds=round(time.monotonic() - self._started, 2),
                input_tokens=coder.input_tokens if coder else 0,
                output_tokens=coder.output_tokens if coder else 0,
            )
        )
        if coder and not self._closing:
            name = f"bill-{self._lent.session}"
            threading.Thread(target=self._lent.model.reconcile, name=name, daemon=True).start()


def close_unfinished(past: Recalled, emit: Callable[[Event], object], message: str) -> None:
    """Close in the journal what a run left open whose process ended, so that the user can go on.

    message: one sentence for the user.
    """
    for approval, request in past.open_approvals.items():
        answer = Answer(verdict="no", reason="the run ended before an answer came")
        emit(ApprovalAnswered(approval=approval, answer=answer, by="stop", request=request))
    for call in past.open_calls:
        emit(ToolEnded(call=call, why="stopped", message="The run ended.", seconds=0.0))
    if past.open_step:
        emit(StepEnded(step=past.open_step, seconds=0.0, error="The run ended."))
    if past.open_run:
        emit(RunEnded(run=past.open_run, why="failed", message=message))
