"""What a running job uses of its machine, told now and then while it runs. Trouble with it is no trouble of the job."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from agent.job_events import JobUsed
from tools.jobs.place import JobPlace
from tools.problem import Problem

log = logging.getLogger(__name__)

SHARE = 1 / 120  # of the time so far is the pause until the next look, so that a long job fills no journal
LONGEST = 60.0  # seconds


def tell_usage(
    job: str, place: JobPlace, emit: Callable[[JobUsed], None], *, ended: threading.Event, closing: threading.Event
) -> None:
    """Start a thread that looks until the job has ended or the app closes. A place that measures nothing gets none."""
    if place.measures_seconds:
        ends = {"ended": ended, "closing": closing}
        threading.Thread(target=_look, args=(job, place, emit), kwargs=ends, name=f"usage-{job}", daemon=True).start()


def _look(
    job: str, place: JobPlace, emit: Callable[[JobUsed], None], *, ended: threading.Event, closing: threading.Event
) -> None:
    began = time.monotonic()
    while not closing.is_set():
        pause = max(place.measures_seconds, min(LONGEST, (time.monotonic() - began) * SHARE))
        if ended.wait(pause):
            return
        try:
            use = place.metrics(job)
            if use and not ended.is_set() and not closing.is_set():
                emit(JobUsed(job=job, use=use))
        except Problem as problem:
            log.info("the usage of job %s is not known, or cannot be written: %s", job, problem)
        except Exception:
            log.exception("the usage of job %s", job)
            return
