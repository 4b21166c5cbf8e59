"""What a short run says of a long one, before anybody agrees to the long one: its pace, and with it a forecast. Pure.

Only a run on the same machines says anything of the time. The forecast is of the whole run, not only until its time
limit, so that a person sees which limit it needs; the money is reckoned as it is billed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.events import Entry
from agent.job_events import JobEnded, JobLogged, JobSubmitted
from agent.jobs import forecast
from tools.cards import Foreseen, Spend
from tools.money import cost
from tools.problem import Problem

_WHOLE = forecast.Terms(0, forecast.LONGEST)


@dataclass
class _Course:
    """Of one job, by the journal's clock."""

    marks: list[tuple[float, float]] = field(default_factory=list)  # (seconds since it was submitted, step)
    summary: float | None = None  # steps per second, as Trainer says at its end
    began: float | None = None
    ended: float | None = None  # seconds since it was submitted
    ran: float = 0.0  # seconds without the wait for a machine


def foreseen(entries: Iterable[Entry], job: str, dry_run: Spend, *, request: Spend) -> Foreseen:
    """What this job, which ran as dry_run, says of a request. Raises Problem when it says nothing."""
    course = _course(entries, job)
    if not course.marks and not course.summary:
        raise Problem(
            f"Job {job} has told of no steps, so that nothing can be foreseen from it.",
            "Print {'step': 1, 'loss': 0.5} after each step, or leave dry_run out.",
        )
    pace = forecast.pace(course.marks) or course.summary
    if not pace:
        raise Problem(
            f"Job {job} told of its steps only once: its pace is not known.",
            "Let it make about 20 steps and print each, or leave dry_run out.",
        )
    known = {"job": job, "on": dry_run.machines, "steps_per_second": pace}
    if dry_run.machines != request.machines:
        words = f"measured on {dry_run.machines}, not on {request.machines}: no forecast of time"
        return Foreseen.model_validate(known | {"words": words})
    start = _start(course, pace)
    found = forecast.forecast([], request.steps, _WHOLE, dry_run_steps_per_second=pace, starts_in=start)
    if found is None:
        raise Problem(f"From {pace:.3g} steps a second of job {job} nothing can be foreseen.", "Leave dry_run out.")
    low, high = found.seconds_low, found.seconds_high
    each = " each" if request.runs > 1 else ""
    words = (
        f"{forecast.span(low)} to {forecast.span(high)}{each} for {request.steps:,} steps:"
        f" from {pace:.3g} steps/s in dry run {job} on {dry_run.machines}"
    )
    return Foreseen.model_validate(
        known
        | {"start_seconds": start, "seconds_low": low, "seconds_high": high, "words": words}
        | {"micro_usd_low": _billed(request, low), "micro_usd_high": _billed(request, high)}
    )


def _course(entries: Iterable[Entry], job: str) -> _Course:
    found = _Course()
    for entry in entries:
        match entry.event:
            case JobSubmitted(job=name) if name == job:
                found.began = entry.at
            case JobLogged(job=name, points=points) if name == job and found.began is not None:
                for point in points:
                    if (step := point.get("step")) is not None:
                        found.marks.append((entry.at - found.began, step))
                    if (told := point.get("train_steps_per_second")) is not None and told > 0:
                        found.summary = told
            case JobEnded(job=name, seconds=seconds) if name == job and found.began is not None:
                found.ended, found.ran = entry.at - found.began, seconds
            case _:
                pass
    return found


def _start(course: _Course, pace: float) -> float:
    """Seconds of its run before the steps: installing, loading, compiling."""
    if not course.marks:
        return 0.0
    first, step = course.marks[0]
    waited = max(0.0, course.ended - course.ran) if course.ended is not None else 0.0  # for a machine
    start = first - waited - step / pace
    return start if 0 < start < math.inf else 0.0


def _billed(request: Spend, seconds: float) -> int:
    return cost(request.price_micro_usd_per_hour, seconds, machines=request.nodes, runs=request.runs)
