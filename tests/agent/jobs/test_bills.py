"""What a job on Hugging Face was billed: asked for late, believed when it is whole, and no trouble to anybody."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.events import Event, MoneySettled, Noticed
from agent.job_events import JobBilled, JobEnded, JobLogged
from agent.money.ledger import Ledger, folded
from tests.doubles.desk import desk
from tests.doubles.hub import FakeHub, Fault, Job
from tests.doubles.jobs import BUDGET, Places, spend, until
from tools.jobs import job_status
from tools.jobs.sandbox import sandbox_run

SOON = (0.05,) * 200
NEVER = 1e6  # seconds that a bill is late
BILL = "/api/settings/billing/usage/jobs"
MINUTE = 13_333  # micro-dollars of the fake Hub's L4


@pytest.fixture
def at(hub: FakeHub, tmp_path: Path) -> Iterator[Places]:
    places = Places(hub, tmp_path, bill_pauses=SOON)
    yield places
    places.jobs.close()


def ran(hub: FakeHub, at: Places, call: str = "c1", *, seconds: float = 600, **more: Any) -> tuple[str, Job]:
    """A job that has ended and is settled."""
    contract = at.contract(spend(**more), call)
    job = contract.submit()
    there = list(hub.jobs.all.values())[-1]
    there.run().end(ran=seconds)
    contract.wait()
    return job, there


def restarted(hub: FakeHub, folder: Path, token: str) -> Places:
    """After a job that was settled and before its bill was asked for; from then on with this token."""
    first = Places(hub, folder, bill_pauses=(60.0,))
    ran(hub, first)
    first.token, first.bill_pauses = token, SOON
    return first.again()


def asked(hub: FakeHub) -> int:
    return sum(one.path == BILL for one in list(hub.asked))


def spent(at: Places) -> int:
    return at.books.ledger.compute.spent


# --- a bill that comes ----------------------------------------------------------------------------


def test_a_job_is_settled_at_once_and_its_bill_counts_when_it_comes(hub: FakeHub, at: Places) -> None:
    hub.jobs.bill.lags = NEVER
    job, there = ran(hub, at)
    hub.jobs.bill.prices[there.id] = 120_000.4
    assert at.events(MoneySettled)[0].micro_usd == 10 * MINUTE
    assert spent(at) == 10 * MINUTE
    assert job_status(desk(jobs=at.jobs), job)["billed_usd"] is None
    hub.jobs.bill.lags = 0.0
    billed = at.wait_for(JobBilled)
    assert (billed.job, billed.label, billed.micro_usd, billed.minutes) == (job, "s1-c1", 120_001, 10)
    assert at.books.ledger.free("compute") == BUDGET - 120_001
    told = job_status(desk(jobs=at.jobs), job)
    assert (told["cost_usd"], told["billed_usd"]) == (0.13333, 0.120001)
    assert not at.events(Noticed)


def test_machines_are_billed_together_and_only_when_all_are_known(hub: FakeHub, at: Places) -> None:
    contract = at.contract(spend(nodes=3))
    contract.submit()
    nodes = list(hub.jobs.all.values())
    hub.jobs.bill.says = lambda entry: None if entry["jobId"] == nodes[2].id else entry
    for node in nodes:
        node.run().end(ran=60)
    contract.wait()
    until(lambda: asked(hub) > 2)
    assert not at.events(JobBilled)
    hub.jobs.bill.says = lambda entry: entry
    assert at.wait_for(JobBilled).micro_usd == 3 * MINUTE


def test_a_schedule_is_billed_for_all_its_runs_also_for_one_that_was_deleted(hub: FakeHub, at: Places) -> None:
    contract = at.contract(spend(schedule="@daily", runs=2))
    contract.submit()
    (schedule,) = hub.jobs.schedules
    first = hub.jobs.fire(schedule).end(ran=59)
    until(lambda: any("Run 1 ended" in event.text for event in at.events(JobLogged)))
    hub.jobs.fire(schedule).end(ran=119)
    contract.wait()
    first.hidden = True
    billed = at.wait_for(JobBilled)
    assert billed.micro_usd == 3 * MINUTE
    assert spent(at) == 3 * MINUTE


def test_a_sandbox_is_billed_like_a_job(hub: FakeHub, at: Places, tmp_path: Path) -> None:
    hub.jobs.plays = lambda job: job.run()
    sandbox_run(desk(folder=tmp_path, jobs=at.jobs, sign=at.contract), "true")
    (there,) = hub.jobs.all.values()
    hub.jobs.bill.prices[there.id] = 345
    there.end(ran=61)
    assert at.wait_for(JobBilled).micro_usd == 345
    assert spent(at) == 345


def test_a_bill_above_what_was_held_is_told_loudly_and_counts(hub: FakeHub, tmp_path: Path) -> None:
    at = Places(hub, tmp_path, bill_pauses=SOON, budget=1_000_000)
    hub.jobs.bill.lags = NEVER
    job, there = ran(hub, at)
    hub.jobs.bill.prices[there.id] = 1_500_000
    hub.jobs.bill.lags = 0.0
    at.wait_for(JobBilled)
    (notice,) = at.events(Noticed)
    assert notice.level == "warning"
    assert "was billed at $1.50; $0.79998 were held for it" in notice.text
    assert f"{hub.url}/jobs/{job}" in notice.text
    assert at.books.ledger.free("compute") == -500_000
    assert isinstance(at.books.reserve("another", 1), Ledger)  # it does not fit
    at.jobs.close()


# --- a bill that does not ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        {"completedAt": None},
        {"completedAt": "soon"},
        {"totalCostMicroUsd": None},
        {"totalCostMicroUsd": -5.0},
        {"totalCostMicroUsd": float("nan")},
        {"totalCostMicroUsd": float("inf")},
        {"totalCostMicroUsd": "133330"},
        {"totalCostMicroUsd": True},
        {"totalCostMicroUsd": 0.0},
        {"totalCostMicroUsd": 0.0, "totalMinutes": 0.0},
        {"totalCostMicroUsd": 1e30},
        {"jobId": ["x"]},
        {"startedAt": "2001-01-01T00:00:00.000Z"},  # in the period before: this is but a part of it
    ],
    ids=str,
)
def test_what_is_not_whole_or_makes_no_sense_is_no_bill(hub: FakeHub, at: Places, odd: dict[str, Any]) -> None:
    hub.jobs.bill.says = lambda entry: {**entry, **odd}
    hub.jobs.bill.began = time.time() - 86_400
    ran(hub, at)
    until(lambda: asked(hub) > 2)
    assert not at.events(JobBilled)
    assert spent(at) == 10 * MINUTE
    assert not at.events(Noticed)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{", b'{"usage": 3}', b'{"hasAccess": true, "usage": {"jobDetails": {}}}', b"[" * 100_000],
    ids=lambda body: body[:40].decode(),
)
def test_an_answer_of_another_shape_is_no_bill(hub: FakeHub, at: Places, body: bytes) -> None:
    fault = Fault(BILL, status=200, body=body)
    hub.faults.append(fault)
    ran(hub, at)
    until(lambda: asked(hub) > 2)
    assert not at.events(JobBilled)
    fault.times = 0
    assert at.wait_for(JobBilled).micro_usd == 10 * MINUTE


def says(*entries: dict[str, Any]) -> Fault:
    """An answer of the test's own."""
    return Fault(BILL, status=200, body=json.dumps({"hasAccess": True, "usage": {"jobDetails": entries}}).encode())


