"""What an ended job left in its bucket: listed once, as soon as it has ended. Trouble with it is no trouble of the job."""

from __future__ import annotations

import logging
from collections.abc import Callable

from agent.events import Event
from agent.job_events import JobLeft
from agent.jobs.job import SessionJob
from tools.problem import Problem

log = logging.getLogger(__name__)


def tell_left(job: SessionJob, emit: Callable[[Event], None]) -> None:
    """Takes some seconds where the Hub is slow, and then knows nothing; job_output can ask again."""
    if not job.request.outputs or job.left is not None:
        return
    try:
        left = job.place.outputs(job.job, job.label, job.request).files()
        told = JobLeft(
            job=job.job, url=left.url, folder=left.folder, files=left.files, rest=left.rest, whole=left.whole
        )
        emit(told)
        job.left = told
    except Problem as problem:
        log.info("what job %s left is not known: %s", job.job, problem)
    except Exception:
        log.exception("what job %s left", job.job)
