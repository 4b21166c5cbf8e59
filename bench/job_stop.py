"""How long Stop takes to end a job and settle its money: on the fake Hub, at the app's own pace, and on this machine."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agent.events import ApprovalAsked, MoneySettled
from agent.job_events import JobLogged
from agent.session import Session
from tests.agent.living import code, ended, events, living, wait_for
from tests.doubles.hub import FakeHub
from tools.cards import Answer

RUNS = 10
BAR = 2.0  # seconds
BUDGET = 100_000_000  # micro-dollars
REMOTE = code("job_run('print(1)', flavor='l4x1')")
HERE = code("job_run('import time; print(1, flush=True); time.sleep(600)', where='here')")


def measure(runs: int = RUNS) -> dict[str, list[float]]:
    """Seconds until the money is settled: from the Hub's answer to the cancel, and on this machine from the button."""
    return {
        "Hugging Face, ends at once": _remote(0.0, runs),
        "Hugging Face, ends 0.5 s later": _remote(0.5, runs),
        "… and its log stays open": _remote(0.5, runs, log_ends=False),
        "this machine, from the button": _here(runs),
    }


def report(found: dict[str, list[float]]) -> dict[str, Any]:
    """Print a table; returns the same figures."""
    print(f"\n{'Stop, to settled':32} {'runs':>5} {'p50':>7} {'p95':>7} {'max':>7}   seconds; bar ≤ {BAR:g}")
    figures = {}
    for name, seconds in found.items():
        told = {"p50": statistics.median(seconds), "p95": _quantile(seconds, 0.95), "max": max(seconds)}
        print(f"{name:32} {len(seconds):>5} " + " ".join(f"{one:>7.2f}" for one in told.values()))
        figures[name] = {at: round(one, 3) for at, one in told.items()}
    return figures


def missed(figures: dict[str, Any]) -> list[str]:
    return [f"Stop, {name}" for name, told in figures.items() if told["max"] > BAR]


def _remote(cancel_takes: float, runs: int, log_ends: bool = True) -> list[float]:
    with FakeHub() as hub:
        hub.jobs.plays = lambda job: job.say("step 1")
        hub.jobs.cancels_take, hub.jobs.cancels_end_log = cancel_takes, log_ends

        def answered() -> float:
            return [asked.at for asked in hub.asked if asked.path.endswith("/cancel")][-1]

        return _stopped(REMOTE, runs, answered, hf_token="hf_ada", places=hub.places(), budget_micro_usd=BUDGET)


def _here(runs: int) -> list[float]:
    return _stopped(HERE, runs, None)


def _stopped(step: Any, runs: int, since: Callable[[], float] | None, **settings: Any) -> list[float]:
    """since: the moment from which it counts, by time.monotonic(); the button's if None."""
    dice = random.Random(20261127)  # where between two looks at the job Stop falls
    with (
        TemporaryDirectory(prefix="ml-intern-bench-") as folder,
        living(Path(folder), [step] * runs, **settings) as (
            session,
            _,
        ),
    ):
        return [_once(session, dice.uniform(0, 2), since) for _ in range(runs)]


def _once(session: Session, waited: float, since: Callable[[], float] | None) -> float:
    before = [len(events(session, kind)) for kind in (ApprovalAsked, JobLogged, MoneySettled)]
    run = session.send("Go")
    asked = _next(session, ApprovalAsked, before[0])
    session.answer(asked.approval, Answer(verdict="yes"))
    _next(session, JobLogged, before[1])
    time.sleep(waited)
    pressed = time.monotonic()
    session.stop()
    _next(session, MoneySettled, before[2])
    settled = time.monotonic()
    ended(session, run)
    return settled - (since() if since else pressed)


def _next(session: Session, kind: Any, already: int) -> Any:
    left = [already]

    def counted(_: Any) -> bool:
        left[0] -= 1
        return left[0] < 0

    return wait_for(session, kind, counted)


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, round(share * (len(values) - 1)))]


if __name__ == "__main__":
    report(measure())
