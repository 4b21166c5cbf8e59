"""When a job will be done and what it will have cost: an interval that holds four times in five. Pure.

The pace of ordinary steps and the pauses between them (evaluations, checkpoints) are told apart. Remaining time =
remaining steps at the recent pace + the pauses that are still due. How far that may be off, on the log scale, is
measured within the run itself: how much blocks of its own past differ, whether its pace drifts, how much its pauses
differ, each spread to the steps that are left. Normalized split conformal prediction (Lei et al. 2018,
arXiv:1604.04173, section 5.2) makes an interval of it: LOW and HIGH are the quantiles of error / spread over runs set
aside for calibration (`python -m bench.jobs --calibrate`); `make bench-jobs` checks the coverage on others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist, fmean, median, pstdev

from tools.money import cost, usd_exact, usd_range

COVERAGE = 0.8
LONGEST, MOST_STEPS = 1e9, 1e12  # seconds and steps; beyond is no measurement
MARKS = 512  # more are thinned: the answer does not change and stays instant
FEWEST = 4  # intervals between steps before a run is believed more than its dry run
BLOCKS = 8  # of a run's past, to see how its pace differs
FLOOR = 0.02  # relative spread that is always there: the end of a job saves and uploads
UNKNOWN = 0.25  # relative spread of a pace known from a dry run alone

# Quantiles of ln(actual / expected) / spread at 10 % and 90 %, by how much of the steps is done: up to .25, .6, 1.
DONE = (0.25, 0.6)
LOW = (-1.33, -1.60, -1.84)
HIGH = (3.00, 2.02, 1.97)


@dataclass(frozen=True)
class Forecast:
    """seconds: still to go, after elapsed, which is since the job began. micro_usd: of the whole job.

    finish_probability: that it ends before its timeout. passes_timeout and passes_budget: even the low end does, so
    nine in ten such runs will. words: one sentence for the user.
    """

    elapsed: float
    seconds_low: float
    seconds_high: float
    micro_usd_low: int
    micro_usd_high: int
    finish_probability: float
    passes_timeout: bool
    passes_budget: bool
    words: str


@dataclass(frozen=True)
class Terms:
    """What was agreed to. timeout_seconds counts from the job's start; budget_micro_usd: None is no limit but that."""

    price_micro_usd_per_hour: int  # of one machine
    timeout_seconds: float
    budget_micro_usd: int | None = None
    machines: int = 1


@dataclass(frozen=True)
class Estimate:
    """Seconds from the last mark to the end: the expected, and its spread on the log scale."""

    seconds: float
    spread: float
    done: float  # share of the steps, 0 to 1


def forecast(
    series: Sequence[tuple[float, float]],
    total_steps: float,
    terms: Terms,
    *,
    elapsed: float | None = None,
    dry_run_steps_per_second: float | None = None,
    starts_in: float = 0.0,
) -> Forecast | None:
    """series: (seconds since the job began, step), in order. elapsed: now, by the same clock; the last mark's if None.

    starts_in: seconds until the first step, of a run that has made none and whose dry run took so long.
    None: nothing is known yet. A series that falls back to an earlier step begins anew there (a restart).
    """
    found = estimate(series, total_steps, dry_run_steps_per_second)
    if found is None:
        return None
    last = min(max(0.0, series[-1][0]), LONGEST) if series and math.isfinite(series[-1][0]) else 0.0
    now = max(last, elapsed if elapsed is not None else last)
    cell = sum(found.done > bound for bound in DONE)
    passed = now - last  # since the last mark: it is part of what was to go
    low, high = (starts_in + found.seconds * math.exp(z[cell] * found.spread) for z in (LOW, HIGH))
    low, high = (max(0.0, low - passed), max(high - passed, 0.05 * high))
    micro_low, micro_high = (_micro_usd(now + seconds, terms) for seconds in (low, high))
    budget = terms.budget_micro_usd
    return Forecast(
        elapsed=now,
        seconds_low=low,
        seconds_high=high,
        micro_usd_low=micro_low,
        micro_usd_high=micro_high,
        finish_probability=_probability(terms.timeout_seconds - last - starts_in, found, cell),
        passes_timeout=now + low > terms.timeout_seconds,
        passes_budget=budget is not None and micro_low > budget,
        words=_words(low, high, micro_low, micro_high=micro_high, now=now, terms=terms),
    )


def estimate(
    series: Sequence[tuple[float, float]], total_steps: float, dry_run_steps_per_second: float | None = None
) -> Estimate | None:
    """The expected rest of a run and how sure that is, before any calibration."""
    if not 0 < total_steps <= MOST_STEPS:
        return None
    marks = _marks(series)
    step = marks[-1][1] if marks else 0.0
    left = max(0.0, total_steps - step)
    done = min(1.0, step / total_steps)
    intervals = _settled([(b[1] - a[1], b[0] - a[0], b[1]) for a, b in pairwise(marks)])
    rate = dry_run_steps_per_second
    if len(intervals) < FEWEST and rate and 1e-9 < rate < 1e9:
        return Estimate(max(left, 0.5) / rate, UNKNOWN, done)
    if not intervals:
        return None
    return _from_past(intervals, left, step, done=done)


def pace(series: Sequence[tuple[float, float]]) -> float | None:
    """Steps per second of a run without its slow beginning; None: it was not seen to move."""
    marks = _marks(series)
    intervals = _settled([(b[1] - a[1], b[0] - a[0], b[1]) for a, b in pairwise(marks)])
    seconds = sum(seconds for _, seconds, _ in intervals)
    return sum(steps for steps, _, _ in intervals) / seconds if seconds > 0 else None


