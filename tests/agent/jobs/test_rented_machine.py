"""A machine for generated code is a job like any other: held, labelled, found again, ended, settled by what it ran."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.events import BudgetSet, Entry, Event, MoneyReleased, MoneyReserved, MoneySettled, Noticed
from agent.job_events import JobEnded, JobSubmitted, JobSubmitting
from agent.jobs.rented_machine import SECONDS, proposal, renting
from agent.sandbox.rental import RentedMachine
from tests.doubles.desk import desk
from tests.doubles.hub import FakeHub, Fault
from tests.doubles.hub.jobs import Job
from tests.doubles.jobs import Places, until
from tools.cards import Answer, Spend
from tools.jobs import jobs_list
from tools.jobs.prices import PORT_MICRO_USD_PER_HOUR
from tools.jobs.sandbox import sandbox_file, sandbox_run
from tools.problem import Problem, Refused

PRICE = 10_020 + PORT_MICRO_USD_PER_HOUR  # micro-dollars an hour
MINUTE = -(-PRICE // 60)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        fake.jobs.plays = lambda job: job.run()
        yield fake


def agrees(request: Spend) -> tuple[Answer, Spend]:
    return Answer(verdict="yes"), request


def rent(at: Places) -> RentedMachine:
    """One that has run for some seconds, and so costs money."""
    machine = renting(at.jobs, agrees)().start()
    there = list(at.fake.jobs.all.values())[-1]
    there.started = until(lambda: there.started) - 5
    return machine


def only(hub: FakeHub) -> Job:
    (there,) = hub.jobs.all.values()
    return there


def test_the_hub_gets_the_time_that_was_held_and_a_label_by_which_it_is_found(hub: FakeHub, at: Places) -> None:
    rent(at)
    (held,) = at.events(MoneyReserved)
    there = only(hub)
    assert held.micro_usd == PRICE * SECONDS // 3600
    assert there.body["timeoutSeconds"] == SECONDS
    assert there.body["labels"]["ml-intern"] == held.hold == "s1-machine1"
    assert there.body["labels"]["ml-intern-kind"] == "sandbox"
    assert "hf_ada" not in str(there.body)
    assert at.jobs.open_labels == {"s1-machine1"}


def test_a_second_machine_of_one_yes_has_only_the_time_that_is_left(hub: FakeHub, at: Places) -> None:
    consent = renting(at.jobs, agrees)()
    consent.start().kill()
    at.wait_for(MoneySettled)
    time.sleep(1.1)
    consent.start()
    first, second = hub.jobs.all.values()
    assert first.body["timeoutSeconds"] == SECONDS
    assert SECONDS - 60 < second.body["timeoutSeconds"] < SECONDS
    assert second.body["labels"]["ml-intern"] == "s1-machine2"


def test_a_machine_that_is_given_back_is_settled_by_the_time_that_the_hub_tells(hub: FakeHub, at: Places) -> None:
    machine = rent(at)
    there = only(hub)
    there.started = (there.started or 0.0) - 100
    machine.kill()
    machine.kill()
    assert at.wait_for(JobEnded).status == "cancelled"
    assert at.wait_for(MoneySettled).micro_usd == -(-2 * PRICE // 60)
    assert at.books.ledger.compute.held == 0
    assert [len(at.events(kind)) for kind in (JobSubmitted, JobEnded, MoneySettled)] == [1, 1, 1]


def test_a_no_holds_and_starts_nothing(hub: FakeHub, at: Places) -> None:
    with pytest.raises(Refused, match="No machine was rented to run code in: too dear"):
        renting(at.jobs, lambda request: (Answer(verdict="no", reason="too dear"), request))()
    assert not hub.jobs.all
    assert not at.events(MoneyReserved)


def test_what_does_not_fit_into_the_budget_starts_nothing(hub: FakeHub, tmp_path: Path) -> None:
    at = Places(hub, tmp_path, budget=10_000)
    with pytest.raises(Refused, match="of the budget of"):
        rent(at)
    assert not hub.jobs.all
    at.jobs.close()


def test_the_card_says_who_pays_and_for_how_long_at_most(at: Places) -> None:
    card = proposal(at.jobs)
    assert (card.where, card.namespace, card.timeout_seconds, card.token) == ("sandbox", "ada", SECONDS, "none")
    assert card.hold_micro_usd == PRICE * SECONDS // 3600


def test_without_a_token_nobody_is_asked(hub: FakeHub, tmp_path: Path) -> None:
    at = Places(hub, tmp_path, token="")
    with pytest.raises(Problem, match="Nobody is signed in"):
        renting(at.jobs, agrees)()
    at.jobs.close()


# --- who may touch it ------------------------------------------------------------------------------


def test_stop_ends_what_the_agent_started_and_leaves_the_sessions_python(hub: FakeHub, at: Places) -> None:
    rent(at)
    sandbox_run(desk(jobs=at.jobs, sign=at.contract), "true")
    at.jobs.cancel_open()
    python, sandbox = hub.jobs.all.values()
    assert (python.stage, sandbox.stage) == ("RUNNING", "CANCELED")


def test_a_tool_takes_no_machine_that_runs_code(hub: FakeHub, at: Places, tmp_path: Path) -> None:
    rent(at)
    (row,) = at.jobs.list()
    here = desk(folder=tmp_path, jobs=at.jobs, sign=at.contract)
    with pytest.raises(Problem, match="No sandbox is running"):
        sandbox_file(here, "list", "/")
    with pytest.raises(Problem, match="runs this conversation's Python"):
        sandbox_file(here, "write", "/tmp/ml-intern/code/sandbox/worker.py", text="", sandbox=row.job)
    other = sandbox_run(here, "echo mine")["sandbox"]
    assert other != row.job
    assert [one["job"] for one in jobs_list(here)] == [row.job, other]


def test_a_machine_that_the_user_ends_takes_the_yes_along(at: Places) -> None:
    machine = rent(at)
    assert not machine.revoked
    at.jobs.cancel(at.jobs.list()[0].job)
    assert machine.revoked
    with pytest.raises(Problem, match="has ended"):
        machine.ready()
    assert at.wait_for(MoneySettled).micro_usd == MINUTE


# --- the app closes --------------------------------------------------------------------------------


def test_a_session_that_closes_ends_its_machine_and_settles_it(hub: FakeHub, at: Places) -> None:
    machine = rent(at)
    at.jobs.close()
    machine.kill()
    assert only(hub).stage == "CANCELED"
    assert [event.micro_usd for event in at.events(MoneySettled)] == [MINUTE]


def test_closing_waits_for_a_machine_that_is_just_being_ended(hub: FakeHub, at: Places) -> None:
    hub.jobs.cancels_take = 0.3
    rent(at).kill()
    at.jobs.close()
    assert only(hub).stage == "CANCELED"
    assert [event.micro_usd for event in at.events(MoneySettled)] == [MINUTE]


def test_giving_a_machine_back_waits_for_nobody(hub: FakeHub, at: Places) -> None:
    machine = rent(at)
    hub.faults.append(Fault(f"/api/jobs/ada/{only(hub).id}", delay=1.0, times=2))
    began = time.monotonic()
    machine.kill()
    assert time.monotonic() - began < 0.5
    at.wait_for(MoneySettled)


def test_one_that_cannot_be_ended_now_is_told_of_and_ended_when_it_can_be(hub: FakeHub, at: Places) -> None:
    machine = rent(at)
    down = Fault(f"/api/jobs/ada/{only(hub).id}/cancel", status=503)
    hub.faults.append(down)
    machine.kill()
    assert "tried again until it has ended" in at.wait_for(Noticed).text
    down.times = 0
    assert at.wait_for(JobEnded).status == "cancelled"


# --- the app was killed ----------------------------------------------------------------------------


@pytest.mark.parametrize("last", [JobSubmitting, JobSubmitted, JobEnded])
def test_wherever_a_crash_comes_the_next_process_ends_the_machine_and_settles_once(
    hub: FakeHub, tmp_path: Path, last: type[Event]
) -> None:
    first = Places(hub, tmp_path)
    rent(first).kill()
    first.wait_for(MoneySettled)
    if last is not JobEnded:
        only(hub).run().finished = None  # it was not yet given back
    seq = next(entry.seq for entry in first.entries if isinstance(entry.event, last))
    after = first.again(first.entries[:seq])
    assert after.wait_for(MoneySettled).micro_usd == MINUTE
    assert only(hub).over
    assert after.books.ledger.compute.held == 0
    again = after.again()
    assert [len(again.events(kind)) for kind in (JobSubmitted, JobEnded, MoneySettled)] == [1, 1, 1]
    again.jobs.close()


def test_a_machine_whose_start_was_lost_is_ended_as_soon_as_it_is_found(hub: FakeHub, at: Places) -> None:
    hub.jobs.lists_after = 0.4
    hub.faults.append(Fault("/api/jobs/ada$", method="POST", after=True, status=500, times=1))
    with pytest.raises(Problem, match="not known"):
        rent(at)
    assert at.wait_for(JobEnded).status == "cancelled"
    assert at.wait_for(MoneySettled).micro_usd == MINUTE


def test_a_machine_after_a_restart_has_a_label_of_its_own(hub: FakeHub, at: Places) -> None:
    rent(at)
    after = at.again()
    after.wait_for(MoneySettled)
    rent(after)
    assert [there.body["labels"]["ml-intern"] for there in hub.jobs.all.values()] == ["s1-machine1", "s1-machine2"]
    after.jobs.close()


def test_two_that_are_rented_at_once_are_two(hub: FakeHub, at: Places) -> None:
    threads = [threading.Thread(target=rent, args=(at,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {there.body["labels"]["ml-intern"] for there in hub.jobs.all.values()} == {
        f"s1-machine{n}" for n in (1, 2, 3, 4)
    }


def test_what_an_older_app_held_for_a_machine_is_settled_at_the_most_it_can_have_cost(
    hub: FakeHub, tmp_path: Path
) -> None:
    """Then a machine was no job, and ended by itself some minutes after its app."""
    told: list[Event] = [
        BudgetSet(micro_usd=1_000_000),
        MoneyReserved(hold="machine-1", micro_usd=80_080),
        MoneySettled(hold="machine-1", micro_usd=334, source="run time and price"),
        MoneyReserved(hold="machine-2", micro_usd=80_080),
        MoneyReserved(hold="s1-c1", micro_usd=5_000),
    ]
    past = [Entry(seq=n, at=1.0, event=event) for n, event in enumerate(told, start=1)]
    at = Places(hub, tmp_path, past)
    again = at.again()
    settled = [(event.hold, event.micro_usd, event.source) for event in again.events(MoneySettled)]
    assert settled[1:] == [("machine-2", 80_080, "worst case: the app ended")]
    assert [event.hold for event in again.events(MoneyReleased)] == ["s1-c1"]
    assert (again.books.ledger.compute.held, again.books.ledger.compute.spent) == (0, 80_414)
    again.jobs.close()
