"""Some sessions of one app at the same time, measured: how late the tokens come, and what they cost."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from bench.listener import Listener
from bench.model import Model
from bench.process import App, CpuRecord
from bench.task import Task

ENDS = 5  # steps at either end of a run that are compared


class Session(Protocol):
    async def open(self) -> None: ...

    async def run(self, task: Task) -> tuple[float, Listener]: ...


@dataclass(frozen=True)
class Figures:
    """Of all sessions together, or per run where it says so. growth: the last steps of a run over its first ones."""

    sessions: int
    steps: int
    tokens: int  # in all
    ideal_seconds: float
    wall_seconds: float  # of the slowest run, from its message to its end
    first_token_seconds: float  # of the run that waited longest
    p50_ms: float
    p95_ms: float
    lost_tokens: int
    pause_p50_ms: float  # from a step's last token to the next one's first, at the model
    pause_p95_ms: float
    model_seconds_per_step: (
        float  # how long the model really spoke; more than ideal when the machine is too busy for it
    )
    cpu_seconds_per_run: float
    cpu_ms_per_token: float
    wire_kb_per_run: float
    plain_kb_per_run: float
    events_per_run: float
    app_mb: tuple[float, float]  # resident before and after
    children_mb: tuple[float, float]
    first_p50_ms: float
    last_p50_ms: float
    first_cpu_seconds: float
    last_cpu_seconds: float

    @property
    def latency_growth(self) -> float:
        return self.last_p50_ms / self.first_p50_ms

    @property
    def cpu_growth(self) -> float:
        return self.last_cpu_seconds / self.first_cpu_seconds


@dataclass(frozen=True)
class _Heard:
    """One run as its client had it, and when its model spoke."""

    task: Task
    asked: float
    ended: float
    listener: Listener
    sent: list[list[float]]

    def late_ms(self, steps: range) -> list[float]:
        """How long after it was sent each token of these steps arrived; lost ones are left out."""
        words = range(self.task.tokens - 3)
        return [
            (arrived - self.sent[step][word]) * 1000
            for step in steps
            for word in words
            if (arrived := self.listener.arrived.get(step * self.task.tokens + word)) is not None
        ]

    def pauses_ms(self) -> list[float]:
        """How long the model waited between two steps, while code ran and the next request was made."""
        return [(after[0] - before[-1]) * 1000 for before, after in pairwise(self.sent)]


def measure(
    app: App, model: Model, session: Callable[[], Session], *, tasks: Sequence[Task], spread: float = 0.0
) -> Figures:
    """Run each task in a session of its own, all at once, or each one `spread` seconds after the one before."""
    before = app.resident_mb()
    with CpuRecord(app) as cpu:
        heard = asyncio.run(_hear(model, [session() for _ in tasks], tasks, spread=spread))
    return _figures(heard, cpu, before, after=app.resident_mb())


async def _hear(model: Model, sessions: Sequence[Session], tasks: Sequence[Task], *, spread: float) -> list[_Heard]:
    await asyncio.gather(*(session.open() for session in sessions))

    async def one(n: int, session: Session, task: Task) -> tuple[Task, float, float, Listener]:
        await asyncio.sleep(n * spread)
        asked, listener = await session.run(task)
        return task, asked, time.monotonic(), listener

    pairs = zip(sessions, tasks, strict=True)
    runs = await asyncio.gather(*(one(n, *pair) for n, pair in enumerate(pairs)))
    heard = [_Heard(*run, model.sent(run[0])) for run in runs]
    for run in heard:
        if len(run.sent) != run.task.steps or not run.listener.arrived:
            raise RuntimeError(
                f"Run {run.task.label} asked the model {len(run.sent)} times instead of {run.task.steps}, "
                f"and {len(run.listener.arrived)} tokens of it came."
            )
    return heard


def _figures(
    heard: list[_Heard], cpu: CpuRecord, before: tuple[float, float], *, after: tuple[float, float]
) -> Figures:
    runs, task = len(heard), heard[0].task
    ends = min(ENDS, task.steps // 2)
    first, last = range(ends), range(task.steps - ends, task.steps)
    late = [ms for run in heard for ms in run.late_ms(range(task.steps))]
    tokens = sum(run.task.steps * run.task.tokens for run in heard)
    pauses = [ms for run in heard for ms in run.pauses_ms()]
    spoken = [step[-1] - step[0] for run in heard for step in run.sent]
    sent = heard[0].sent
    return Figures(
        sessions=runs,
        steps=task.steps,
        tokens=tokens,
        ideal_seconds=task.ideal_seconds,
        wall_seconds=max(run.ended - run.asked for run in heard),
        first_token_seconds=max(min(run.listener.arrived.values()) - run.asked for run in heard),
        p50_ms=percentile(late, 0.5),
        p95_ms=percentile(late, 0.95),
        lost_tokens=sum(run.task.words for run in heard) - len(late),
        pause_p50_ms=percentile(pauses, 0.5),
        pause_p95_ms=percentile(pauses, 0.95),
        model_seconds_per_step=sum(spoken) / len(spoken),
        cpu_seconds_per_run=cpu.total / runs,
        cpu_ms_per_token=cpu.total / tokens * 1000,
        wire_kb_per_run=sum(run.listener.wire for run in heard) / runs / 1000,
        plain_kb_per_run=sum(run.listener.plain for run in heard) / runs / 1000,
        events_per_run=sum(run.listener.events for run in heard) / runs,
        app_mb=(before[0], after[0]),
        children_mb=(before[1], after[1]),
        first_p50_ms=percentile([ms for run in heard for ms in run.late_ms(first)], 0.5),
        last_p50_ms=percentile([ms for run in heard for ms in run.late_ms(last)], 0.5),
        first_cpu_seconds=cpu.between(sent[0][0], sent[ends - 1][-1]),
        last_cpu_seconds=cpu.between(sent[-ends][0], sent[-1][-1]),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]
