"""A job of a session, whether it runs or has ended: what is known of it in memory."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from agent.job_events import JobEnded, JobLeft, JobTracked
from agent.jobs.progress import JobWatch
from agent.jobs.records import Record
from tools.cards import Spend
from tools.jobs.place import JobPlace, JobState, Machine
from tools.problem import Problem


@dataclass
class SessionJob:
    label: str
    job: str
    request: Spend
    place: JobPlace
    offset: int = 0
    mark: str = ""  # how far Trackio's records are read
    tracked: JobTracked | None = None  # the newest
    tail: str = ""
    state: JobState = field(default_factory=lambda: JobState("running"))
    ended: JobEnded | None = None
    settled: int | None = None
    left: JobLeft | None = None  # None: not listed
    billed: int | None = None  # micro-dollars; None: no bill tells
    watch: JobWatch = field(init=False)
    stopped_for: str = ""  # what the watchdog saw
    uncancelled: str = ""  # why it could not be cancelled, while that is so
    cancel_again: float = 0.0  # not before this moment
    cancelled: bool = False  # somebody wanted its end
    looking: threading.Lock = field(
        default_factory=threading.Lock
    )  # whoever looks at it tells what is new, and its end once
    done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.watch = JobWatch(self.job, self.request)

    @classmethod
    def known(cls, label: str, job: str, request: Spend, *, place: JobPlace, record: Record) -> SessionJob:
        """One that the journal knows."""
        found = cls(label, job, request, place, record.offset, record.mark, record.tracked, settled=record.settled)
        found.ended, found.left = record.ended, record.left
        found.billed = record.bill.micro_usd if record.bill else None
        return found

    @property
    def runs_code(self) -> bool:
        """A machine for the session's generated code: it ends with who uses it, not with Stop."""
        return self.request.purpose == "code"

    def machine(self) -> Machine:
        """Raises Problem for what is no sandbox."""
        opens = getattr(self.place, "machine", None)
        if opens is None:
            raise Problem(f"Job {self.job} is no sandbox.", "Use an id that sandbox_run returned.")
        machine: Machine = opens(self.job)
        return machine
