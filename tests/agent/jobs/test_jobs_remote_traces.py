"""Random troubles on the way from approval to settlement: no job twice, none forgotten, never over the budget."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from agent.events import MoneyReserved, MoneySettled
from agent.job_events import JobSubmitting
from tests.doubles.hub import FakeHub, Fault
from tests.doubles.jobs import BUDGET, Places, spend, until
from tools.problem import Problem

TRACES = 24
ANSWERS = ("good", "lost", "lost", "never arrived", "refused", "cut", "slow list")


def trouble(hub: FakeHub, chance: random.Random) -> str:
    """What happens to the next submit."""
    kind = chance.choice(ANSWERS)
    at = {"path": "/api/jobs/ada$", "method": "POST", "times": 1}
    hub.jobs.lists_after = 0.15 if kind == "slow list" else 0.0
    if kind in ("lost", "slow list"):
        hub.faults.append(Fault(status=chance.choice([500, 502, 504]), after=True, **at))  # type: ignore[arg-type]
    elif kind == "never arrived":
        hub.faults.append(Fault(status=500, **at))  # type: ignore[arg-type]
    elif kind == "refused":
        hub.faults.append(Fault(status=chance.choice([402, 403, 429]), **at))  # type: ignore[arg-type]
    elif kind == "cut":
        hub.faults.append(Fault(status=200, cut=True, after=chance.random() < 0.5, **at))  # type: ignore[arg-type]
    if chance.random() < 0.5:  # and the looking up is troubled too
        hub.faults.append(Fault("/api/jobs/ada$", method="GET", status=503, times=chance.randint(1, 3)))
    return kind


@pytest.mark.parametrize("seed", range(TRACES))
def test_no_job_twice_none_forgotten_never_over_the_budget(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with FakeHub() as hub:
        at = Places(hub, tmp_path, settles=0.4)
        for n in range(3):
            trouble(hub, chance)
            with contextlib.suppress(Problem):
                at.contract(spend(timeout_seconds=1200), f"c{n}").submit()
            if chance.random() < 0.5:  # killed: the journal ends somewhere at or after the submit
                asked = [entry.seq for entry in at.entries if isinstance(entry.event, JobSubmitting | MoneyReserved)]
                at = at.again(at.entries[: max(chance.randint(asked[-1] - 1, len(at.entries)), asked[-1])])
            assert at.books.ledger.free("compute") >= 0
        for job in list(hub.jobs.all.values()):
            job.say("on").end(ran=chance.choice([0, 59, 61, 1200, 5000]))
        hub.faults.clear()
        until(lambda: not at.jobs.open and at.books.ledger.compute.held == 0, "the end of all")
        labels = [job.body["labels"]["ml-intern"] for job in hub.jobs.all.values()]
        assert len(labels) == len(set(labels)), "a job was started twice"
        settled = {event.hold for event in at.events(MoneySettled)}
        assert set(labels) == settled, "a job was forgotten, or one was paid that never was"
        assert 0 <= at.books.ledger.free("compute") <= BUDGET
        at.jobs.close()
