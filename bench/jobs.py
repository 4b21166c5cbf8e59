"""`python -m bench.jobs [--quick]`: the watchdog and the forecast on real small trainings that neither was tuned on,
and how long Stop takes (bench.job_stop).

Makes the runs of bench.curves with seeds from HELD_BACK on, replays what they printed, prints tables and one last line
of JSON, and exits with 1 when a bar is missed. `--times 4 --seeds 370000` makes other runs, and more of them.
`--calibrate` makes runs with other seeds and prints the constants for agent/jobs/forecast.py. `--curves FILE` keeps the
recorded runs in a file, or takes them from it.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import pickle
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.jobs import forecast as forecasts
from agent.jobs.forecast import Terms, estimate, forecast
from agent.jobs.watchdog import RULES, LossWatch, Rule
from bench import job_stop
from bench.curves import FAULTS, Curve, record, wanted, warm_up
from bench.naive import EarlyStopping, NaiveWatch, tqdm_remaining
from tools.jobs.metrics import MetricReader

CALIBRATION, HELD_BACK = 10_000, 70_000  # first seeds
HONEST, EACH_FAULT = 220, 60
PRICE = 1_000_000  # micro-dollars an hour
TICK = 20.0  # seconds of a job between two looks at the clock
WAITED = 6 * 3600.0  # seconds a hang is given to be noticed
CHECKS = [n / 10 for n in range(1, 10)]  # shares of the steps at which a forecast is made
TRUE_POSITIVES, FALSE_ALARMS, COVERED = 0.95, 0.02, (0.75, 0.85)
RIGHT: dict[str, tuple[Rule, ...]] = {
    "lr too high": ("nan", "divergence", "no_progress"),  # what it does to a loss depends on the optimizer
    "lr jumps": ("nan", "divergence"),
    "frozen": ("no_progress",),
    "random labels": ("no_progress",),
    "hang": ("hang",),
    "slows down": ("overrun",),
}


@dataclass
class Score:
    """Of one watcher."""

    honest: int = 0
    false: int = 0
    false_by_rule: Counter[str] = field(default_factory=Counter)
    found: dict[str, list[bool]] = field(default_factory=dict)
    steps: dict[str, list[float]] = field(default_factory=dict)  # from the fault to the alarm; of a hang seconds

    @property
    def all_found(self) -> list[bool]:
        return [one for found in self.found.values() for one in found]


def main() -> int:
    options = _options()
    began = time.monotonic()
    honest, each = (40, 6) if options.quick else (HONEST, EACH_FAULT)
    honest, each = honest * options.times, each * options.times
    curves = _curves(options.curves, honest, each, first_seed=CALIBRATION if options.calibrate else options.seeds)
    if options.calibrate:
        _calibrate(curves)
        return 0
    watchers = {"ours": _Ours, "naive": NaiveWatch, "EarlyStopping": EarlyStopping}
    scores = {name: _score(watcher, curves) for name, watcher in watchers.items()}
    figures = _table(scores) | _coverage([curve for curve in curves if curve.kind == "honest" and curve.took])
    stops = job_stop.report(job_stop.measure())
    missed = [] if options.quick else _missed(figures) + job_stop.missed(stops)
    print(
        f"{len(curves)} runs in {time.monotonic() - began:.0f} s; bars {'met' if not missed else 'MISSED: ' + ', '.join(missed)}"
    )
    print(
        json.dumps(
            {"bench": "jobs", "quick": options.quick, "runs": len(curves), "missed": missed, **figures, "stop": stops}
        )
    )
    return 1 if missed else 0


class _Ours:
    def __init__(self, timeout: float, total: float | None) -> None:
        self._watch = LossWatch(Terms(PRICE, timeout), total_steps=total)
        self._reader = MetricReader()

    def line(self, at: float, text: str) -> list[tuple[str, float]]:
        return [(one.rule, one.step or 0.0) for one in self._watch.read(at, self._reader.read(text))]

    def tick(self, at: float) -> list[tuple[str, float]]:
        return [(one.rule, one.step or 0.0) for one in self._watch.tick(at)]


def _score(watcher: Any, curves: list[Curve]) -> Score:
    score = Score()
    for curve in curves:
        if curve.kind == "honest":
            if curve.took:
                score.honest += 1
                rules = {rule for _, rule, _ in _replayed(watcher, curve)}
                score.false += bool(rules)
                score.false_by_rule.update(rules)
        elif _took(curve):
            alarms = _replayed(watcher, curve)
            right = [one for one in alarms if one[1] in RIGHT[curve.kind] and one[0] >= _begins(curve)]
            score.found.setdefault(curve.kind, []).append(bool(right))
            if right:
                late = right[0][0] - curve.end if curve.kind == "hang" else right[0][2] - curve.fault_step
                score.steps.setdefault(curve.kind, []).append(late)
    return score


def _begins(curve: Curve) -> float:
    """When a fault could first be seen: with the last line before it, from when the clock runs on in a hang."""
    return max((at for at, step in _marks(curve) if step <= curve.fault_step), default=0.0)


def _replayed(watcher: Any, curve: Curve) -> list[tuple[float, str, float]]:
    """All alarms of a run: (seconds, rule, step)."""
    watch = watcher(_timeout(curve), _told_total(curve))
    alarms: list[tuple[float, str, float]] = []
    now = 0.0
    for at, line in curve.lines:
        while now + TICK < at:
            now += TICK
            alarms += [(now, *alarm) for alarm in watch.tick(now)]
        alarms += [(at, *alarm) for alarm in watch.line(at, line + "\n")]
    until = curve.end + (WAITED if curve.kind == "hang" else 0)
    while now + TICK < until:
        now += TICK
        alarms += [(now, *alarm) for alarm in watch.tick(now)]
    return alarms


def _told_total(curve: Curve) -> float | None:
    """A quarter of the scripts do not say how many steps there will be, unless the fault shows only against them."""
    dice = random.Random(curve.seed)
    needs = curve.kind in {"slows down", "frozen", "random labels", "lr too high"}
    return curve.total_steps if needs or dice.random() < 0.75 else None


def _timeout(curve: Curve) -> float:
    """Honest runs end well before it, or just before it; those that slow down were planned to."""
    dice = random.Random(curve.seed + 1)
    if curve.kind == "hang":
        return curve.end * 4 + WAITED
    if curve.kind != "slows down":
        return curve.end * dice.uniform(1.1, 3)
    before = [(at, step) for at, step in _marks(curve) if step <= curve.fault_step]
    (first_at, first), (last_at, last) = before[0], before[-1]
    pace = (last_at - first_at) / max(1, last - first)
    return (last_at + pace * (curve.total_steps - last)) * dice.uniform(1.1, 1.4)


def _took(curve: Curve) -> bool:
    return curve.end > 1.05 * _timeout(curve) if curve.kind == "slows down" else curve.took


def _marks(curve: Curve) -> list[tuple[float, float]]:
    reader = MetricReader()
    marks = []
    for at, line in curve.lines:
        progress = reader.read(line).progress
        if progress:
            marks.append((at, progress.step))
    return marks


def _table(scores: dict[str, Score]) -> dict[str, Any]:
    ours = scores["ours"]
    print(
        f"{'planted fault':16} {'runs':>5} "
        + " ".join(f"{name:>14}" for name in scores)
        + "   ours, from fault to alarm"
    )
    for kind in FAULTS:
        found = ours.found.get(kind, [])
        shares = " ".join(f"{_share(score.found.get(kind, [])):>14.3f}" for score in scores.values())
        late = statistics.median(ours.steps.get(kind, [math.nan]))
        unit = "s" if kind == "hang" else "steps"
        print(f"{kind:16} {len(found):>5} {shares}   median {late:.0f} {unit}")
    total = ours.all_found
    shares = " ".join(f"{_share(score.all_found):>14.3f}" for score in scores.values())
    low, high = _wilson(sum(total), len(total))
    print(f"{'true positives':16} {len(total):>5} {shares}   95 %: {low:.3f} to {high:.3f}; bar ≥ {TRUE_POSITIVES}")
    shares = " ".join(f"{score.false / max(1, score.honest):>14.3f}" for score in scores.values())
    low, high = _wilson(ours.false, ours.honest)
    print(f"{'false alarms':16} {ours.honest:>5} {shares}   95 %: {low:.3f} to {high:.3f}; bar ≤ {FALSE_ALARMS}")
    for rule in RULES:
        shares = " ".join(f"{score.false_by_rule[rule] / max(1, score.honest):>14.3f}" for score in scores.values())
        print(f"{'  ' + rule:16} {'':>5} {shares}")
    return {
        "true_positives": {kind: _share(found) for kind, found in ours.found.items()},
        "true_positives_overall": _share(total),
        "false_alarms": ours.false / max(1, ours.honest),
        "false_alarms_by_rule": {rule: ours.false_by_rule[rule] / max(1, ours.honest) for rule in RULES},
        "median_from_fault": {kind: round(statistics.median(steps), 1) for kind, steps in ours.steps.items()},
        "peers": {
            name: {"true_positives": _share(score.all_found), "false_alarms": score.false / max(1, score.honest)}
            for name, score in scores.items()
            if name != "ours"
        },
    }


def _coverage(curves: list[Curve]) -> dict[str, Any]:
    per_run: list[float] = []
    rows: dict[float, list[tuple[bool, float, float, float]]] = {check: [] for check in CHECKS}
    for curve in curves:
        held = []
        for check, marks, actual in _checks(curve):
            told = forecast(marks, curve.total_steps, Terms(PRICE, 1e9))
            if told is None:
                continue
            held.append(told.seconds_low <= actual <= told.seconds_high)
            middle = math.sqrt(max(told.seconds_low, 1e-3) * max(told.seconds_high, 1e-3))
            theirs = tqdm_remaining(marks, curve.total_steps)
            width = (told.seconds_high - told.seconds_low) / actual
            rows[check].append((held[-1], width, abs(middle / actual - 1), abs(theirs / actual - 1)))
        if held:
            per_run.append(_share(held))
    print(
        f"\n{'steps done':12} {'covered':>8} {'width':>8} {'error':>8} {'tqdm’s error':>12}   medians, as shares of what was to come"
    )
    for check, row in rows.items():
        width, ours, theirs = (statistics.median(one[n] for one in row) for n in (1, 2, 3))
        print(f"{check:12.0%} {_share([one[0] for one in row]):>8.3f} {width:>8.2f} {ours:>8.3f} {theirs:>12.3f}")
    covered = statistics.fmean(per_run)
    error = 1.96 * statistics.stdev(per_run) / math.sqrt(len(per_run))
    every = [one for row in rows.values() for one in row]
    width, ours, theirs = (statistics.median(one[n] for one in every) for n in (1, 2, 3))
    print(f"{'all':12} {covered:>8.3f} {width:>8.2f} {ours:>8.3f} {theirs:>12.3f}   95 %: ± {error:.3f}; bar {COVERED}")
    return {
        "coverage": round(covered, 4),
        "coverage_95": round(error, 4),
        "width_median": round(width, 3),
        "error_median": round(ours, 4),
        "tqdm_error_median": round(theirs, 4),
    }


def _checks(curve: Curve) -> list[tuple[float, list[tuple[float, float]], float]]:
    """(share of the steps, what was known then, seconds that were to come)."""
    marks = _marks(curve)
    found = []
    for check in CHECKS:
        known = [mark for mark in marks if mark[1] <= check * curve.total_steps]
        if len(known) > 1:
            found.append((check, known, curve.end - known[-1][0]))
    return found


def _calibrate(curves: list[Curve]) -> None:
    """Print what LOW and HIGH must be for 80 %, each run with the same weight in a cell."""
    cells: list[list[tuple[float, float]]] = [[] for _ in range(len(forecasts.DONE) + 1)]
    for curve in curves:
        if curve.kind != "honest" or not curve.took:
            continue
        mine: list[list[float]] = [[] for _ in cells]
        for _, marks, actual in _checks(curve):
            found = estimate(marks, curve.total_steps)
            if found:
                cell = sum(found.done > bound for bound in forecasts.DONE)
                mine[cell].append(math.log(actual / found.seconds) / found.spread)
        for cell, scores in enumerate(mine):
            cells[cell] += [(score, 1 / len(scores)) for score in scores]
    for name, share in (("LOW", 0.1), ("HIGH", 0.9)):
        print(f"{name} = ({', '.join(f'{_quantile(cell, share):.2f}' for cell in cells)})")


def _quantile(weighted: list[tuple[float, float]], share: float) -> float:
    whole = sum(weight for _, weight in weighted)
    passed = 0.0
    for value, weight in sorted(weighted):
        passed += weight
        if passed >= share * whole:
            return value
    return math.nan


def _missed(figures: dict[str, Any]) -> list[str]:
    missed = [
        f"{kind} found {share:.3f}" for kind, share in figures["true_positives"].items() if share < TRUE_POSITIVES
    ]
    if figures["true_positives_overall"] < TRUE_POSITIVES:
        missed.append("true positives")
    if figures["false_alarms"] > FALSE_ALARMS:
        missed.append("false alarms")
    if not COVERED[0] <= figures["coverage"] <= COVERED[1]:
        missed.append("coverage")
    return missed


def _share(found: list[bool]) -> float:
    return sum(found) / len(found) if found else math.nan


def _wilson(hits: int, of: int) -> tuple[float, float]:
    """95 % interval of a share."""
    if not of:
        return 0.0, 1.0
    z, share = 1.96, hits / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def _curves(kept: Path | None, honest: int, each: int, *, first_seed: int) -> list[Curve]:
    if kept and kept.exists():
        curves: list[Curve] = pickle.loads(kept.read_bytes())  # of our own making, on this machine
        return curves
    jobs = list(wanted(honest, each, first_seed))
    with multiprocessing.get_context("spawn").Pool(2, initializer=warm_up) as pool:
        curves = pool.starmap(record, jobs, chunksize=4)
    if kept:
        kept.write_bytes(pickle.dumps(curves))
    return curves


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.jobs", description="Measure the watchdog and the forecast.")
    parser.add_argument("--quick", action="store_true", help="fewer runs; the bars are not judged by them")
    parser.add_argument("--times", type=int, default=1, help="so many times as many runs")
    parser.add_argument("--seeds", type=int, default=HELD_BACK, help=f"the first seed, from {HELD_BACK} on")
    parser.add_argument("--calibrate", action="store_true", help="print the forecast's constants from other runs")
    parser.add_argument("--curves", type=Path, help="a file to keep the recorded runs in, or to take them from")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
