"""A job as its session knows it, from its submission on."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from agent.events import JobEnded, JobLeft
from agent.job_watch import JobWatch
from tools.cards import Spend
from tools.jobs.place import JobPlace, JobState


@dataclass
class SessionJob:
    """A job of this session, whether it runs or has ended."""

    label: str
    job: str
    request: Spend
    place: JobPlace
    offset: int = 0
    tail: str = ""
    state: JobState = field(default_factory=lambda: JobState("running"))
    ended: JobEnded | None = None
    settled: int | None = None
    left: JobLeft | None = None  # None: not listed
    billed: int | None = None  # micro-dollars; None: no bill tells
    watch: JobWatch = field(init=False)
    stopped_by: str = ""  # the watchdog's rule
    uncancelled: str = ""  # why it could not be cancelled, while that is so
    cancel_again: float = 0.0  # not before this moment
    done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.watch = JobWatch(self.job, self.request)
