"""What a job tells Trackio, read while it runs and a little longer. Trouble with a dashboard is no trouble of the job."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from agent.events import Event
from agent.job_events import JobAlerted, JobMeasured, JobTracked
from agent.jobs.job import SessionJob
from tools.jobs.tracking import Tracker, TrackerReport
from tools.problem import Problem

log = logging.getLogger(__name__)

PATIENCE = 600.0  # seconds after the job's end; a Space takes some minutes to be built
FAILURES = 3  # in a row, until somebody is told


def tell_tracked(
    job: SessionJob, tell: Callable[[SessionJob, Iterable[Event]], None], closing: threading.Event
) -> None:
    """Start a thread that reads until all is told or the app closes. A job that is not tracked gets none."""
    tracker = job.place.tracker(job.job, job.label, job.request)
    if tracker is not None:
        threading.Thread(
            target=_follow,
            args=(job, tracker, tell),
            kwargs={"closing": closing},
            name=f"tracking-{job.job}",
            daemon=True,
        ).start()


def _follow(
    job: SessionJob,
    tracker: Tracker,
    tell: Callable[[SessionJob, Iterable[Event]], None],
    *,
    closing: threading.Event,
) -> None:
    failures, page, ended = 0, job.tracked.url if job.tracked else "", 0.0
    while not closing.is_set():
        over = job.done.is_set()
        ended = ended or (time.monotonic() if over else 0.0)
        try:
            told = tracker.read(job.mark)
            failures, page = 0, told.url or page
        except Problem as problem:
            failures += 1
            note = f"The dashboard cannot be had at the moment: {problem}" if failures == FAILURES else ""
            told = TrackerReport(mark=job.mark, note=note)
        except Exception:
            log.exception("the tracking of job %s", job.job)
            return
        if closing.is_set():
            return
        try:
            tell(job, _events(job, told, page, over=over))
        except Problem as problem:  # a full disk, or it is just being closed; the watchdog must hear what comes next
            log.warning("what job %s tracked could not be written: %s", job.job, problem)
        since = time.monotonic() - ended
        if told.over or (over and since >= (tracker.flush if told.up else PATIENCE)):
            return
        pause = tracker.pause * min(2**failures, 16)
        (closing if over else job.done).wait(pause)


def _events(job: SessionJob, told: TrackerReport, page: str, *, over: bool) -> list[Event]:
    """page: where it can be looked at, once there is such a place. over: no alarm is of use any more."""
    events: list[Event] = []
    now = JobTracked(job=job.job, url="" if told.over else page, note="" if told.up else told.note)
    if (told.note or told.url or told.up) and (now.url or now.note) and now != job.tracked:
        events.append(now)
        job.tracked = now
    points, found = job.watch.tracked(told.points, told.alerts, job.state.seconds)
    if points:
        events.append(JobMeasured(job=job.job, points=points, mark=told.mark))
    job.mark = told.mark
    return events + [event for event in found if not over or isinstance(event, JobAlerted)]
