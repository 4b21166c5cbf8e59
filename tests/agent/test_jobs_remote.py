"""A session's jobs on Hugging Face, over the real client: money, following, and what goes wrong on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.events import JobEnded, JobLogged, JobSubmitted, MoneyReserved, MoneySettled
from tests.doubles.hub import FakeHub
from tests.doubles.jobs import BUDGET, Places, spend


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        yield fake


@pytest.fixture
def at(hub: FakeHub, tmp_path: Path) -> Iterator[Places]:
    places = Places(hub, tmp_path)
    yield places
    places.jobs.close()


def told(at: Places) -> str:
    return "".join(event.text for event in at.events(JobLogged))


def test_a_job_is_held_for_run_followed_and_settled_by_the_hubs_own_times(hub: FakeHub, at: Places) -> None:
    contract = at.contract(spend(timeout_seconds=3600))
    job = contract.submit()
    (there,) = hub.jobs.all.values()
    assert job == f"ada/{there.id}"
    assert there.script == "print('hello')"
    assert (there.body["timeoutSeconds"], there.body["flavor"]) == (3600, "l4x1")
    assert there.body["labels"]["ml-intern"] == "s1-c1"
    assert "secrets" not in there.body
    assert at.books.ledger.compute.held == 799_980
    there.run().say("{'loss': 0.5, 'step': 10}", "{'loss': 0.4, 'step': 20}").end(ran=600)
    end = contract.wait()
    assert (end.status, end.seconds, end.exit_code) == ("completed", 600, 0)
    assert end.log == "{'loss': 0.5, 'step': 10}\n{'loss': 0.4, 'step': 20}\n"
    assert [point["loss"] for event in at.events(JobLogged) for point in event.points] == [0.5, 0.4]
    (settled,) = at.events(MoneySettled)
    assert settled.micro_usd == 133_330  # ten minutes
    assert at.books.ledger.free("compute") == BUDGET - 133_330
    assert [event.micro_usd for event in at.events(MoneyReserved)] == [799_980]
    assert at.events(JobSubmitted)[0].url == f"{hub.url}/jobs/ada/{there.id}"
    assert len(at.events(JobEnded)) == 1