def test_a_job_that_is_told_twice_in_different_words_is_not_billed(hub: FakeHub, at: Places) -> None:
    hub.faults.append(says())
    _, there = ran(hub, at)
    entry = {"jobId": there.id, "completedAt": "2026-11-23T12:00:00Z", "totalMinutes": 1.0, "totalCostMicroUsd": 6.0}
    hub.faults[:] = [says(entry, entry | {"totalCostMicroUsd": 5.0})]
    seen = asked(hub)
    until(lambda: asked(hub) > seen + 2)
    assert not at.events(JobBilled)
    hub.faults[:] = [says(entry, entry)]
    assert at.wait_for(JobBilled).micro_usd == 6


@pytest.mark.parametrize("trouble", [{"status": 500}, {"status": 429}, {"status": 200, "cut": True}], ids=str)
def test_trouble_is_waited_out(hub: FakeHub, at: Places, trouble: dict[str, Any]) -> None:
    fault = Fault(BILL, times=3, body=b'{"hasAccess": true, "usage": {}}', **trouble)
    hub.faults.append(fault)
    ran(hub, at)
    assert at.wait_for(JobBilled).micro_usd == 10 * MINUTE
    assert fault.times == 0
    assert not at.events(Noticed)


@pytest.mark.parametrize("refusal", ["hasAccess", 403, 404])
def test_a_bill_that_may_not_be_read_is_asked_for_once_and_nobody_is_nagged(
    hub: FakeHub, at: Places, refusal: object
) -> None:
    if isinstance(refusal, int):
        hub.faults.append(Fault(BILL, status=refusal))
    hub.jobs.bill.access = False
    ran(hub, at, "c1")
    until(lambda: asked(hub) == 1)
    ran(hub, at, "c2")
    time.sleep(0.4)
    assert asked(hub) == 1
    assert not at.events(Noticed)
    assert not at.events(JobBilled)
    assert spent(at) == 20 * MINUTE


def test_who_is_not_signed_in_now_may_be_later(hub: FakeHub, tmp_path: Path) -> None:
    at = restarted(hub, tmp_path, token="")
    time.sleep(0.3)
    assert not at.events(JobBilled)
    at.token = "hf_ada"
    assert at.wait_for(JobBilled).micro_usd == 10 * MINUTE
    at.jobs.close()


