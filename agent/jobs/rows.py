"""A session's jobs as tools and screens tell of them. Pure, but for the place's own address of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.events import Noticed
from tools.cards import Spend
from tools.jobs.metrics import Alert
from tools.jobs.place import JobRow, JobState
from tools.problem import Problem

if TYPE_CHECKING:
    from agent.jobs.job import SessionJob


def row(known: SessionJob) -> JobRow:
    request, end = known.request, known.ended
    return JobRow(
        job=known.job,
        title=request.title,
        where=request.where,
        namespace=request.namespace,
        flavor=request.flavor,
        status=end.status if end else "running",
        seconds=end.seconds if end else known.state.seconds,
        message=end.message if end else known.state.message,
        url=url(known),
        hold_micro_usd=request.hold_micro_usd,
        cost_micro_usd=known.settled,
        note=known.uncancelled if not end else "",
        dashboard=(known.tracked.url or known.tracked.note) if known.tracked else "",
        alerts=tuple(Alert(one.level, one.text, one.step) for one in known.watch.sources.alerts),
        billed_micro_usd=known.billed,
        left=known.left.files if known.left else (),
        runs=request.place.runs,
        purpose=request.purpose,
    )


def searched_row(request: Spend) -> JobRow:
    note = "Whether it was started is not known; it is being looked for, and its money stays held."
    return JobRow(
        job="",
        title=request.title,
        where=request.where,
        namespace=request.namespace,
        flavor=request.flavor,
        status="unknown",
        seconds=0.0,
        message="",
        url="",
        hold_micro_usd=request.hold_micro_usd,
        cost_micro_usd=None,
        note=note,
        runs=request.place.runs,
        purpose=request.purpose,
    )


def watched_again(known: SessionJob) -> Noticed:
    """It could not be watched for a while; what is still wrong with it is told once more, as the latest."""
    if known.uncancelled:
        return Noticed(level="warning", text=f"{known.uncancelled} This is tried again until it has ended.")
    return Noticed(level="info", text=f"Job {known.job} is watched again.")


def why_ended(known: SessionJob, state: JobState) -> str:
    if state.status == "cancelled" and known.stopped_for:
        return f"It was stopped, as you chose for such a case: {known.stopped_for}"
    return state.message


def url(job: SessionJob) -> str:
    try:
        return job.place.url(job.job)
    except Problem:
        return ""
