"""The Session: the only door to a conversation. send, answer, stop, follow.

A run is a thread; screens are readers of the journal. Exactly one RunEnded closes each UserSaid.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

from agent.consent.approvals import Approvals
from agent.consent.consents import Consents, R
from agent.demands.pinned import Pinned
from agent.events import (
    Entry,
    Event,
    ModelChosen,
    OutputPrinted,
    RunEnded,
    SandboxReported,
    ToolSaid,
    ToolShowed,
    UserSaid,
    Why,
)
from agent.jobs.jobs import Jobs
from agent.jobs.rented_machine import renting
from agent.journal import Journal
from agent.journal_writer import JournalWriter
from agent.left_open import close_left_open
from agent.loop.coder import Coder, StepLimit
from agent.loop.memory import Memory
from agent.loop.slash_commands import Typed, parse_typed
from agent.loop.toolbox import Toolbox
from agent.loop.window import Window
from agent.models.metered import CapReached, settle_what_was_cut_short
from agent.models.picker import Wish
from agent.models.router import Cancel
from agent.money.books import Books
from agent.resources import Resources, tools_for
from agent.sandbox import levels
from agent.sandbox.host import Executor, ToolCall, ToolStub
from agent.session_model import SessionModel
from agent.uploads import Uploads
from tools.cards import Answer, Demand, FileMade, GoOn, Request
from tools.desk import Desk
from tools.money import usd
from tools.problem import Problem, Stopped

log = logging.getLogger(__name__)

LONGEST_MESSAGE = 100_000  # characters
CLOSING_SECONDS = 0.25  # how long a stopped run waits for its tool calls to end by themselves


@dataclass
class _Run:
    id: str
    cancel: Cancel = field(default_factory=Cancel)
    started: float = field(default_factory=time.monotonic)
    produced: list[str] = field(default_factory=list)
    step: int = 0
    coder: Coder | None = None
    closing: bool = False  # the app ends, not the user
    ended: threading.Event = field(default_factory=threading.Event)


class Session:
    """One conversation. All methods may be called from any thread."""

    def __init__(self, journal: Journal, folder: Path, resources: Resources) -> None:
        self.id, self.owner = journal.header.session, journal.header.owner
        self.folder = folder
        self._journal, self._resources = journal, resources
        self._writer = JournalWriter(journal)
        self._lock = threading.RLock()  # which run is going on
        self._run: _Run | None = None
        self._uploads = Uploads(folder)
        entries = list(journal.entries())
        self._memory, self._window = Memory(journal.entries), Window()
        past = self._memory.catch_up()
        self._books = Books(self._write, entries)
        self._emit = self._books.emit
        self._pinned = Pinned(self._emit, entries, journal.entries)
        self._approvals = Approvals(self._emit, past.approvals)
        self._consents = Consents(self.id, resources, self._books, self._approvals, self._pinned)
        self._toolbox = Toolbox(tools_for(resources), self._emit, self._desk, past.calls)
        self._model = SessionModel(self._resources, self._books, entries)
        self._executor: Executor | None = None
        payers, secrets, emit, reserve = resources.payers, resources.secrets, self._emit, self._consents.reserve
        self._jobs = Jobs(self.id, resources.places, emit, reserve, resources.prices, payers, secrets, journal.entries)
        restarted = "The app was restarted while this ran. Nothing before that is lost: send a message to go on."
        close_left_open(past, self._emit, restarted)
        settle_what_was_cut_short(self._books)
        self._jobs.resume(entries)

    # --- the door ---

    def send(self, text: str, files: Sequence[str] = (), *, replace: str = "") -> str:
        """Start a run on the user's message; returns its id at once. Raises Problem while another run is going on.

        replace: a run that this one takes the place of; it and all after it are taken back.
        """
        text = self._sendable(text, files)
        typed = parse_typed(text, self._toolbox.tools) if text.startswith("/") else None
        with self._lock:
            if self._run:
                raise Problem("A run is still going on.", "Wait for its end, or press Stop first.")
            past = self._memory.catch_up()
            if past.open_run:  # its end could not be written
                close_left_open(past, self._emit, "The end of this run could not be saved.")
            if replace:
                self._pinned.take_back(replace)
            run = _Run(f"r{past.runs + 1}", step=past.last_step)
            self._emit(UserSaid(run=run.id, text=text, files=tuple(files)))
            if not typed:
                self._pinned.heard(text)
            self._run = run
        context = contextvars.copy_context()  # on ZeroGPU the visitor's quota travels in it
        threading.Thread(
            target=context.run, args=(self._drive, run, typed), name=f"run-{self.id}-{run.id}", daemon=True
        ).start()
        return run.id

    def _sendable(self, text: str, files: Sequence[str]) -> str:
        text = text.strip()
        if not text and not files:
            raise Problem("The message is empty.", "Write what you want done.")
        if len(text) > LONGEST_MESSAGE:
            raise Problem(
                f"The message has {len(text):,} characters; {LONGEST_MESSAGE:,} is the most.", "Attach it as a file."
            )
        for name in files:
            if not self._uploads.has(name):
                raise Problem(f"There is no uploaded file {name!r}.", "Upload it again.")
        return text

    def undo(self) -> None:
        """Take back the last message and all that came of it. Jobs go on, and money stays spent. Raises Problem during a run."""
        with self._lock:
            if self._run:
                raise Problem("A run is still going on.", "Wait for its end, or press Stop first.")
            self._pinned.take_back()

    def set_demands(self, demands: Sequence[Demand]) -> None:
        """What is pinned, whole. A person's word only; no tool reaches this."""
        self._pinned.set(demands)

    def answer(self, approval: str, answer: Answer) -> None:
        """The user's own answer to an open question, which alone may raise the budget. Raises Problem when it cannot count."""
        self._consents.answer(approval, answer)

    def is_open(self, approval: str) -> bool:
        """Whether the question still waits for its answer."""
        return self._approvals.is_open(approval)

    def stop(self) -> None:
        """Stop the run and cancel the session's jobs. Returns at once; the ends are events."""
        if run := self._run:
            run.cancel.set()
        self._approvals.stop()
        if self._jobs.open:
            threading.Thread(target=self._jobs.cancel_open, name=f"cancel-{self.id}", daemon=True).start()

    def cancel_job(self, job: str) -> None:
        """End one job. Returns at once; its end, or that it cannot be ended, is an event. Raises Problem for no job."""
        self._jobs.state(job)
        threading.Thread(target=self._jobs.cancel_told, args=(job,), name=f"cancel-{job}", daemon=True).start()

    @property
    def rents(self) -> bool:
        """Whether it has rented a machine to try things on."""
        return any(row.where == "sandbox" for row in self._jobs.list())

    @property
    def open_labels(self) -> frozenset[str]:
        """Of jobs and machines that it knows to be running."""
        return self._jobs.open_labels

    def set_budget(self, micro_usd: int, of: Literal["compute", "thinking", "both"] = "compute") -> None:
        """The most this session may spend in all. A person's word only; no tool reaches this."""
        self._books.set_budget(micro_usd, of)

    @property
    def chosen(self) -> ModelChosen | None:
        """The model it thinks with; None before its first run."""
        return self._model.chosen

    def choose(self, wish: Wish) -> ModelChosen:
        """Think with another model from the next run on. Raises Problem when there is no such model."""
        return self._model.choose(wish)

    def follow(self, after_seq: int = 0) -> Iterator[Entry]:
        """Entries after a seq, live, until no run is going on and everything is told."""
        return self._journal.follow(after_seq, until=lambda: self._run is None)

    def read(self, after_seq: int, limit: int = 500) -> list[tuple[int, bytes]]:
        return self._journal.read(after_seq, limit)

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        return self._journal.subscribe(wake)

    @property
    def last_seq(self) -> int:
        return self._journal.last_seq

    def budget_for(self, request: Request) -> int | None:
        """The limit for compute, in micro-dollars, that the request needs; None if it fits under the one that stands."""
        return self._consents.budget_for(request)

    @property
    def state(self) -> str:
        if self._approvals.open:
            return "waiting"
        return "running" if self._run else ""

    def upload(self, name: str, source: Path) -> str:
        """Copy a file into the session's uploads; returns the name it has there."""
        return self._uploads.upload(name, source)

    def file(self, path: str) -> BinaryIO:
        """Open a file of this session's jobs or uploads. Raises Problem for anything else, links included."""
        return self._uploads.open(path)

    def close(self) -> None:
        """End the run and let go of the child, the followers and the journal. Jobs go on."""
        self._jobs.close()
        if run := self._run:
            run.closing = True
            run.cancel.set()
            self._approvals.stop()
            run.ended.wait(2.0)
        if self._executor:
            self._executor.close()
        self._writer.flush()
        self._journal.close()

    # --- a run ---

    def _drive(self, run: _Run, typed: Typed | None) -> None:
        why: Why = "failed"
        answer = message = ""
        try:
            answer = self._call_typed(typed) if typed else self._work(run)
            why = "answered"
        except Stopped:
            who = "The app was closed while this ran." if run.closing else "You stopped this run."
            why, message = "stopped", f"{who} Send a message to go on."
        except CapReached:
            why = "budget"
            limit = usd(self._books.ledger.thinking.limit)
            message = (
                f"The limit of {limit} for thinking does not allow the next call. Raise it and send a message to go on."
            )
        except StepLimit:
            why = "step_limit"
            message = "All steps of this run are used up. Send a message to go on."
        except Problem as problem:
            message = f"{typed.tool} could not do it." if typed else str(problem)  # its call has just said why
        except Exception as error:
            log.exception("run %s of session %s failed", run.id, self.id)
            message = f"Something nobody foresaw went wrong ({type(error).__name__}); the log has the details. Send a message to go on."
        finally:
            try:
                self._end(run, why, answer, message)
            finally:
                run.ended.set()

    def _work(self, run: _Run) -> str:
        model = self._model.thinker(self._ask_for_more)
        facts = self._child().report()
        self._emit(SandboxReported(level=str(facts["level"]), facts=facts))
        run.coder = Coder(
            model,
            list(self._toolbox.tools.values()),
            self._child(),
            lambda name, arguments: self._toolbox.call(name, (), arguments, by="agent", step=self._step()),
            self._emit,
            memory=self._memory,
            work=self.folder / "work",
            run=run.id,
            cancel=run.cancel,
            steps_before=run.step,
            max_steps=self._resources.max_steps,
            go_on=self._go_on,
            window=self._window,
        )
        return run.coder.run_to_end()

    def _ask_for_more(self, request: R) -> tuple[Answer, R]:
        run = self._run
        if run is None:
            raise Stopped
        return self._consents.get("", request, run.cancel.event)

    def _go_on(self, steps: int) -> int:
        answer, agreed = self._ask_for_more(GoOn(steps=steps, more=self._resources.max_steps))
        return agreed.more if answer.verdict == "yes" else 0

    def _call_typed(self, typed: Typed) -> str:
        self._toolbox.call(typed.tool, (), typed.arguments, by="user")
        return ""

    def _end(self, run: _Run, why: Why, answer: str, message: str) -> None:
        if why != "answered":
            deadline = time.monotonic() + CLOSING_SECONDS
            while self._toolbox.busy and time.monotonic() < deadline:
                time.sleep(0.005)
        self._approvals.stop()
        self._toolbox.close_open_calls()
        coder = run.coder
        end = RunEnded(
            run=run.id,
            why=why,
            answer=answer,
            message=message,
            produced=tuple(dict.fromkeys(run.produced)),
            steps=coder.steps if coder else 0,
            seconds=round(time.monotonic() - run.started, 2),
            input_tokens=coder.input_tokens if coder else 0,
            output_tokens=coder.output_tokens if coder else 0,
        )
        with self._lock:  # who reads RunEnded may send at once
            try:
                self._emit(end)
            finally:  # a full disk must not keep the session busy for ever
                self._run = None
        if coder and not run.closing:
            threading.Thread(target=self._model.reconcile, name=f"bill-{self.id}", daemon=True).start()

    def _child(self) -> Executor:
        if self._executor is None:
            stubs = [
                ToolStub(tool.name, str(tool.signature), tool.description) for tool in self._toolbox.tools.values()
            ]
            rent = renting(self._jobs, self._ask_for_more)
            rent_if = rent if levels.standing().level == "remote" else None
            self._executor = Executor(
                self.folder, self._call_from_code, stubs, self._printed, key=self._resources.key, rent=rent_if
            )
        return self._executor

    def _call_from_code(self, call: ToolCall) -> Any:
        return self._toolbox.call(call.name, call.args, call.kwargs, by="agent", step=self._step())

    def _write(self, event: Event) -> None:
        self._writer.emit(event)
        self._resources.notices.take(self.id, event)

    def _printed(self, text: str) -> None:
        self._emit(OutputPrinted(step=self._step(), text=text))

    def _step(self) -> int:
        run = self._run
        return run.coder.step if run and run.coder else 0

    # --- what a tool's desk reaches ---

    def _desk(self, call: str) -> Desk:
        run = self._run
        if run is None:
            raise Stopped  # a thread of old code calls a tool when no run is going on
        stop = run.cancel.event

        def show(card: Any) -> None:
            if self._toolbox.is_open(call):
                self._emit(ToolShowed(call=call, card=card))
            if isinstance(card, FileMade):
                run.produced.append(card.path)

        def say(text: str) -> None:
            if self._toolbox.is_open(call):
                self._emit(ToolSaid(call=call, text=text))

        jobs = self._jobs
        return Desk(
            call=call,
            hub=self._resources.hub(),
            web=self._resources.web,
            folder=self.folder,
            show=show,
            say=say,
            judge=lambda request: self._consents.get(call, request, stop),
            sign=lambda request: jobs.contract(call, request, stop),
            jobs=jobs,
            pin=self._pinned.pin,
            stop=stop,
        )
