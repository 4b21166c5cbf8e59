"""Stated rules that say when a training is going wrong, with the numbers. Pure: time comes in as data.

Nothing here stops a job: an Alarm is told, and what happens is the user's choice. Each rule fires once per episode: it
can fire again only after what it saw was over. `make bench-jobs` measures the rules on real trainings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, median
from typing import Literal

from agent.jobs.forecast import FEWEST, Forecast, Terms, forecast
from tools.jobs.metrics import Point, Readings

Rule = Literal["nan", "divergence", "no_progress", "hang", "overrun"]
RULES: tuple[Rule, ...] = ("nan", "divergence", "no_progress", "hang", "overrun")

# nan: a loss that is no number does not come back by itself. A gradient norm may overflow for a step or two while
# mixed precision finds its scale, so only a row of them counts; Trainer shows a loss of 0 beside such ones.
BAD_LOSSES = 1
BAD_NORMS = 4

# divergence: spikes of a few logged values recover; so the middle of WINDOW values is compared.
WINDOW = 5
BASIS = 3  # values whose middle is taken for where the loss began
RISE = 0.35  # above the beginning, as a share of the largest of |beginning|, what had been learned, and ...
NOISES = 4.0  # ... this many times the ordinary jump between values, which is about their standard deviation
EXTREME = 10.0  # times that share, and two values are enough
LOST = 0.9  # or this share of all that had been learned is gone, and it was clearly learned; LEARNED, where all of
# the window is EXTREME times the best: a rate too high for Adam falls from far above before it climbs without end
CLEAR = 8.0  # ordinary jumps that make a fall clear

# no progress: a slow start is honest (warm-up, parity-like tasks learn nothing for a third of their steps), and so is
# noise: it is told only when a fall of LEARNED, with what is still coming, is beyond CAUTION standard errors. Losses of
# small batches are so noisy that much caution is silence: on the curves for calibration 13 of 196 models that learned
# nothing were missed at 1.3 and 4 at 0.3, each with 1 of 618 honest runs told of; below 0 there are more of those.
PATIENCE_PART = 0.45  # of all steps
PATIENCE = 12  # values, at least; where the number of steps is unknown PATIENCE_ALONE
PATIENCE_ALONE = 120
LEARNED = 0.07  # share of the beginning; less is how often each answer comes, which any model learns first
CAUTION = 0.3
SIGNIFICANT = 2.3  # standard errors by which another measurement must have become better

# hang: silence against the rhythm so far. Pauses that were seen are no hang, unless they are SEEN times as long.
SILENCE = 300.0  # seconds without a line that are never a hang: evaluations, checkpoints and uploads are silent
STARTING = 1_200.0  # the same before the first step: images, packages and weights come first
SEEN = 5.0
RHYTHMS = 60.0  # usual gaps between lines
STUCK = 4.0  # times as long where there are lines and no step

# overrun: told when even the low end of the forecast passes the limit, LOOKS times in a row.
LOOKS = 4
SURE = 0.03  # probability to end in time
EARLIEST = 0.12  # of the steps

KEPT = 4_096  # values of a series that are kept; more are thinned to every second

_LOSS = re.compile(r"^(?:train(?:ing)?[/_])?(?:loss|total_loss|nll|nll_loss|lm_loss)$")
_REWARD = re.compile(r"(?:^|[/_])(?:rewards?|return|score)(?:$|[/_])")
_BETTER = re.compile(r"(?:^|[/_])(?:\w*acc|accuracy|f1|\w*auc|bleu|rouge\w*|m?iou)(?:$|[/_])")


@dataclass(frozen=True)
class Alarm:
    """words: one sentence with the numbers. step: where it was seen; None before the first."""

    rule: Rule
    words: str
    step: float | None = None


@dataclass
class _Series:
    """Values by step, in order."""

    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, step: float, value: float) -> None:
        self.steps.append(step)
        self.values.append(value)
        if len(self.values) > KEPT:
            self.steps, self.values = self.steps[::2], self.values[::2]


class LossWatch:
    """Watches one job. Feed it what the log holds as it comes (read) and, now and then, the time alone (tick).

    elapsed: seconds since the job began, by one clock; the times of the journal's entries serve, so that a watch can
    be built again from a journal. forecast: the newest, None before there is one.
    """

    def __init__(
        self,
        terms: Terms,
        *,
        total_steps: float | None = None,
        dry_run_steps_per_second: float | None = None,
        dry_run_start_seconds: float = 0.0,
    ) -> None:
        self.forecast: Forecast | None = None
        self._terms, self._total = terms, total_steps
        self._dry_run, self._dry_run_start = dry_run_steps_per_second, dry_run_start_seconds
        self._marks: list[tuple[float, float]] = []
        self._loss, self._better = _Series(), _Series()
        self._rewarded = False
        self._bad_norms = 0
        self._best = math.inf
        self._line_at = self._step_at = 0.0
        self._longest_line = self._longest_step = 0.0
        self._gaps: list[float] = []
        self._late = 0
        self._stuck = False  # a hang in which the log goes on
        self._firing: set[Rule] = set()

    @property
    def step(self) -> float | None:
        return self._marks[-1][1] if self._marks else None

    def read(self, elapsed: float, found: Readings) -> tuple[Alarm, ...]:
        """Some lines of the log, at the time they came; also when nothing was found in them."""
        self._heard(elapsed)
        alarms: list[Alarm] = []
        for point in found.points:
            self._move(elapsed, point.get("step"), point.get("total_steps"))
            alarms += self._measured(point)
        if found.progress and found.progress.unit == "step":
            self._move(elapsed, found.progress.step, found.progress.total)
        elif found.progress and self._total is None and found.progress.total:
            self._move(elapsed, found.progress.step, None)
        alarms += self._foresee(elapsed)
        return tuple(alarms)

    def tick(self, elapsed: float) -> tuple[Alarm, ...]:
        """Time has passed."""
        return (*self._silent(elapsed), *self._foresee(elapsed))

    def _measured(self, point: Point) -> list[Alarm]:
        if "train_runtime" in point:
            return []  # Trainer's summary: means over the whole run
        loss = next((name for name in point if _LOSS.match(name)), None)
        for name, value in point.items():
            self._rewarded = self._rewarded or bool(_REWARD.search(name))
            if value is not None and (_BETTER.search(name) or _REWARD.search(name)):
                self._better.add(self.step or 0.0, value)
        alarms = self._nan(point, loss)
        value = point.get(loss) if loss else None
        if value is not None and not self._bad_norms:
            self._loss.add(self.step if self.step is not None else float(len(self._loss.values)), value)
            alarms += self._divergence() + self._no_progress()
        return alarms

    def _nan(self, point: Point, loss: str | None) -> list[Alarm]:
        if "grad_norm" in point:
            self._bad_norms = self._bad_norms + 1 if point["grad_norm"] is None else 0
        bad_loss = loss is not None and point[loss] is None
        if bad_loss:
            words = f"{loss} is not a number{self._here()}; the last that was: {self._last()}."
        elif self._bad_norms >= BAD_NORMS:
            words = f"grad_norm has not been a number {self._bad_norms} times in a row{self._here()}."
        else:
            return self._when(False, "nan", "") if loss is not None and not self._bad_norms else []
        return self._when(True, "nan", words)

    def _divergence(self) -> list[Alarm]:
        values = self._loss.values
        if self._rewarded or len(values) < BASIS + 2:
            return []  # the loss of learning by reward rises as a matter of course
        now, began, lowest = median(values[-WINDOW:]), median(values[:BASIS]), min(values[:BASIS])
        self._best = min(self._best, now, began)  # a rate far too high is worst within the first WINDOW
        jump = _jump(values)
        learned = max(0.0, began - self._best)
        scale = max(abs(lowest), learned)
        risen = now - lowest > max(RISE * scale, NOISES * jump) and now > began
        far = min(values[-2:]) - began > EXTREME * max(scale, _jump(values[:-2]))  # an explosion is no ordinary jump
        gone, many = now - self._best, min(values[-WINDOW:]) > EXTREME * self._best > 0
        lost = learned > max(CLEAR * jump, 0.3 * abs(began)) and gone > (LEARNED if many else LOST) * learned
        steady = len(values) >= BASIS + WINDOW and min(values[-WINDOW:]) > self._best + 0.5 * (now - self._best)
        shown = min(values[-2:]) if far else now
        best = min(self._best, lowest)
        words = f"loss is {shown:.4g}{self._here()}; it began at {began:.4g} and had come down to {best:.4g}."
        return self._when(far or ((risen or lost) and steady), "divergence", words, over=now < began)

    def _no_progress(self) -> list[Alarm]:
        values, steps = self._loss.values, self._loss.steps
        if self._total:
            long = len(values) >= PATIENCE and steps[-1] >= PATIENCE_PART * self._total
        else:
            long = len(values) >= PATIENCE_ALONE
        if not long or self._rewarded or self._firing & {"divergence", "nan"}:
            return []
        tenth, third = max(BASIS, len(values) // 10), max(5, len(values) // 3)
        cap = max(values[:BASIS])  # to come down from a spike is no progress, and a late one undoes none
        early, late = ([min(cap, value) for value in part] for part in (values[:tenth], values[-third:]))
        fall, error = _fall(early, late)
        better = self._better.values
        half = len(better) // 2
        if half >= 2:
            gained, unsure = _fall([-one for one in better[:half]], [-one for one in better[half:]])
            if gained > SIGNIFICANT * unsure:
                return []
        if fall + self._coming(values, third / 2) + CAUTION * error >= LEARNED * abs(fmean(early)):
            return self._when(False, "no_progress", "")
        words = (
            f"loss has not come down{self._here()}: its first {tenth} values have a mean of {fmean(early):.4g},"
            f" its last {third} one of {fmean(late):.4g}."
        )
        return self._when(True, "no_progress", words)

    def _coming(self, values: Sequence[float], since: float) -> float:
        """How far the loss will have fallen by the end, from since values ago, if it goes on as in its later half.

        0 if that is noise.
        """
        quarter = max(2, len(values) // 4)
        fall, error = _fall(values[-2 * quarter : -quarter], values[-quarter:])
        if fall < SIGNIFICANT * error:
            return 0.0
        ahead = (self._total / self.step - 1) if self._total and self.step else 1.0
        return fall / quarter * (since + len(values) * max(0.0, ahead))

    def _silent(self, elapsed: float) -> list[Alarm]:
        started = len(self._marks) > 1
        floor = SILENCE if started else STARTING
        usual = median(self._gaps[-200:]) if self._gaps else 0.0
        limit = max(floor, SEEN * self._longest_line, RHYTHMS * usual)
        quiet, stuck = elapsed - self._line_at, elapsed - self._step_at
        words = f"no line for {quiet:.0f} s{self._here()}; the longest pause so far was {self._longest_line:.0f} s."
        alarms = self._when(quiet > limit, "hang", words, over=False)
        still = STUCK * max(floor, SEEN * self._longest_step)
        if started and stuck > still:
            self._stuck = True
            alarms += self._when(True, "hang", f"no step for {stuck:.0f} s{self._here()}, though the log goes on.")
        return alarms

    def _foresee(self, elapsed: float) -> list[Alarm]:
        if not self._total:
            return []
        begun = self._marks or [(elapsed, 0.0)]  # before the first step all of them are still to come
        starts_in = 0.0 if self._marks else max(0.0, self._dry_run_start - elapsed)
        pace = self._dry_run
        new = forecast(
            begun, self._total, self._terms, elapsed=elapsed, dry_run_steps_per_second=pace, starts_in=starts_in
        )
        if new is None:
            return []
        moved, self.forecast = self.forecast is None or new != self.forecast, new
        passes = new.passes_budget or (new.passes_timeout and new.finish_probability < SURE)
        early = len(self._marks) < FEWEST + 2 or (self.step or 0.0) < EARLIEST * self._total
        if not passes or early:
            self._late = 0
            return self._when(False, "overrun", "")
        self._late += moved
        return self._when(self._late >= LOOKS, "overrun", new.words[0].upper() + new.words[1:], over=False)

    def _heard(self, elapsed: float) -> None:
        gap = elapsed - self._line_at
        if len(self._marks) > 1 and gap > 0:
            self._longest_line = max(self._longest_line, gap)
            self._gaps.append(gap)
            if len(self._gaps) > KEPT:
                del self._gaps[: KEPT // 2]
        self._line_at = max(self._line_at, elapsed)
        if not self._stuck:
            self._firing.discard("hang")

    def _move(self, elapsed: float, step: float | None, total: float | None) -> None:
        self._total = total or self._total
        if step is None:
            return
        if self._marks and step < self._marks[-1][1]:
            self._marks.clear()  # it began again
        if not self._marks or step > self._marks[-1][1]:
            if len(self._marks) > 1:
                self._longest_step = max(self._longest_step, elapsed - self._step_at)
            self._step_at, self._stuck = elapsed, False
            self._marks.append((elapsed, step))
            if len(self._marks) > KEPT:
                self._marks = self._marks[::-1][::2][::-1]

    def _when(self, true: bool, rule: Rule, words: str, *, over: bool = True) -> list[Alarm]:
        """Fire at the beginning of an episode; over: whether not true ends one."""
        if not true:
            if over:
                self._firing.discard(rule)
            return []
        if rule in self._firing:
            return []
        self._firing.add(rule)
        return [Alarm(rule, words, self.step)]

    def _here(self) -> str:
        of = f" of {self._total:g}" if self._total else ""
        return "" if self.step is None else f" at step {self.step:g}{of}"

    def _last(self) -> str:
        return f"{self._loss.values[-1]:.4g}" if self._loss.values else "none"


def _jump(values: Sequence[float]) -> float:
    """The ordinary jump from one value to the next, over the last of them: noise without trend."""
    recent = values[-200:]
    return median(abs(b - a) for a, b in pairwise(recent)) if len(recent) > 1 else 0.0


def _fall(early: Sequence[float], late: Sequence[float]) -> tuple[float, float]:
    """By how much the later values lie below the early ones, and its standard error."""
    error = math.sqrt(_variance(early) / len(early) + _variance(late) / len(late))
    return fmean(early) - fmean(late), error


def _variance(values: Sequence[float]) -> float:
    middle = fmean(values)
    return sum((value - middle) ** 2 for value in values) / max(1, len(values) - 1)
