"""What one would do without a watchdog: simple rules, and Lightning's EarlyStopping on the training loss. And tqdm's clock."""

from __future__ import annotations

from itertools import pairwise

from tools.jobs.metrics import MetricReader

SILENCE = 600.0  # seconds without a line
SMOOTHING = 0.3  # tqdm's default
PATIENCE = 10  # values; in favour of Lightning's EarlyStopping, whose default is 3


class NaiveWatch:
    """The loss is not a number, or twice the first; no line for ten minutes; elapsed / done passes the timeout."""

    def __init__(self, timeout: float, total: float | None) -> None:
        self._timeout, self._total = timeout, total
        self._reader = MetricReader()
        self._first: float | None = None
        self._line_at = self._step = 0.0
        self._fired: set[str] = set()

    def line(self, at: float, text: str) -> list[tuple[str, float]]:
        self._line_at = at
        alarms = []
        for point in self._reader.read(text).points:
            self._step = point.get("step") or self._step
            loss = point.get("loss", 0.0)
            if "loss" in point and loss is None:
                alarms.append("nan")
            elif "loss" in point and loss is not None:
                self._first = loss if self._first is None else self._first
                if loss > 2 * self._first:
                    alarms.append("divergence")
        if self._total and self._step and at / self._step * self._total > self._timeout:
            alarms.append("overrun")
        return self._new(alarms)

    def tick(self, at: float) -> list[tuple[str, float]]:
        return self._new(["hang"] if at - self._line_at > SILENCE else [])

    def _new(self, alarms: list[str]) -> list[tuple[str, float]]:
        new = [one for one in alarms if one not in self._fired]
        self._fired.update(alarms)
        return [(rule, self._step) for rule in new]


class EarlyStopping:
    """What Lightning's does with monitor="loss", min_delta=0 and check_finite=True: no number, or no new best for long."""

    def __init__(self, timeout: float, total: float | None) -> None:
        self._reader = MetricReader()
        self._best: float | None = None
        self._waited = 0
        self._stopped = False

    def line(self, at: float, text: str) -> list[tuple[str, float]]:
        alarms = []
        for point in self._reader.read(text).points:
            if "loss" not in point:
                continue
            value = point["loss"]
            if value is None:
                alarms.append(("nan", point.get("step") or 0.0))
            elif self._best is None or value < self._best:
                self._best, self._waited = value, 0
            else:
                self._waited += 1
                if self._waited >= PATIENCE:
                    alarms.append(("no_progress", point.get("step") or 0.0))
        if self._stopped or not alarms:
            return []
        self._stopped = True
        return alarms[:1]

    def tick(self, at: float) -> list[tuple[str, float]]:
        return []


def tqdm_remaining(marks: list[tuple[float, float]], total: float) -> float:
    """Seconds to go as tqdm's bar tells them: steps left over an exponentially smoothed rate."""
    steps = seconds = weight = 0.0
    for (before, first), (after, second) in pairwise(marks):
        steps = SMOOTHING * (second - first) + (1 - SMOOTHING) * steps
        seconds = SMOOTHING * (after - before) + (1 - SMOOTHING) * seconds
        weight = SMOOTHING + (1 - SMOOTHING) * weight
    return (total - marks[-1][1]) * seconds / steps if steps and weight else 0.0
