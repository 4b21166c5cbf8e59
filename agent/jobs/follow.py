"""Following a job to its end: one thread for each open job, which writes its log and its end, whoever waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from agent.events import Event, MoneySettled, Noticed
from agent.job_events import EndStatus, JobAlarm, JobEnded
from agent.jobs.bills import JobBills
from agent.jobs.job import SessionJob
from agent.jobs.outputs import tell_left
from agent.jobs.records import settlement
from agent.jobs.rows import watched_again, why_ended
from agent.jobs.tracking import tell_tracked
from agent.jobs.usage import tell_usage
from tools.cards import Spend
from tools.jobs.place import JobState
from tools.problem import Problem

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
CANCEL_AGAIN_SECONDS = 5.0
LOG_TAIL = 4_000  # characters of the log that the waiting tool gets
RELEASE_SECONDS = 5.0  # that a closing app waits for the end of a machine


class JobFollower:
    """Of one session. All methods may be called from any thread."""

    def __init__(self, emit: Callable[[Event], None], bills: JobBills, closing: threading.Event) -> None:
        """closing: set when the app closes; jobs go on then, and nobody follows them."""
        self._emit, self._bills, self._closing = emit, bills, closing
        self._releases: list[threading.Thread] = []
        self._lock = threading.Lock()

    def follow(self, job: SessionJob) -> None:
        """Start the job's threads; they end with it."""
        threading.Thread(target=self._follow_to_end, args=(job,), name=f"job-{job.job}", daemon=True).start()
        tell_usage(job.job, job.place, self._emit, ended=job.done, closing=self._closing)
        tell_tracked(job, self.tell, self._closing)

    def tell(self, job: SessionJob, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, JobAlarm) and job.request.on_alarm == "stop" and not job.stopped_for:
                job.stopped_for = event.text  # before it is told: it costs money, and the disk may be full
                threading.Thread(target=self.cancel_told, args=(job,), daemon=True).start()
            self._emit(event)

    def cancel(self, job: SessionJob) -> None:
        """Raises Problem when it could not be ended; that is tried again until it has ended."""
        job.cancelled = True
        try:
            job.place.cancel(job.job)
        except Problem as problem:
            job.cancel_again = time.monotonic() + CANCEL_AGAIN_SECONDS
            job.uncancelled = problem.message
            raise
        job.uncancelled = ""

    def cancel_told(self, job: SessionJob) -> None:
        """Cancel it, unless the app is closing: then it goes on without us. A failure is a notice."""
        if not self._closing.is_set():
            try:
                self.cancel(job)
            except Problem as problem:
                self._warn(f"{problem} This is tried again until it has ended.")

    def release(self, job: SessionJob) -> None:
        """End a machine that nobody uses any more. Returns at once; while the app closes, when it is settled, or soon."""
        thread = threading.Thread(target=self._release, args=(job,), name=f"release-{job.job}", daemon=True)
        with self._lock:
            self._releases = [*(one for one in self._releases if one.is_alive()), thread]
            thread.start()
        if self._closing.is_set():
            thread.join(RELEASE_SECONDS)

    def close(self) -> None:
        """Wait for the machines that are being ended; they cost money, and who follows them has gone."""
        with self._lock:
            releases = list(self._releases)
        for thread in releases:
            thread.join(RELEASE_SECONDS)

    def settle(self, label: str, request: Spend, seconds: float, *, status: EndStatus) -> int:
        """Write what the job cost, in micro-dollars, in the place of what was held."""
        micro_usd, source = settlement(request, seconds, status)
        self._emit(MoneySettled(hold=label, micro_usd=micro_usd, source=source))
        return micro_usd

    def _release(self, job: SessionJob) -> None:
        if job.done.is_set():
            return
        try:
            self.cancel(job)
        except Problem as problem:
            if not self._closing.is_set():
                self._warn(f"{problem} This is tried again until it has ended.")
        tries = 0
        while not job.done.wait(POLL_SECONDS) and tries * POLL_SECONDS < RELEASE_SECONDS:
            if self._closing.is_set():  # its follower has gone
                tries += 1
                try:
                    self._look_once(job)
                except Exception as error:  # what is open still, the next process ends
                    log.warning("the end of %s is not known yet: %s", job.job, error)

    def _follow_to_end(self, job: SessionJob) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                if self._look_once(job, failures):
                    return
                failures = 0
            except Exception as error:  # a place may be out of reach for a while; the job is not lost by that
                if self._closing.is_set():
                    return
                failures += 1
                if not isinstance(error, Problem):
                    log.exception("job %s", job.job)
                if failures == 1:
                    said = str(error) if isinstance(error, Problem) else "something nobody foresaw went wrong."
                    self._warn(f"Job {job.job} cannot be watched at the moment: {said}")
            self._closing.wait(POLL_SECONDS * min(1 + failures, 50))

    def _look_once(self, job: SessionJob, failures: int = 0) -> bool:
        """Tell what is new; says whether it has ended. failures: of the looks before, in a row."""
        with job.looking:
            if job.done.is_set():
                return True
            state = self._look(job)
            if failures:
                self._emit(watched_again(job))
            if state.status == "running":
                return False
            self._log(job, "", job.offset, last=True)
            self._end(job, state, state.status)
            return True

    def _look(self, job: SessionJob) -> JobState:
        if job.uncancelled and time.monotonic() >= job.cancel_again:
            try:
                self.cancel(job)
            except Problem:
                log.warning("job %s still cannot be cancelled", job.job)
        job.state = state = job.place.state(job.job)  # before the log: what was written by then is read below
        while self._read_log(job):
            pass
        self.tell(job, job.watch.tick(state.seconds))
        return state

    def _read_log(self, job: SessionJob) -> bool:
        text, offset = job.place.read(job.job, job.offset)
        if offset == job.offset:
            return False
        job.tail = (job.tail + text)[-LOG_TAIL:]
        self._log(job, text, offset)
        return True

    def _log(self, job: SessionJob, text: str, offset: int, *, last: bool = False) -> None:
        """Write a piece of the log, what was measured in it, and what the watchdog says of it."""
        job.offset = offset
        self.tell(job, job.watch.read(text, job.state.seconds, offset=offset, last=last))

    def _end(self, job: SessionJob, state: JobState, status: EndStatus) -> None:
        job.ended = JobEnded(
            job=job.job,
            status=status,
            message=why_ended(job, state),
            exit_code=state.exit_code,
            seconds=round(state.seconds, 1),
            files=tuple(state.files),
        )
        self._emit(job.ended)
        job.settled = self.settle(job.label, job.request, state.seconds, status=status)
        tell_left(job, self._emit)
        job.done.set()
        self._bills.expect(job)

    def _warn(self, text: str) -> None:
        self._emit(Noticed(level="warning", text=text))
