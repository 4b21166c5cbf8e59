"""A session's jobs on Hugging Face: refused, lost on the way, crashed between; money, and several machines."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.events import MoneyReleased, MoneyReserved, MoneySettled, Noticed
from agent.job_events import JobEnded, JobLogged, JobSubmitted, JobSubmitting
from tests.doubles.hub import FakeHub, Fault
from tests.doubles.jobs import BUDGET, Places, spend, until
from tools.problem import MaybeStarted, Problem, Refused


def told(at: Places) -> str:
    return "".join(event.text for event in at.events(JobLogged))


# --- what an account lacks ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "says"), [(402, "credits"), (403, "right to start"), (429, "wait"), (401, "token"), (400, "refused")]
)
def test_a_refused_submit_starts_nothing_costs_nothing_and_says_what_to_do(
    hub: FakeHub, at: Places, status: int, says: str
) -> None:
    hub.faults.append(Fault("/api/jobs/ada$", method="POST", status=status, body=b'{"error": "Pre-paid balance is 0"}'))
    with pytest.raises(Problem, match=says) as raised:
        at.contract().submit()
    assert not hub.jobs.all
    assert at.books.ledger.free("compute") == BUDGET
    if status in (402, 403):
        assert "Pre-paid balance is 0" in str(raised.value)
        assert "another namespace" in raised.value.hint
        assert 'where="here"' in raised.value.hint
    assert not [asked for asked in hub.asked if asked.method == "POST" and asked.path != "/api/jobs/ada"]


def test_a_namespace_of_others_is_refused_and_nothing_switches(hub: FakeHub, at: Places) -> None:
    with pytest.raises(Problem, match="'bo'"):
        at.contract(spend(namespace="bo")).submit()
    assert not hub.jobs.all


@pytest.mark.parametrize("status", [402, 403, 429, 500, 503])
def test_trouble_while_watching_ends_no_job(hub: FakeHub, at: Places, status: int) -> None:
    contract = at.contract()
    contract.submit()
    (there,) = hub.jobs.all.values()
    there.say("one")
    hub.faults.append(Fault(f"/api/jobs/ada/{there.id}", status=status, times=4))
    there.say("two").end()
    assert contract.wait().log == "one\ntwo\n"


# --- once, and not a cent more --------------------------------------------------------------------


def test_a_price_that_rose_since_the_card_starts_nothing(hub: FakeHub, at: Places) -> None:
    contract = at.contract()
    next(item for item in hub.jobs.hardware if item["name"] == "l4x1")["unitCostMicroUSD"] += 1
    with pytest.raises(Problem, match="was agreed"):
        contract.submit()
    assert not hub.jobs.all
    assert at.books.ledger.free("compute") == BUDGET


def test_a_price_that_fell_is_good(hub: FakeHub, at: Places) -> None:
    next(item for item in hub.jobs.hardware if item["name"] == "l4x1")["unitCostMicroUSD"] -= 1
    at.contract().submit()
    assert len(hub.jobs.all) == 1


def test_two_approvals_at_once_cannot_both_take_the_last_money(hub: FakeHub, tmp_path: Path) -> None:
    at = Places(hub, tmp_path, budget=1_000_000)

    def submit(n: int) -> str:
        try:
            return at.contract(call=f"c{n}").submit()
        except Refused:
            return ""

    with ThreadPoolExecutor(8) as pool:
        started = [job for job in pool.map(submit, range(8)) if job]
    assert len(started) == len(hub.jobs.all) == 1
    assert at.books.ledger.compute.held == 799_980


def test_one_approval_submitted_from_many_threads_is_one_job(hub: FakeHub, at: Places) -> None:
    contract = at.contract()
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: contract.submit(), range(8)))) == 1
    assert len(hub.jobs.all) == 1


LOST = {
    "an answer 500": {"status": 500},
    "an answer cut in the middle": {"status": 200, "cut": True},
    "an answer that is no job": {"status": 200, "body": b"[]"},
    "a gateway's page": {"status": 504, "body": b"<html>"},
}


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST.keys())
@pytest.mark.parametrize("arrived", [True, False])
def test_a_lost_answer_leads_to_no_second_job_and_forgets_none(
    hub: FakeHub, tmp_path: Path, fault: dict[str, object], arrived: bool
) -> None:
    at = Places(hub, tmp_path, settles=0.3)
    hub.faults.append(Fault("/api/jobs/ada$", method="POST", after=arrived, times=1, **fault))  # type: ignore[arg-type]
    contract = at.contract()
    if arrived:
        job = contract.submit()
        (there,) = hub.jobs.all.values()
        assert job == f"ada/{there.id}"
        there.end(ran=60)
        assert contract.wait().status == "completed"
        assert at.books.ledger.free("compute") == BUDGET - 13_333
    else:
        with pytest.raises(MaybeStarted, match="not known"):
            contract.submit()
        assert at.books.ledger.free("compute") == BUDGET - 799_980
        at.wait_for(MoneyReleased)
        assert "never started" in at.wait_for(Noticed).text
        assert at.books.ledger.free("compute") == BUDGET
        assert not hub.jobs.all
    assert len([asked for asked in hub.asked if asked.method == "POST"]) == 1


def test_a_job_that_appears_late_after_a_lost_answer_is_found_and_paid(hub: FakeHub, at: Places) -> None:
    hub.jobs.lists_after = 0.4
    hub.faults.append(Fault("/api/jobs/ada$", method="POST", after=True, status=500, times=1))
    with pytest.raises(MaybeStarted, match="not known"):
        at.contract().submit()
    (row,) = at.jobs.list()
    assert (row.status, row.hold_micro_usd) == ("unknown", 799_980)
    assert at.jobs.open_labels == {"s1-c1"}
    found = at.wait_for(JobSubmitted)
    (there,) = hub.jobs.all.values()
    assert found.job == f"ada/{there.id}"
    there.end(ran=60)
    assert at.wait_for(MoneySettled).micro_usd == 13_333


def test_stop_reaches_a_job_that_only_appears_later(hub: FakeHub, at: Places) -> None:
    hub.jobs.lists_after = 0.4
    hub.faults.append(Fault("/api/jobs/ada$", method="POST", after=True, status=500, times=1))
    with pytest.raises(MaybeStarted):
        at.contract().submit()
    assert at.jobs.open
    at.jobs.cancel_open()
    assert at.wait_for(JobEnded).status == "cancelled"


def crash_points(at: Places) -> list[int]:
    """The lengths that the journal had after each money or job event: where a process may have been killed."""
    kinds = (MoneyReserved, JobSubmitting, JobSubmitted, JobLogged, JobEnded, MoneySettled)
    return [entry.seq for entry in at.entries if isinstance(entry.event, kinds)]


def test_a_crash_anywhere_between_reserve_and_settlement_is_made_good(hub: FakeHub, tmp_path: Path) -> None:
    """Whatever the journal last held, the next process starts nothing again, forgets nothing and settles once."""
    first = Places(hub, tmp_path / "first")
    contract = first.contract()
    contract.submit()
    (there,) = hub.jobs.all.values()
    there.say("one", "two")
    until(lambda: told(first) == "one\ntwo\n")
    there.end(ran=120)
    contract.wait()
    until(lambda: first.events(MoneySettled))
    first.jobs.close()
    points = crash_points(first)
    assert len(points) >= 6
    for n, seq in enumerate(points):
        at = Places(hub, tmp_path / str(n), first.entries[:seq])
        reserved_only = not at.events(JobSubmitting)
        if reserved_only:  # nothing was sent before JobSubmitting is on disk
            at.wait_for(MoneyReleased)
        else:
            at.wait_for(MoneySettled)
            assert at.books.ledger.free("compute") == BUDGET - 2 * 13_333
            assert len(at.events(MoneySettled)) == len(at.events(JobEnded)) == 1
        assert at.books.ledger.compute.held == 0
        at.jobs.close()
    assert len(hub.jobs.all) == 1


def test_a_crash_before_the_submit_reached_the_hub_gives_the_money_back(hub: FakeHub, tmp_path: Path) -> None:
    first = Places(hub, tmp_path)
    hub.faults.append(Fault("/api/jobs/ada$", method="POST", status=402, times=1))
    with pytest.raises(Problem):
        first.contract().submit()
    cut = next(entry.seq for entry in first.entries if isinstance(entry.event, JobSubmitting))
    at = Places(hub, tmp_path, first.entries[:cut], settles=0.3)
    assert at.books.ledger.compute.held == 799_980
    at.wait_for(MoneyReleased)
    assert at.books.ledger.free("compute") == BUDGET
    assert not hub.jobs.all


def test_a_restart_while_the_hub_is_down_keeps_the_money_held_until_it_can_be_known(
    hub: FakeHub, tmp_path: Path
) -> None:
    first = Places(hub, tmp_path)
    first.contract().submit()
    cut = next(entry.seq for entry in first.entries if isinstance(entry.event, JobSubmitting))
    down = Fault("/api/jobs/ada", status=503)
    hub.faults.append(down)
    at = Places(hub, tmp_path, first.entries[:cut], settles=0.0001)
    assert "stays held" in at.wait_for(Noticed).text
    time.sleep(0.3)
    assert at.books.ledger.compute.held == 799_980
    down.times = 0
    assert at.wait_for(JobSubmitted).job == first.events(JobSubmitted)[0].job
    at.jobs.close()
    first.jobs.close()


def test_a_job_that_the_user_ran_again_on_the_hubs_page_is_left_alone(hub: FakeHub, tmp_path: Path) -> None:
    first = Places(hub, tmp_path)
    job = first.contract().submit()
    (ours,) = hub.jobs.all.values()
    theirs = hub.jobs.copy(ours).run()
    cut = next(entry.seq for entry in first.entries if isinstance(entry.event, JobSubmitting))
    first.jobs.close()
    at = Places(hub, tmp_path, first.entries[:cut])
    assert at.wait_for(JobSubmitted).job == job
    ours.end()
    at.wait_for(MoneySettled)
    assert not theirs.over
    at.jobs.close()


def test_after_a_restart_the_log_goes_on_where_it_was(hub: FakeHub, tmp_path: Path) -> None:
    first = Places(hub, tmp_path)
    job = first.contract().submit()
    (there,) = hub.jobs.all.values()
    there.say("one", "two")
    until(lambda: told(first) == "one\ntwo\n")
    hub.jobs.replays = lambda lines: sorted(lines, reverse=True)
    at = first.again()
    there.say("three").end()
    at.wait_for(MoneySettled)
    assert told(at) == "one\ntwo\nthree\n"
    assert list(at.jobs.log(job)) == ["one", "two", "three"]
    assert at.again().jobs.list()[0].status == "completed"


# --- several machines -----------------------------------------------------------------------------


def test_several_machines_find_each_other_and_cost_as_many(hub: FakeHub, at: Places) -> None:
    contract = at.contract(spend(nodes=2, dependencies=("torch",)))
    job = contract.submit()
    first, second = hub.jobs.all.values()
    assert job == f"ada/{first.id}+{second.id}"
    assert at.books.ledger.compute.held == 2 * 799_980
    assert first.body["network"]["group"] == second.body["network"]["group"]
    assert [there.body["network"]["aliases"] for there in (first, second)] == [["node-0"], ["node-1"]]
    assert "--node-rank=1" in second.body["command"]
    assert "${HF_NETWORK_GROUP_PREFIX}node-0" in second.body["command"][2]
    first.say("a").end(ran=60)
    second.say("b").end(ran=61)
    assert contract.wait().status == "completed"
    assert sorted(told(at).splitlines()) == ["[node 0] a", "[node 1] b"]
    assert at.events(MoneySettled)[0].micro_usd == 2 * 2 * 13_333


def test_one_machine_that_fails_takes_the_others_along(hub: FakeHub, at: Places) -> None:
    contract = at.contract(spend(nodes=3))
    contract.submit()
    machines = list(hub.jobs.all.values())
    for machine in machines:
        machine.run()
    machines[1].end("ERROR", message="Job failed with exit code: 1")
    end = contract.wait()
    assert end.status == "failed"
    assert "Machine 1 ended first" in end.message
    assert all(machine.over for machine in machines)


def test_a_machine_that_cannot_be_started_ends_the_others(hub: FakeHub, at: Places) -> None:
    hub.jobs.plays = lambda there: hub.faults.append(Fault("/api/jobs/ada$", method="POST", status=402))
    contract = at.contract(spend(nodes=2))
    contract.submit()
    end = contract.wait()
    assert end.status == "cancelled"
    assert "credits" in end.message
    assert len(hub.jobs.all) == 1


def test_a_crash_between_two_machines_leaves_none_running(hub: FakeHub, tmp_path: Path) -> None:
    first = Places(hub, tmp_path)
    first.contract(spend(nodes=2)).submit()
    machines = list(hub.jobs.all.values())
    del hub.jobs.all[machines[1].id]
    cut = next(entry.seq for entry in first.entries if isinstance(entry.event, JobSubmitting))
    first.jobs.close()
    at = Places(hub, tmp_path, first.entries[:cut])
    at.wait_for(MoneySettled)
    assert machines[0].stage == "CANCELED"
    assert at.books.ledger.compute.held == 0
