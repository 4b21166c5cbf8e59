"""kill -9 at ten points between consent and settlement: started at most once, never forgotten, paid once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.events import MoneyReleased, MoneySettled
from agent.job_events import JobEnded, JobSubmitted
from agent.journal import Journal
from agent.money.ledger import folded
from tests import ROOT
from tests.doubles.hub import FakeHub, Fault
from tests.doubles.hub.jobs import Job
from tests.doubles.jobs import BUDGET

Moment = Callable[[FakeHub, str], bool]


def journaled(kind: str) -> Moment:
    return lambda hub, journal: f'"kind":"{kind}"' in journal


def _submitting(hub: FakeHub, _: str) -> bool:
    return any(asked.method == "POST" and asked.path == "/api/jobs/ada" for asked in hub.asked)


MOMENTS: dict[str, Moment] = {
    "the budget is set": journaled("budget_set"),
    "the money is reserved": journaled("money_reserved"),
    "about to submit": journaled("job_submitting"),
    "the request is on its way": _submitting,
    "the Hub has made the job": lambda hub, _: bool(hub.jobs.all),
    "the job is known": journaled("job_submitted"),
    "its log is being told": journaled("job_logged"),
    "it has ended on the Hub": lambda hub, _: any(job.over for job in hub.jobs.all.values()),
    "its end is known": journaled("job_ended"),
    "it is settled": journaled("money_settled"),
}


def plays(job: Job) -> None:
    """Half a second of work, on the server's own time."""

    def work() -> None:
        for step in range(1, 6):
            time.sleep(0.1)
            job.say(f"{{'loss': 1.0, 'step': {step}}}")
        job.end(ran=90.0)

    threading.Thread(target=work, daemon=True).start()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_at_any_point_neither_starts_twice_nor_forgets_nor_pays_wrongly(tmp_path: Path, moment: str) -> None:
    with FakeHub() as hub:
        hub.jobs.plays = plays
        if moment == "the request is on its way":
            hub.faults.append(Fault("/api/jobs/ada$", method="POST", delay=0.3, times=1))
        first = process(tmp_path, hub, "start")
        kill_at(first, lambda: MOMENTS[moment](hub, written(tmp_path)))
        second = process(tmp_path, hub, "resume")
        told, _ = second.communicate(timeout=60)
        assert told.strip() == "settled"
        entries = list(Journal(tmp_path / "journal.jsonl").entries())
        events = [entry.event for entry in entries]
        made = list(hub.jobs.all.values())
        assert len(made) <= 1, "submitted twice"
        assert len([event for event in events if isinstance(event, JobSubmitted)]) == len(made), "forgotten"
        assert len([event for event in events if isinstance(event, JobEnded)]) == len(made)
        settled = [event.micro_usd for event in events if isinstance(event, MoneySettled)]
        released = [event for event in events if isinstance(event, MoneyReleased)]
        if made:
            assert settled == [2 * 13_333]  # a minute and a half, billed as two
        else:
            assert settled == []
            assert len(released) == ('"kind":"money_reserved"' in written(tmp_path))
        ledger = folded(entries)
        assert ledger.compute.held == 0
        assert ledger.compute.spent <= BUDGET


def process(folder: Path, hub: FakeHub, what: str) -> subprocess.Popen[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "tests.agent.killable", str(folder), hub.url, what]
    return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)


def kill_at(running: subprocess.Popen[str], when: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not when():
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.001)
    running.kill()
    running.wait()
    assert running.stdout is not None
    running.stdout.close()


def written(folder: Path) -> str:
    path = folder / "journal.jsonl"
    return path.read_text("utf-8") if path.exists() else ""
