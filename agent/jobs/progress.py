"""What a job says of its course, on its log and to Trackio: measurements, alerts, a forecast now and then, alarms once."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace

from agent.events import Entry, Event
from agent.job_events import JobAlarm, JobAlerted, JobForecast, JobLogged, JobMeasured, JobSubmitted
from agent.jobs.forecast import Terms
from agent.jobs.sources import POSITIONS, Source, Sources
from agent.jobs.watchdog import Alarm, LossWatch
from tools.cards import Spend
from tools.jobs.metrics import Alert, MetricReader, Point, Readings
from tools.jobs.noise import marked

FORECAST_SECONDS = 10.0  # between two forecasts that are told
TICK_SECONDS = 5.0  # between two looks at a job that says nothing
MOVED = 0.05  # share by which a forecast has to change to be told again
LONGEST_LINE = 100_000  # characters of a line that is still coming in


class JobWatch:
    """One job's reader and watchdog, for any thread. elapsed: seconds since the job began."""

    def __init__(self, job: str, request: Spend) -> None:
        self._job = job
        self._reader = MetricReader()
        self._watch = _watch(request)
        self._rest = ""  # of a line that is still coming in
        self._ticked = self._told_at = 0.0
        self._told: JobForecast | None = None
        self._lock = threading.RLock()
        self.sources = Sources(job)

    def read(self, text: str, elapsed: float, *, offset: int = 0, last: bool = False) -> list[Event]:
        """A piece of the log, up to this offset: itself with what is in it, then what is to be told. last: no more is coming."""
        with self._lock:
            found, noise = self._read(text, last)
            told = self.sources.raised("log", found.alerts)
            points, events = self._take("log", found, elapsed)
            logged = JobLogged(job=self._job, offset=offset, text=text, points=points, noise=noise)
            return [*([logged] if text or points else []), *told, *events]

    def tracked(
        self, points: Sequence[Point], alerts: Iterable[Alert], elapsed: float
    ) -> tuple[tuple[Point, ...], list[Event]]:
        """What the job told Trackio: what of it is new, and what is to be told."""
        with self._lock:
            told = self.sources.raised("trackio", alerts)
            if not points:
                return (), [*told]
            new, events = self._take("trackio", Readings(tuple(points)), elapsed)
            return new, [*told, *events]

    def _read(self, text: str, last: bool) -> tuple[Readings, tuple[tuple[int, int, str], ...]]:
        whole, end, rest = (self._rest + text).rpartition("\n")
        lines = whole + end
        if last or len(rest) > LONGEST_LINE:
            lines, rest = lines + rest, ""
        self._rest = rest
        return self._reader.read(lines), marked(whole) if end else ()

    def _take(self, source: Source, found: Readings, elapsed: float) -> tuple[tuple[Point, ...], list[Event]]:
        points = seen = self.sources.points(source, found.points)
        progress = found.progress
        if not self.sources.leads(source, points, moved=progress is not None and progress.unit == "step"):
            seen = tuple({name: value for name, value in point.items() if name not in POSITIONS} for point in points)
            progress = None
        alarms = self._watch.read(elapsed, replace(found, points=seen, progress=progress))
        return points, self._events(alarms, elapsed)

    def tick(self, elapsed: float) -> list[Event]:
        """Time has passed: what is to be told."""
        with self._lock:
            if elapsed - self._ticked < TICK_SECONDS:
                return []
            self._ticked = elapsed
            return self._events(self._watch.tick(elapsed), elapsed)

    def replay(self, entries: Sequence[Entry]) -> list[JobAlerted]:
        """Catch up with what a journal already holds; nothing is told of it again. Returns alerts that were not told."""
        began: float | None = None
        lost: list[Alert] = []
        for entry in entries:
            match entry.event:
                case JobSubmitted(job=self._job):
                    began = entry.at
                case JobLogged(job=self._job, text=text) if began is not None:
                    found, _ = self._read(text, last=False)
                    self._take("log", found, entry.at - began)
                    lost += found.alerts  # those that were told are known by their own entries
                case JobMeasured(job=self._job, points=points) if began is not None:
                    self._take("trackio", Readings(points), entry.at - began)
                case JobAlerted(job=self._job) as alerted:
                    self.sources.alerts.append(alerted)
                case JobForecast(job=self._job) as told if began is not None:
                    self._told, self._told_at = told, entry.at - began
                case _:
                    pass
        return self.sources.raised("log", lost)

    def _events(self, alarms: Iterable[Alarm], elapsed: float) -> list[Event]:
        events: list[Event] = [
            JobAlarm(job=self._job, rule=alarm.rule, text=alarm.words, step=alarm.step) for alarm in alarms
        ]
        if (told := self._forecast(elapsed)) is not None:
            events.append(told)
        return events

    def _forecast(self, elapsed: float) -> JobForecast | None:
        new = self._watch.forecast
        if new is None or (self._told and elapsed - self._told_at < FORECAST_SECONDS):
            return None
        told = JobForecast(
            job=self._job,
            seconds_low=round(new.elapsed + new.seconds_low, 1),
            seconds_high=round(new.elapsed + new.seconds_high, 1),
            micro_usd_low=new.micro_usd_low,
            micro_usd_high=new.micro_usd_high,
            words=new.words,
        )
        old = self._told
        if old and all(
            abs(mine - theirs) <= MOVED * max(1.0, theirs)
            for mine, theirs in ((told.seconds_low, old.seconds_low), (told.seconds_high, old.seconds_high))
        ):
            return None
        self._told, self._told_at = told, elapsed
        return told


def _watch(request: Spend) -> LossWatch:
    """With what a dry run on the same machines has said. Of a schedule it said it of each run, and only all are watched."""
    terms = Terms(request.price_micro_usd_per_hour, request.timeout_seconds, machines=request.nodes)
    dry_run = request.foreseen
    if request.schedule:
        return LossWatch(terms)
    if dry_run is None or dry_run.seconds_low is None:
        return LossWatch(terms, total_steps=request.steps or None)
    return LossWatch(
        terms,
        total_steps=request.steps,
        dry_run_steps_per_second=dry_run.steps_per_second,
        dry_run_start_seconds=dry_run.start_seconds,
    )
