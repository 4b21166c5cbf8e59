"""Sessions without an agent: a test tells the events, the page and the routes see what the real ones would show."""

from __future__ import annotations

import contextvars
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from agent.events import (
    ApprovalAnswered,
    ApprovalAsked,
    BudgetSet,
    DemandsSet,
    Entry,
    Event,
    Rewound,
    RunEnded,
    TextSaid,
    UserSaid,
)
from agent.models.picker import ModelFacts
from agent.money.ledger import folded
from agent.sessions import SessionSummary, Unknown
from agent.undo import turn_to_undo
from tools.cards import Answer, Demand
from tools.problem import Problem


class ToldSession:
    """One session in memory. on_send, if set, is called in a thread of its own with the session and the run's id."""

    def __init__(self, owner: str, folder: Path) -> None:
        self.id, self.owner, self.folder = secrets.token_urlsafe(12), owner, folder
        self.entries: list[Entry] = []
        self.answers: list[tuple[str, Answer]] = []
        self.cancelled: list[str] = []  # jobs
        self.stopped = threading.Event()
        self.reads = 0
        self.on_send: Callable[[ToldSession, str], None] | None = None
        self._asked: dict[str, ApprovalAsked] = {}
        self._answered: dict[str, threading.Event] = {}
        self._wakes: list[Callable[[], None]] = []
        self._lock = threading.RLock()
        (folder / "uploads").mkdir(parents=True)

    def tell(self, *events: Event) -> None:
        for event in events:
            with self._lock:
                self.entries.append(Entry(seq=self.last_seq + 1, at=time.time(), event=event))
                if isinstance(event, ApprovalAsked):
                    self._asked[event.approval] = event
                    self._answered[event.approval] = threading.Event()
            for wake in list(self._wakes):
                wake()

    def wait_answer(self, approval: str, seconds: float = 20) -> bool:
        return self._answered[approval].wait(seconds)

    @property
    def readers(self) -> int:
        return len(self._wakes)

    # --- the door that the page knows ---

    @property
    def last_seq(self) -> int:
        return len(self.entries)

    @property
    def running(self) -> bool:
        kinds = [e.event for e in self.entries if isinstance(e.event, UserSaid | RunEnded)]
        return bool(kinds) and isinstance(kinds[-1], UserSaid)

    def send(self, text: str, files: Sequence[str] = (), *, replace: str = "") -> str:
        if self.running:
            raise Problem("A run is going on in this session.", "Stop it, or wait for its end.")
        if replace:
            self.undo(replace)
        run = f"run-{self.last_seq}"
        self.stopped.clear()
        self.tell(UserSaid(run=run, text=text, files=tuple(files)))
        if self.on_send:
            context = contextvars.copy_context()  # as the real one does
            threading.Thread(target=context.run, args=(self.on_send, self, run), daemon=True).start()
        return run

    def undo(self, run: str = "") -> None:
        self.tell(Rewound(seq=turn_to_undo(self.entries, run)))

    def set_demands(self, demands: Sequence[Demand]) -> None:
        self.tell(DemandsSet(demands=tuple(demands), by="user"))

    def answer(self, approval: str, answer: Answer) -> None:
        asked = self._asked.pop(approval, None)
        if asked is None:
            raise Problem(f"There is no open question {approval!r}.", "It may have been answered in another tab.")
        agreed = asked.request.model_copy(update=answer.edits)
        self.answers.append((approval, answer))
        raised = None
        if answer.budget_micro_usd is not None:
            raised = folded(self.entries).compute.limit
            self.set_budget(answer.budget_micro_usd)
        self.tell(
            ApprovalAnswered(approval=approval, answer=answer, by="user", request=agreed, raised_from_micro_usd=raised)
        )
        self._answered[approval].set()

    def stop(self) -> None:
        self.stopped.set()

    def cancel_job(self, job: str) -> None:
        self.cancelled.append(job)

    def set_budget(self, micro_usd: int, of: Literal["compute", "thinking", "both"] = "compute") -> None:
        self.tell(BudgetSet(micro_usd=micro_usd, of=of))

    def read(self, after_seq: int, limit: int = 500) -> list[tuple[int, bytes]]:
        self.reads += 1
        told: list[Entry] = []
        for entry in self.entries[after_seq : after_seq + limit]:
            last = told[-1].event if told else None
            if isinstance(entry.event, TextSaid) and isinstance(last, TextSaid) and last.step == entry.event.step:
                event = TextSaid(step=last.step, text=last.text + entry.event.text)
                told[-1] = Entry(seq=entry.seq, at=entry.at, event=event)
            else:
                told.append(entry)
        return [(entry.seq, entry.model_dump_json().encode()) for entry in told]

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        self._wakes.append(wake)
        return lambda: self._wakes.remove(wake)

    def upload(self, name: str, source: Path) -> str:
        stored = Path(name).name or "file"
        shutil.copy(source, self.folder / "uploads" / stored)
        return stored

    def file(self, path: str) -> BinaryIO:
        found = (self.folder / path).resolve()
        if not found.is_relative_to(self.folder.resolve()) or not found.is_file():
            raise Problem(f"This session has no file {path!r}.", "Look at its artifacts.")
        return found.open("rb")


@dataclass
class ToldSessions:
    """All sessions of one test. missing: why there is no model; "" when there is one."""

    folder: Path
    missing: str = ""
    tokens: dict[str, str] = field(default_factory=dict)
    on_send: Callable[[ToldSession, str], None] | None = None
    all: dict[str, ToldSession] = field(default_factory=dict)

    def create(self, owner: str) -> ToldSession:
        session = ToldSession(owner, self.folder / secrets.token_urlsafe(8))
        session.on_send = self.on_send
        session.tell(BudgetSet(micro_usd=5_000_000))
        self.all[session.id] = session
        return session

    def open(self, id: str, owner: str) -> ToldSession:
        session = self.all.get(id)
        if session is None or session.owner != owner:
            raise Unknown("There is no such session.", "Open one from the list, or start a new one.")
        return session

    def list(self, owner: str) -> list[SessionSummary]:
        mine = [session for session in self.all.values() if session.owner == owner]
        return [self._summary(session) for session in reversed(mine)]

    def model(self, owner: str) -> ModelFacts:
        return ModelFacts("Qwen/Qwen3-Coder-480B-A35B-Instruct", "http://127.0.0.1", not self.missing, self.missing)

    def lend_token(self, owner: str, token: str, check: bool = True) -> str:
        if check and not token.startswith("hf_"):
            raise Problem("The Hub does not accept this token.", "Make a new one at hf.co/settings/tokens.")
        self.tokens[owner] = token
        return "ada"

    def withdraw_token(self, owner: str) -> None:
        self.tokens.pop(owner, None)

    @staticmethod
    def _summary(session: ToldSession) -> SessionSummary:
        said = [entry.event.text for entry in session.entries if isinstance(entry.event, UserSaid)]
        state = ("waiting" if session._asked else "running") if session.running else ("done" if said else "idle")
        return SessionSummary(session.id, said[0] if said else "", state, session.entries[-1].at, session.last_seq)
