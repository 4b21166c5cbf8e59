"""A session's jobs over the fake Hub, with the real client, a journal in memory and the real books."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from agent.events import Entry, Event
from agent.jobs.bills import PAUSES
from agent.jobs.contract import JobContract
from agent.jobs.jobs import Jobs
from agent.money.books import Books
from tests.doubles.hub import FakeHub
from tools.cards import Spend
from tools.jobs.here.jobs import LocalJobs
from tools.jobs.here.words import HERE
from tools.jobs.prices import Prices
from tools.jobs.remote.client import JobsHub
from tools.jobs.remote.jobs import HubJobs, Pace
from tools.jobs.remote.sandboxes import Sandboxes
from tools.jobs.remote.schedules import Schedules
from tools.jobs.remote.words import JOBS, SANDBOX, SCHEDULE
from tools.problem import Problem

BUDGET = 10_000_000  # micro-dollars
WORDS = {words.name: words for words in (HERE, JOBS, SANDBOX)}
FAST = Pace(
    poll=0.02,
    reconnect=0.02,
    silence=5.0,
    quiet=0.3,
    drain=2.0,
    lookups=(0.0, 0.02),
    patience=1.0,
    track=0.02,
    flush=0.1,
)
PATIENCE = 60.0  # seconds; what takes longer hangs

E = TypeVar("E", bound=Event)


def spend(**more: object) -> Spend:
    """An hour's worth of an L4 for ada, at the fake Hub's price; the words of its place are found by where and schedule."""
    base: dict[str, object] = {
        "title": "Train a classifier",
        "where": "jobs",
        "namespace": "ada",
        "flavor": "l4x1",
        "script": "print('hello')",
        "timeout_seconds": 3600,
        "price_micro_usd_per_hour": 13333 * 60,
    }
    base |= more
    return Spend.model_validate({"place": SCHEDULE if base.get("schedule") else WORDS[str(base["where"])]} | base)


def view_here(place: LocalJobs) -> Jobs:
    """What tools see where jobs run on this machine alone."""
    return Jobs("s1", {place.words.name: place}, lambda _: None, reserve=lambda _, __: None)


class Places:
    """One session and its HF place. again() is what a restart makes of the same journal."""

    def __init__(
        self,
        hub: FakeHub,
        folder: Path,
        entries: Sequence[Entry] = (),
        *,
        token: str = "hf_ada",
        pace: Pace = FAST,
        settles: float = 60.0,
        secrets: dict[str, str] | None = None,
        budget: int = BUDGET,
        bill_pauses: Sequence[float] = PAUSES,
    ) -> None:
        self.bill_pauses = bill_pauses
        self.fake, self.folder, self.pace, self.settles, self.secrets = hub, folder, pace, settles, secrets or {}
        self.token, self.entries = token, list(entries)
        self.full: Callable[[Event], bool] = lambda _: False  # whether the disk has no room for this event
        self._lock = threading.RLock()
        self.books = Books(self._write, self.entries)
        self.prices = Prices(lambda: self.client().hardware())
        self.place = HubJobs(folder, self.client, self.prices, secret=self.secrets.get, pace=pace)
        self.boxes = Sandboxes(folder, self.client, self.prices, pace=pace)
        self.schedules = Schedules(folder, self.client, self.prices, secret=self.secrets.get, pace=pace)
        for place in (self.place, self.boxes, self.schedules):
            place.settles_seconds = settles
        self.jobs = Jobs(
            "s1",
            {place.words.name: place for place in (self.place, self.boxes, self.schedules)},
            self.books.emit,
            reserve=self.books.reserve,
            prices=self.prices,
            payers=lambda: self.client().payers(),
            secrets=lambda: tuple(self.secrets),
            past=lambda: list(self.entries),
            bill_pauses=bill_pauses,
        )
        if entries:
            self.jobs.resume(self.entries)
        else:
            self.books.set_budget(budget)

    def client(self) -> JobsHub:
        return JobsHub(self.token, self.fake.url, 'run it with where="here"')

    def contract(self, request: Spend | None = None, call: str = "c1") -> JobContract:
        return self.jobs.contract(call, request or spend(), threading.Event())

    def again(self, entries: Iterable[Entry] | None = None) -> Places:
        """The next process: the same folder, and the journal or a beginning of it."""
        self.jobs.close()
        past = self.entries if entries is None else list(entries)
        return Places(
            self.fake,
            self.folder,
            past,
            token=self.token,
            pace=self.pace,
            settles=self.settles,
            secrets=self.secrets,
            bill_pauses=self.bill_pauses,
        )

    def events(self, kind: type[E]) -> list[E]:
        return [entry.event for entry in list(self.entries) if isinstance(entry.event, kind)]

    def wait_for(self, kind: type[E], when: Callable[[E], bool] = lambda _: True) -> E:
        return until(lambda: next((event for event in self.events(kind) if when(event)), None), kind.__name__)

    def _write(self, event: Event) -> None:
        if self.full(event):
            raise Problem("The conversation cannot be saved: No space left on device.", "Make room.")
        with self._lock:
            self.entries.append(Entry(seq=len(self.entries) + 1, at=time.time(), event=event))


V = TypeVar("V")


def until(value: Callable[[], V | None], what: str = "it") -> V:
    """The first value that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := value()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come about")
        time.sleep(0.005)
    return found
