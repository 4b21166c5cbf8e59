"""A session's jobs on Hugging Face, over the real client: money, following, and what goes wrong on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from agent.events import (
    JobEnded,
    JobLogged,
    JobSubmitted,
    JobSubmitting,
    MoneyReleased,
    MoneyReserved,
    MoneySettled,
    Noticed,
)
from tests.doubles.hub import FakeHub, Fault
from tests.doubles.jobs import BUDGET, FAST, Places, spend, until
from tools.desk import Problem, Refused
from tools.jobs.place import MaybeStarted
from tools.jobs.remote import Pace


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


# --- the log --------------------------------------------------------------------------------------


def test_a_silent_log_is_not_the_end_of_the_job(hub: FakeHub, tmp_path: Path) -> None:
    """The client gives up waiting again and again, each connection replays the log, and no line comes twice."""
    at = Places(hub, tmp_path, pace=replace(FAST, silence=0.15))
    at.contract().submit()
    (there,) = hub.jobs.all.values()
    there.say("one")
    until(lambda: there.connections > 3)
    assert not at.events(JobEnded)
    there.say("two").end()
    at.wait_for(JobEnded)
    assert told(at) == "one\ntwo\n"


def test_cut_streams_lose_no_line_and_tell_none_twice(hub: FakeHub, at: Places) -> None:
    contract = at.contract()
    contract.submit()
    (there,) = hub.jobs.all.values()
    for n in range(5):
        there.say(f"line {n}", f"line {n}", "same")
        until(lambda n=n: there.connections > n and told(at).count("same") == n + 1)  # type: ignore[misc]
        there.cut()
    until(lambda: there.connections > 5)
    there.end()
    contract.wait()
    assert told(at) == "".join(f"line {n}\nline {n}\nsame\n" for n in range(5))


def test_a_replay_in_another_order_brings_nothing_twice(hub: FakeHub, at: Places) -> None:
    contract = at.contract()
    contract.submit()
    (there,) = hub.jobs.all.values()
    there.say("late", at=hub.jobs.now() + 5).say("early", at=hub.jobs.now() - 5)
    until(lambda: told(at) == "late\nearly\n")
    hub.jobs.replays = lambda lines: sorted(lines)
    there.cut()
    until(lambda: there.connections == 2)
    there.say("last").end()
    contract.wait()
    assert told(at) == "late\nearly\nlast\n"


def test_the_job_may_end_while_its_log_runs_on(hub: FakeHub, at: Places) -> None:
    contract = at.contract()
    contract.submit()
    (there,) = hub.jobs.all.values()
    there.say("step 1").end(log=False)
    for n in range(2, 6):
        time.sleep(0.1)
        there.say(f"step {n}")
    there.log_ended = True
    assert contract.wait().log == "".join(f"step {n}\n" for n in range(1, 6))


def test_a_log_that_never_ends_does_not_keep_an_ended_job(hub: FakeHub, at: Places) -> None:
    contract = at.contract()
    contract.submit()
    (there,) = hub.jobs.all.values()
    there.say("done").end(log=False)
    assert contract.wait().log == "done\n"


def test_the_log_may_end_while_the_job_runs_on(hub: FakeHub, at: Places) -> None:
    contract = at.contract()
    contract.submit()
    (there,) = hub.jobs.all.values()
    there.say("uploading")
    there.log_ended = True
    until(lambda: there.connections > 3)
    assert not at.events(JobEnded)
    there.end()
    assert contract.wait().status == "completed"


def test_a_log_that_cannot_be_had_does_not_keep_an_ended_job_for_ever(hub: FakeHub, at: Places) -> None:
    contract = at.contract()
    contract.submit()
    (there,) = hub.jobs.all.values()
    hub.faults.append(Fault(f"/api/jobs/ada/{there.id}/logs", status=500))
    there.say("unheard").end()
    end = contract.wait()
    assert (end.status, end.log) == ("completed", "")


def test_a_secret_that_a_job_prints_is_not_written_down(hub: FakeHub, tmp_path: Path) -> None:
    at = Places(hub, tmp_path, secrets={"WANDB_API_KEY": "k3y-of-the-kettle"})
    contract = at.contract(spend(secrets=("WANDB_API_KEY",)))
    contract.submit()
    (there,) = hub.jobs.all.values()
    assert there.body["secrets"] == {"WANDB_API_KEY": "k3y-of-the-kettle"}
    there.say("key is k3y-of-the-kettle", "token is hf_" + "a" * 34).end()
    assert contract.wait().log == "key is •••\ntoken is •••\n"
    kept = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "kettle" not in kept + "".join(entry.model_dump_json() for entry in at.entries)


# --- how it ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("NO_CREDITS", "credits of ada are used up"),
        ("NO_SUBSCRIPTION", "no plan"),
        ("SPEND_LIMIT", "spending limit"),
        ("RESOURCE_GROUP_LIMIT", "resource group"),
        ("SOMETHING_NEW", "SOMETHING_NEW"),
    ],
)
def test_why_the_platform_cancelled_it_is_told_in_words(hub: FakeHub, at: Places, reason: str, says: str) -> None:
    contract = at.contract()
    contract.submit()
    (there,) = hub.jobs.all.values()
    there.say("step 1").end("CANCELED", reason=reason, ran=60)
    end = contract.wait()
    assert end.status == "cancelled"
    assert says in end.message
    assert at.events(MoneySettled)[0].micro_usd == 13_333


def test_a_failed_script_and_one_out_of_time_are_told_apart(hub: FakeHub, at: Places) -> None:
    for call, ran, status in (("c1", 5, "failed"), ("c2", 60, "timeout")):
        contract = at.contract(spend(timeout_seconds=60), call)
        contract.submit()
        there = list(hub.jobs.all.values())[-1]
        there.say("Traceback").end("ERROR", message="Job failed with exit code: 3. Reason: Error", ran=ran)
        end = contract.wait()
        assert end.status == status
        assert end.exit_code == (3 if status == "failed" else None)


@pytest.mark.parametrize("skew", [-86_400.0, 86_400.0])
def test_the_clocks_of_both_sides_may_differ_by_a_day(hub: FakeHub, at: Places, skew: float) -> None:
    hub.jobs.skew = skew
    contract = at.contract()
    job = contract.submit()
    (there,) = hub.jobs.all.values()
    there.run().say("on")
    there.started = hub.jobs.now() - 120
    until(lambda: at.jobs.state(job).seconds >= 120)
    assert at.jobs.state(job).seconds < 150
    there.end()
    there.finished = (there.started or 0) + 125
    assert contract.wait().seconds == 125
    assert at.events(MoneySettled)[0].micro_usd == 3 * 13_333  # minutes are billed whole


def test_a_job_whose_end_is_not_told_costs_its_whole_timeout(hub: FakeHub, at: Places) -> None:
    contract = at.contract(spend(timeout_seconds=120))
    contract.submit()
    (there,) = hub.jobs.all.values()
    there.run()
    real = there.as_json
    there.as_json = lambda: {k: v for k, v in real().items() if k not in ("finishedAt", "durations")}  # type: ignore[method-assign]
    there.end("ERROR")
    contract.wait()
    assert at.events(MoneySettled)[0].micro_usd == 2 * 13_333


def test_a_job_that_the_hub_forgot_costs_all_that_was_held(hub: FakeHub, at: Places) -> None:
    contract = at.contract()
    contract.submit()
    (there,) = hub.jobs.all.values()
    there.say("on")
    until(lambda: told(at))
    hub.jobs.all.clear()
    end = contract.wait()
    assert (end.status, end.log) == ("lost", "on\n")
    assert at.events(MoneySettled)[0].micro_usd == 799_980
    assert at.events(MoneySettled)[0].source == "worst case"


def test_a_job_is_not_lost_because_the_token_is(hub: FakeHub, at: Places) -> None:
    contract = at.contract()
    contract.submit()
    (there,) = hub.jobs.all.values()
    del hub.tokens["hf_ada"]
    notice = at.wait_for(Noticed)
    assert "cannot be watched" in notice.text
    there.say("done").end()
    time.sleep(0.3)
    assert not at.events(JobEnded)
    hub.tokens["hf_ada"] = "ada"
    assert contract.wait().status == "completed"


# --- stop -----------------------------------------------------------------------------------------


def test_a_cancelled_job_is_settled_within_two_seconds_of_the_hubs_answer(hub: FakeHub, tmp_path: Path) -> None:
    at = Places(hub, tmp_path, pace=Pace())
    contract = at.contract()
    contract.submit()
    (there,) = hub.jobs.all.values()
    there.say("on")
    until(lambda: told(at))
    at.jobs.cancel_open()
    end = contract.wait()
    assert end.status == "cancelled"
    assert at.events(MoneySettled)[0].micro_usd <= 13_333
    settled = next(entry.at for entry in at.entries if isinstance(entry.event, MoneySettled))
    assert settled - (there.finished or 0) < 2.0


def test_a_cancel_that_fails_stays_told_until_the_job_has_ended(hub: FakeHub, at: Places) -> None:
    contract = at.contract()
    job = contract.submit()
    (there,) = hub.jobs.all.values()
    there.run()
    fault = Fault(f"/api/jobs/ada/{there.id}/cancel", status=500)
    hub.faults.append(fault)
    at.jobs.cancel_open()
    assert f"{job} could not be cancelled" in at.wait_for(Noticed).text
    assert f"{hub.url}/jobs/ada/{there.id}" in at.events(Noticed)[0].text
    assert "could not be cancelled" in at.jobs.state(job).note
    assert not at.events(JobEnded)
    fault.times = 0
    at.jobs.cancel_open()
    assert contract.wait().status == "cancelled"
    assert at.jobs.state(job).note == ""


def test_a_cancel_that_is_accepted_and_does_nothing_is_a_failure(hub: FakeHub, at: Places) -> None:
    hub.jobs.cancels_take = None
    job = at.contract().submit()
    with pytest.raises(Problem, match="still runs"):
        at.jobs.cancel(job)


def test_cancelling_what_has_ended_is_no_failure(hub: FakeHub, at: Places) -> None:
    contract = at.contract()
    job = contract.submit()
    next(iter(hub.jobs.all.values())).end()
    at.place.cancel(job)
    assert contract.wait().status == "completed"


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
