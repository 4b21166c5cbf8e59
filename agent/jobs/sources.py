"""What a job tells twice, on its log and to Trackio, counts once: the source that told it first is the one that counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from agent.job_events import JobAlerted
from tools.jobs.metrics import Alert, Point

Source = Literal["log", "trackio"]

ALERTS = 100  # that are told of one job; a script may raise one in every step
KEPT = 20_000  # tracked points that are kept to be asked for; more are thinned to every second
LONGEST = 500  # characters of an alert
POSITIONS = frozenset({"step", "epoch", "total_steps"})


class Sources:
    """Of one job. Built again from its JobAlerted, JobMeasured and log, in their order."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._from: dict[str, Source] = {}  # measurement, or "step" -> who tells it
        self.alerts: list[JobAlerted] = []  # in order
        self.measured: list[Point] = []  # by Trackio alone

    def points(self, source: Source, points: Iterable[Point]) -> tuple[Point, ...]:
        """What of these was not told by the other source; a point that has nothing left is left out."""
        found: list[Point] = []
        for point in points:
            if not (measures := [name for name in point if name not in POSITIONS]):
                found.append(point)
                continue
            ours = {name for name in measures if self._from.setdefault(_same(name), source) == source}
            if ours:
                found.append({name: value for name, value in point.items() if name in ours or name in POSITIONS})
        if source == "trackio":
            self.keep(found)
        return tuple(found)

    def leads(self, source: Source, points: Sequence[Point], moved: bool) -> bool:
        """Whether this source says where the job is. The other lags behind, and would seem to begin again and again."""
        if moved or any("step" in point for point in points):
            self._from.setdefault("step", source)
        return self._from.get("step", source) == source

    def printed(self, points: Iterable[Point]) -> tuple[Point, ...]:
        """All that the log measured and Trackio did not tell, then all that it did."""
        kept = [
            {name: value for name, value in point.items() if self._from.get(_same(name)) != "trackio"}
            for point in points
        ]
        return (*(point for point in kept if not point.keys() <= POSITIONS), *self.measured)

    def raised(self, source: Source, alerts: Iterable[Alert]) -> list[JobAlerted]:
        """The alerts that are new."""
        new: list[JobAlerted] = []
        for alert in alerts:
            told = JobAlerted(
                job=self._job, level=alert.level, text=alert.text[:LONGEST], step=alert.step, source=source
            )
            if len(self.alerts) > ALERTS or any(_is_same(told, known) for known in self.alerts):
                continue
            if len(self.alerts) == ALERTS:
                more = f"It raised more than {ALERTS} alerts; the others are on its log or dashboard only."
                told = told.model_copy(update={"level": "warn", "text": more})
            new.append(told)
            self.alerts.append(told)
        return new

    def keep(self, points: Iterable[Point]) -> None:
        """Tracked points that are told; also those of a journal."""
        for point in points:
            for name in point:
                if name not in POSITIONS:
                    self._from.setdefault(_same(name), "trackio")
            self.measured.append(point)
        while len(self.measured) > KEPT:
            self.measured = self.measured[::2]


def _same(name: str) -> str:
    """loss and train/loss, eval_loss and eval/loss: what Trainer prints, and how its callback tracks it."""
    return name.replace("/", "_").removeprefix("train_")


def _is_same(one: JobAlerted, other: JobAlerted) -> bool:
    """A log holds the first line of an alert only, and then not its step."""
    here, there = (text.partition("\n")[0].split() for text in (one.text, other.text))
    steps = one.step == other.step or None in (one.step, other.step)
    return one.level == other.level and here == there and steps
