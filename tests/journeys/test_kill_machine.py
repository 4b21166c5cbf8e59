"""kill -9 between the card of a machine for generated code and its end: another process finds it and ends it, and it is paid once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.events import ApprovalAnswered, Event, MoneyReleased, MoneyReserved, MoneySettled
from agent.job_events import JobEnded, JobSubmitted
from agent.session import Session
from agent.sessions import Sessions
from agent.settings import Settings
from tests import ROOT
from tests.agent.living import code, events
from tests.doubles.hub import FakeHub
from tests.doubles.hub.jobs import Job
from tests.doubles.jobs import until
from tests.doubles.model_server import ModelServer, by_turn
from tests.journeys.killed_at import MACHINE_POINTS
from tools.jobs.prices import PORT_MICRO_USD_PER_HOUR

pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]

SESSION = "killed"
MINUTE = -(-(10_020 + PORT_MICRO_USD_PER_HOUR) // 60)
AT = {point: at for at, point in enumerate(MACHINE_POINTS)}
HELD, TAKEN, ENDED = AT["its money is held"], AT["the Hub has taken it"], AT["it is about to be cancelled"]


def plays(job: Job) -> None:
    """It has run for some seconds, and so costs money."""
    job.run().started = job.created - 5


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        fake.jobs.plays = plays
        fake.sandboxes.boots = 1e9  # it costs money from its start on, whether or not it ever answers
        yield fake


def killed(data: Path, hub: FakeHub, point: str) -> None:
    """A run whose code needs a machine, killed at the point. Points of its end are reached by Stop."""
    with ModelServer(by_turn([code("x = 1")])) as server:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.journeys.killed_at", point, "Go", "--json", "--session", SESSION),
                *("--approve", "within-budget", "--budget", "1"),
            ],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(data),
                "DATA_DIR": str(data),
                "MODEL_BASE_URL": server.base_url,
                "SANDBOX": "remote",
                "HF_TOKEN": "hf_ada",
                "HF_HUB_DISABLE_XET": "1",
                **hub.environ(),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if AT[point] >= ENDED:
            (job,) = hub.jobs.wait_for(seconds=60.0)
            until(lambda: job.started, "its start")
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL, f"{point!r} was never reached: {said[-2000:]}"


@contextmanager
def another(data: Path, hub: FakeHub) -> Iterator[Sessions]:
    """The next process, of the same user."""
    sessions = Sessions(Settings(data_dir=data, hf_token="hf_ada", places=hub.places()))
    try:
        sessions.recover()
        yield sessions
    finally:
        sessions.close()


def count(session: Session, *kinds: type[Event]) -> int:
    return sum(len(events(session, kind)) for kind in kinds)


def still_running(hub: FakeHub) -> list[str]:
    return [job.id for job in hub.jobs.all.values() if not job.over]


@pytest.mark.parametrize("point", MACHINE_POINTS)
def test_a_machine_outlives_no_kill_and_is_paid_once_for_what_it_ran(point: str, hub: FakeHub, tmp_path: Path) -> None:
    killed(tmp_path, hub, point)
    assert len(hub.jobs.all) == (AT[point] >= TAKEN)
    with another(tmp_path, hub) as sessions:
        session = sessions.open(SESSION, "local")
        if point != "it is about to be submitted":  # whether it was is sure a minute later, and another test's matter
            until(lambda: count(session, MoneyReserved) == count(session, MoneySettled, MoneyReleased), "its money")
    with another(tmp_path, hub) as sessions:
        session = sessions.open(SESSION, "local")
        time.sleep(0.3)
        assert count(session, ApprovalAnswered) == 1
        assert count(session, MoneyReserved) == (AT[point] >= HELD)
        assert count(session, MoneyReleased) == (AT[point] == HELD)
        assert [one.micro_usd for one in events(session, MoneySettled)] == [MINUTE] * (AT[point] >= TAKEN)
        assert count(session, JobSubmitted) == count(session, JobEnded) == len(hub.jobs.all)
    assert still_running(hub) == []


@pytest.mark.parametrize("point", ["the Hub has taken it", "it runs"])
def test_the_sweep_ends_it_where_its_session_cannot_be_opened(point: str, hub: FakeHub, tmp_path: Path) -> None:
    killed(tmp_path, hub, point)
    journal = tmp_path / "sessions" / f"{SESSION}.jsonl"
    journal.write_text(journal.read_text().replace('{"seq":2,', '{"seq":22,'))
    with another(tmp_path, hub) as sessions:
        time.sleep(0.3)
        assert still_running(hub)  # a sandbox may just be starting: the sweep waits some minutes, by the Hub's clock
        hub.jobs.skew = 600
        sessions.lend_token("local", "hf_ada")
        until(lambda: not still_running(hub), "its end")