def test_who_was_signed_in_for_too_long_gets_the_bill_after_the_next_sign_in(hub: FakeHub, tmp_path: Path) -> None:
    """A visitor's token ends after some hours; a job may run longer."""
    at = restarted(hub, tmp_path, token="hf_ended")
    time.sleep(0.3)
    assert not at.events(JobBilled)
    at.token = "hf_ada"
    assert at.wait_for(JobBilled).micro_usd == 10 * MINUTE
    at.jobs.close()


def test_an_organisations_job_has_no_bill_and_that_is_said_once(hub: FakeHub, at: Places) -> None:
    hub.people["ada"]["orgs"] = [{"id": "1", "name": "kettles", "fullname": "Kettles"}]
    job, _ = ran(hub, at, namespace="kettles")
    billed = at.wait_for(JobBilled)
    assert (billed.job, billed.micro_usd) == (job, None)
    assert billed.message == "What kettles is billed for a single job cannot be read."
    assert asked(hub) == 0
    assert spent(at) == 10 * MINUTE
    time.sleep(0.2)
    assert len(at.events(JobBilled)) == 1
    again = at.again()
    time.sleep(0.2)
    assert len(again.events(JobBilled)) == 1
    again.jobs.close()


def test_the_bill_of_another_account_is_not_taken_for_this_one(hub: FakeHub, tmp_path: Path) -> None:
    at = restarted(hub, tmp_path, token="hf_bo")
    time.sleep(0.3)
    assert not at.events(JobBilled)
    assert asked(hub) == 0
    at.jobs.close()


def test_who_never_gets_a_bill_is_left_alone_after_the_last_question(hub: FakeHub, tmp_path: Path) -> None:
    at = Places(hub, tmp_path, bill_pauses=(0.02, 0.02, 0.02))
    hub.jobs.bill.lags = NEVER
    ran(hub, at)
    until(lambda: asked(hub) == 3)
    time.sleep(0.2)
    assert asked(hub) == 3
    at.jobs.close()


# --- restarts ---------------------------------------------------------------------------------------


def test_after_a_restart_at_any_point_the_bill_counts_once(hub: FakeHub, tmp_path: Path) -> None:
    at = Places(hub, tmp_path, bill_pauses=SOON)
    hub.jobs.bill.lags = NEVER
    _, there = ran(hub, at)
    hub.jobs.bill.prices[there.id] = 900_000  # above the hold: a notice comes before the event
    hub.jobs.bill.lags = 0.0
    at.wait_for(JobBilled)
    whole = list(at.entries)
    ended = next(entry.seq for entry in whole if isinstance(entry.event, JobEnded))
    for cut in range(ended, len(whole) + 1):
        at = at.again(whole[:cut])
        assert at.wait_for(JobBilled).micro_usd == 900_000
        time.sleep(0.12)
        assert len(at.events(JobBilled)) == 1
        assert len(at.events(MoneySettled)) == 1
        assert spent(at) == 900_000
        assert at.events(Noticed)
        assert folded(at.entries) == at.books.ledger
    at.jobs.close()


def test_what_ended_days_ago_is_not_asked_for(hub: FakeHub, tmp_path: Path) -> None:
    at = Places(hub, tmp_path, bill_pauses=(60.0,))
    ran(hub, at)
    old = [entry.model_copy(update={"at": entry.at - 2 * 86_400}) for entry in at.entries]
    at.bill_pauses = SOON
    at = at.again(old)
    time.sleep(0.2)
    assert asked(hub) == 0
    at.jobs.close()


@pytest.mark.parametrize("seed", range(12))
def test_jobs_bills_and_crashes_in_any_order_lose_no_money_and_double_none(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    with FakeHub() as hub:
        hub.jobs.bill.lags = dice.choice([0.0, 0.2])
        at = Places(hub, tmp_path, bill_pauses=SOON)
        real: dict[str, int] = {}
        for n in range(3):
            _, there = ran(hub, at, f"c{n}", seconds=dice.choice([1, 61, 3000]), timeout_seconds=1200)
            real[f"s1-c{n}"] = int(hub.jobs.bill.prices.setdefault(there.id, dice.randrange(1, 900_000)))
            if dice.random() < 0.5:
                hub.faults.append(Fault(BILL, status=dice.choice([500, 502]), times=dice.randint(1, 3)))
            if dice.random() < 0.7:  # killed: the journal ends somewhere after the submission
                known = [entry.seq for entry in at.entries if isinstance(entry.event, JobEnded)]
                at = at.again(at.entries[: dice.randint(known[-1], len(at.entries))])
        until(lambda: len(at.events(JobBilled)) == 3, "all bills")
        assert {event.label: event.micro_usd for event in at.events(JobBilled)} == real
        assert (spent(at), at.books.ledger.compute.held) == (sum(real.values()), 0)
        events: list[Event] = [entry.event for entry in at.entries]
        assert len([event for event in events if isinstance(event, MoneySettled)]) == 3
        at.jobs.close()
