"""The jobs of one session: reserved, submitted once, followed to their end, settled; found again after a crash.

A job outlives the run and the process. Each open job has one follower thread that writes its log and its end into the
journal, whoever waits for it. The label of a job is known before it is submitted, so that after a crash between the
two the place can be asked whether the submission reached it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from agent.events import (
    EndStatus,
    Entry,
    Event,
    JobEnded,
    JobLogged,
    JobSubmitted,
    JobSubmitting,
    MoneyReleased,
    MoneyReserved,
    MoneySettled,
    Noticed,
)
from agent.ledger import Ledger
from agent.policy import over_budget
from tools.cards import Spend
from tools.desk import JobEnd, Problem, Refused, Stopped
from tools.jobs.metrics import points
from tools.jobs.place import JobPlace, JobState

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
LOG_TAIL = 4_000  # characters of the log that the waiting tool gets


@dataclass
class _Job:
    label: str
    job: str
    request: Spend
    offset: int = 0
    tail: str = ""
    ended: JobEnded | None = None
    done: threading.Event = field(default_factory=threading.Event)


class Jobs:
    def __init__(
        self, session: str, place: JobPlace, emit: Callable[[Event], None], reserve: Callable[[str, int], Ledger | None]
    ) -> None:
        """reserve(hold, micro_usd): hold the money in the journal, or return the ledger it does not fit into."""
        self._session, self._place, self._emit, self._reserve = session, place, emit, reserve
        self._open: dict[str, _Job] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def contract(self, call: str, request: Spend, stop: threading.Event) -> Contract:
        return Contract(self, call, request, stop)

    def submit(self, call: str, request: Spend) -> _Job:
        """Reserve and start, once per call."""
        label = f"{self._session}-{call}"
        short = self._reserve(label, request.hold_micro_usd)
        if short is not None:
            raise Refused(f"This job was not started: {over_budget(request, short)}.", "Ask for less, or ask the user.")
        self._emit(JobSubmitting(label=label, call=call, request=request))
        try:
            job = self._place.start(label, request)
        except BaseException:
            self._emit(MoneyReleased(hold=label))
            raise
        return self._follow(_Job(label, job, request), call)

    def resume(self, entries: Iterable[Entry]) -> None:
        """Follow again what was open when the last process ended, and finish what it was in the middle of."""
        for label, known in open_jobs(entries).items():
            if known.request is None:
                self._emit(MoneyReleased(hold=label))
            elif known.ended:
                self._settle(label, known.request, known.ended.seconds)
            elif known.job is not None:
                self._watch(_Job(label, known.job, known.request, offset=known.offset))
            elif (job := self._place.find(label)) is not None:
                self._follow(_Job(label, job, known.request), known.call)
            else:
                self._emit(MoneyReleased(hold=label))
                told = f"“{known.request.title}” was never started: the app ended first."
                self._emit(Noticed(level="warning", text=told))

    def cancel_open(self) -> None:
        """Cancel what runs. What cannot be cancelled is told and followed on."""
        for job in list(self._open):
            self.cancel(job)

    def cancel(self, job: str) -> None:
        """Cancel one job, unless the app is closing: then it goes on without us."""
        if self._closing.is_set():
            return
        try:
            self._place.cancel(job)
        except Problem as problem:
            self._emit(Noticed(level="warning", text=f"Job {job} could not be cancelled: {problem}"))

    @property
    def open(self) -> bool:
        return bool(self._open)

    def close(self) -> None:
        """Stop following; the jobs themselves go on."""
        self._closing.set()

    def _follow(self, job: _Job, call: str) -> _Job:
        self._emit(
            JobSubmitted(label=job.label, job=job.job, call=call, where=job.request.where, title=job.request.title)
        )
        return self._watch(job)

    def _watch(self, job: _Job) -> _Job:
        with self._lock:
            self._open[job.job] = job
        threading.Thread(target=self._watch_to_end, args=(job,), name=f"job-{job.job}", daemon=True).start()
        return job

    def _watch_to_end(self, job: _Job) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                state = self._place.state(job.job)  # before the log: what was written by then is read below
                while self._read_log(job):
                    pass
                failures = 0
                if state.status != "running":
                    self._end(job, state, state.status)
                    return
            except Problem as problem:  # a place may be out of reach for a while; the job is not lost by that
                if self._closing.is_set():
                    return
                failures += 1
                if failures == 1:
                    self._emit(
                        Noticed(level="warning", text=f"Job {job.job} cannot be watched at the moment: {problem}")
                    )
            self._closing.wait(POLL_SECONDS * min(1 + failures, 50))

    def _read_log(self, job: _Job) -> bool:
        text, offset = self._place.read(job.job, job.offset)
        if offset == job.offset:
            return False
        job.offset, job.tail = offset, (job.tail + text)[-LOG_TAIL:]
        self._emit(JobLogged(job=job.job, offset=offset, text=text, points=points(text)))
        return True

    def _end(self, job: _Job, state: JobState, status: EndStatus) -> None:
        job.ended = JobEnded(
            job=job.job,
            status=status,
            message=state.message,
            exit_code=state.exit_code,
            seconds=round(state.seconds, 1),
            files=tuple(state.files),
        )
        self._emit(job.ended)
        self._settle(job.label, job.request, state.seconds)
        with self._lock:
            self._open.pop(job.job, None)
        job.done.set()

    def _settle(self, label: str, request: Spend, seconds: float) -> None:
        """What it cost, rounded up to a whole micro-dollar; never more than was agreed to."""
        cost = -(-request.price_micro_usd_per_hour * round(seconds * 1000) // 3_600_000)
        self._emit(MoneySettled(hold=label, micro_usd=min(cost, request.hold_micro_usd)))


class Contract:
    """Consent to one Spend: what tools.desk.Contract promises."""

    def __init__(self, jobs: Jobs, call: str, request: Spend, stop: threading.Event) -> None:
        self.request = request
        self._jobs, self._call, self._stop = jobs, call, stop
        self._job: _Job | None = None
        self._once = threading.Lock()

    def submit(self) -> str:
        with self._once:
            if self._stop.is_set():
                raise Stopped
            if self._job is None:
                self._job = self._jobs.submit(self._call, self.request)
            return self._job.job

    def wait(self) -> JobEnd:
        self.submit()
        job = self._job
        assert job is not None  # noqa: S101  # submit has set it
        while not job.done.wait(0.05):
            if self._stop.is_set():
                self._jobs.cancel(job.job)  # Stop may have come while it was being submitted
                raise Stopped
        end = job.ended
        assert end is not None  # noqa: S101  # done is set after it
        return JobEnd(job.job, end.status, end.exit_code, end.seconds, job.tail, end.files, end.message)


@dataclass
class OpenJob:
    """Money that the journal knows no end of, and how far its job had come."""

    call: str = ""
    request: Spend | None = None  # None: reserved, and nothing more
    job: str | None = None  # None: not even its start is known
    offset: int = 0
    ended: JobEnded | None = None  # it has ended and was not settled


def open_jobs(entries: Iterable[Entry]) -> dict[str, OpenJob]:
    """By label. Pure."""
    jobs: dict[str, OpenJob] = {}
    labels: dict[str, str] = {}
    for entry in entries:
        match entry.event:
            case MoneyReserved(hold=label):
                jobs[label] = OpenJob()
            case JobSubmitting(label=label, call=call, request=Spend() as request):
                jobs[label] = OpenJob(call, request)
            case JobSubmitted(label=label, job=job) if label in jobs:
                jobs[label].job, labels[job] = job, label
            case JobLogged(job=job, offset=offset) if labels.get(job) in jobs:
                jobs[labels[job]].offset = offset
            case JobEnded(job=job) as ended if labels.get(job) in jobs:
                jobs[labels[job]].ended = ended
            case MoneySettled(hold=label) | MoneyReleased(hold=label):
                jobs.pop(label, None)
            case _:
                pass
    return jobs