def _from_past(intervals: list[tuple[float, float, float]], left: float, step: float, *, done: float) -> Estimate:
    usual = median(seconds / steps for steps, seconds, _ in intervals)
    size = median(steps for steps, _, _ in intervals)
    pauses = [(at, seconds - usual * steps) for steps, seconds, at in intervals if seconds > usual * (steps + 2 * size)]
    paused = {at for at, _ in pauses}
    plain = [(steps, seconds) for steps, seconds, at in intervals if at not in paused] or [intervals[-1][:2]]
    pace, spread, trend = _pace(plain)
    behind = sum(steps for steps, _ in plain)
    ahead = left / behind if behind else 1.0
    cost, due, unsure = _pauses(pauses, left, step)
    running = pace * left
    seconds = running + cost * due
    # The mean of the past is as unsure as its blocks say; the steps ahead differ once more; a drift goes on.
    share = running / seconds if seconds > 0 else 1.0
    noise = spread**2 * (1 / BLOCKS + 1 / max(1.0, BLOCKS * ahead))
    drift = (trend * min(1.0, ahead)) ** 2
    waits = (unsure * (1 - share)) ** 2
    few = (0.3 / len(intervals)) ** 2
    return Estimate(max(seconds, 0.5 * pace), math.sqrt(share**2 * (noise + drift) + waits + few + FLOOR**2), done)


def _pace(plain: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Seconds per step as of late; the relative spread of blocks of the past; how much the later half differs."""
    count = min(BLOCKS, len(plain))
    blocks = [plain[n * len(plain) // count : (n + 1) * len(plain) // count] for n in range(count)]
    paces = [sum(seconds for _, seconds in block) / sum(steps for steps, _ in block) for block in blocks]
    late = paces[count // 2 :]
    pace = fmean(late)
    if count < 2 or pace <= 0:
        return max(pace, 1e-9), 0.5, 0.0
    early = fmean(paces[: count // 2])
    return pace, pstdev(paces) / pace, (pace - early) / pace


def _pauses(pauses: list[tuple[float, float]], left: float, step: float) -> tuple[float, float, float]:
    """Seconds of a pause, how many are due, and how unsure that product is, relatively."""
    if not pauses or step <= 0:
        return 0.0, 0.0, 0.0
    cost = fmean(seconds for _, seconds in pauses)
    first, last = pauses[0][0], pauses[-1][0]
    gaps = [b[0] - a[0] for a, b in pairwise(pauses)]
    every = median(gaps) if gaps else first
    regular = all(abs(gap - every) <= 0.25 * every for gap in gaps)
    due = (left + step - last) // every if regular and every > 0 else left * len(pauses) / step
    differ = pstdev([seconds for _, seconds in pauses]) / cost if len(pauses) > 1 and cost > 0 else 0.5
    return cost, due, math.sqrt(differ**2 / len(pauses) + 0.5 / (1 + due))


def _marks(series: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """When each step was first reached since the last restart, thinned to MARKS."""
    marks: list[tuple[float, float]] = []
    for seconds, step in series:
        if not (0 <= seconds <= LONGEST and 0 <= step <= MOST_STEPS):
            continue
        if marks and step < marks[-1][1]:
            marks = []
        if not marks or (step > marks[-1][1] and seconds > marks[-1][0]):
            marks.append((seconds, step))
        elif step > marks[-1][1]:  # many lines that came at once
            marks[-1] = (marks[-1][0], step)
    every = -(-len(marks) // MARKS) if marks else 1
    return marks if every == 1 else marks[::-1][::every][::-1]


def _settled(intervals: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Without the slow beginning: compiling, caches, the first batches."""
    for dropped in range(min(3, len(intervals) - 2)):
        rest = median(seconds / steps for steps, seconds, _ in intervals[dropped + 1 :])
        if intervals[dropped][1] / intervals[dropped][0] <= 1.5 * rest:
            return intervals[dropped:]
    return intervals[min(3, max(0, len(intervals) - 2)) :]


def _probability(seconds: float, found: Estimate, cell: int) -> float:
    """That the rest takes at most so long: a normal whose 10 % and 90 % are the calibrated ones, on each side."""
    if seconds <= 0:
        return 0.0
    z = math.log(seconds / found.seconds) / found.spread
    middle = (LOW[cell] + HIGH[cell]) / 2
    unit = (HIGH[cell] - LOW[cell]) / 2 / NormalDist().inv_cdf(0.5 + COVERAGE / 2)
    return NormalDist(middle, unit).cdf(z)


def _micro_usd(seconds: float, terms: Terms) -> int:
    """As it will be billed; never more than until the timeout, when the platform ends it."""
    return cost(terms.price_micro_usd_per_hour, min(seconds, terms.timeout_seconds), machines=terms.machines)


def _words(low: float, high: float, micro_low: int, *, micro_high: int, now: float, terms: Terms) -> str:
    left = f"{span(low)} to {span(high)} to go"
    money = "" if not micro_high else f", {usd_range(micro_low, micro_high)} in all"
    budget = terms.budget_micro_usd
    if now + low > terms.timeout_seconds:
        end = f"; that is past its time limit of {span(terms.timeout_seconds)}"
    elif now + high > terms.timeout_seconds:
        end = f"; that may be past its time limit of {span(terms.timeout_seconds)}"
    elif budget is not None and micro_high > budget:
        end = f"; that {'is' if micro_low > budget else 'may be'} over the budget of {usd_exact(budget)}"
    else:
        end = ""
    return f"{left}{money}{end}."


def span(seconds: float) -> str:
    """A time in words."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
