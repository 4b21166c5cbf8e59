"""The Session: the only door to a conversation. send, answer, stop, follow.

It lasts, and its runs (`agent/run.py`) come one after the other; screens are readers of the journal.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from agent.consent.approvals import Approvals
from agent.consent.consents import Consents, R
from agent.demands.pinned import Pinned
from agent.events import Entry, Event, ModelChosen, OutputPrinted, RunEnded, UserSaid
from agent.jobs.jobs import Jobs
from agent.jobs.rented_machine import renting
from agent.journal import Journal
from agent.journal_writer import JournalWriter
from agent.loop.memory import Memory
from agent.loop.slash_commands import parse_typed
from agent.loop.toolbox import Toolbox
from agent.loop.window import Window
from agent.models.metered import settle_what_was_cut_short
from agent.models.selection import Wish
from agent.money.books import Books
from agent.resources import Resources, tools_for
from agent.run import Equipment, Run, close_unfinished
from agent.sandbox import levels
from agent.sandbox.host import Executor, ToolCall, ToolStub
from agent.session_model import SessionModel
from agent.uploads import Uploads
from tools.cards import Answer, Demand, Request
from tools.problem import Problem, Stopped

LONGEST_MESSAGE = 100_000  # characters


class Session:
    """One conversation. All methods may be called from any thread."""

    def __init__(self, journal: Journal, folder: Path, resources: Resources) -> None:
        self.id, self.owner = journal.header.session, journal.header.owner
        self.folder = folder
        self._journal, self._resources = journal, resources
        self._writer = JournalWriter(journal)
        self._lock = threading.RLock()  # which run is going on
        self._run: Run | None = None
        self._uploads = Uploads(folder)
        entries = list(journal.entries())
        self._memory = Memory(journal.entries)
        past = self._memory.catch_up()
        self._books = Books(self._write, entries)
        self._emit = self._books.emit
        self._pinned = Pinned(self._emit, entries, journal.entries)
        self._approvals = Approvals(self._emit, past.approvals)
        self._consents = Consents(self.id, resources, self._books, approvals=self._approvals, pinned=self._pinned)
        self._toolbox = Toolbox(
            tools_for(resources), self._emit, lambda call: self._going().desk(call), called_before=past.calls
        )
        self._model = SessionModel(self._resources, self._books, entries)
        self._executor: Executor | None = None
        payers, secrets, emit, reserve = resources.payers, resources.secrets, self._emit, self._consents.reserve
        self._jobs = Jobs(
            self.id,
            resources.places,
            emit,
            reserve=reserve,
            prices=resources.prices,
            payers=payers,
            secrets=secrets,
            past=journal.entries,
        )
        self._equipment = Equipment(
            session=self.id,
            folder=folder,
            resources=resources,
            emit=self._emit,
            memory=self._memory,
            window=Window(),
            pin=self._pinned.pin,
            approvals=self._approvals,
            consents=self._consents,
            toolbox=self._toolbox,
            model=self._model,
            jobs=self._jobs,
            child=self._child,
        )
        restarted = "The app was restarted while this ran. Nothing before that is lost: send a message to go on."
        close_unfinished(past, self._emit, restarted)
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
                close_unfinished(past, self._emit, "The end of this run could not be saved.")
            if replace:
                self._pinned.take_back(replace)
            run = Run(f"r{past.runs + 1}", self._equipment, past.last_step, done=self._over)
            self._emit(UserSaid(run=run.id, text=text, files=tuple(files)))
            if not typed:
                self._pinned.heard(text)
            self._run = run
        run.begin(typed)
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
            run.stop()
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
        return any(row.runs == "machine" for row in self._jobs.list())

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
            run.close()
        if self._executor:
            self._executor.close()
        self._writer.flush()
        self._journal.close()

    # --- between its runs and what outlasts them ---

    def _over(self, end: RunEnded) -> None:
        with self._lock:  # who reads RunEnded may send at once
            try:
                self._emit(end)
            finally:  # a full disk must not keep the session busy for ever
                self._run = None

    def _going(self) -> Run:
        run = self._run
        if run is None:
            raise Stopped  # a thread of old code calls a tool when no run is going on
        return run

    def _ask_for_more(self, request: R) -> tuple[Answer, R]:
        return self._going().ask(request)

    def _child(self) -> Executor:
        if self._executor is None:
            stubs = [
                ToolStub(tool.name, str(tool.signature), tool.description) for tool in self._toolbox.tools.values()
            ]
            rent = renting(self._jobs, self._ask_for_more)
            rent_if = rent if levels.standing().level == "remote" else None
            self._executor = Executor(
                self.folder, self._call_from_code, stubs, on_output=self._printed, key=self._resources.key, rent=rent_if
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
        return run.step if run else 0
