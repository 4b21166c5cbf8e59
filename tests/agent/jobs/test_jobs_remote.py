"""A session's jobs on Hugging Face, over the real client: money, following, and what goes wrong on the way."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent.events import MoneyReserved, MoneySettled, Noticed
from agent.job_events import JobAlarm, JobEnded, JobLogged, JobSubmitted
from tests import AT_ONCE
from tests.doubles.hub import FakeHub, Fault
from tests.doubles.jobs import BUDGET, FAST, Places, spend, until
from tools.jobs.remote.jobs import Pace
from tools.problem import Problem


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


def test_the_job_may_end_while_its_log_runs_on(hub: FakeHub, tmp_path: Path) -> None:
    at = Places(hub, tmp_path, pace=replace(FAST, quiet=60.0, drain=60.0))  # it may be long between two lines
    contract = at.contract()
    contract.submit()
    (there,) = hub.jobs.all.values()
    there.say("step 1").end(log=False)
    for n in range(2, 6):
        until(lambda n=n: f"step {n - 1}" in told(at))  # type: ignore[misc]
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
    hub.faults.append(Fault("/api/jobs/ada/*/logs", status=500))
    contract = at.contract()
    contract.submit()
    (there,) = hub.jobs.all.values()
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


def test_a_cancelled_job_is_settled_soon_after_the_hubs_answer(hub: FakeHub, tmp_path: Path) -> None:
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
    assert settled - (there.finished or 0) < AT_ONCE


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


def test_what_could_not_be_cancelled_is_told_again_after_it_could_not_be_watched(hub: FakeHub, at: Places) -> None:
    job = at.contract().submit()
    (there,) = hub.jobs.all.values()
    there.run()
    unheard = Fault(f"/api/jobs/ada/{there.id}$", status=500)
    hub.faults += [Fault(f"/api/jobs/ada/{there.id}/cancel", status=500), unheard]
    at.jobs.cancel_open()
    at.wait_for(Noticed, lambda notice: "cannot be watched" in notice.text)
    unheard.times = 0
    until(lambda: at.events(Noticed)[-1].text.startswith(f"Job {job} could not be cancelled"))
    hub.faults.clear()
    at.jobs.cancel_open()
    assert at.wait_for(JobEnded).status == "cancelled"


def test_a_cancel_that_is_accepted_and_does_nothing_is_a_failure(hub: FakeHub, at: Places) -> None:
    hub.jobs.cancels_take = None
    job = at.contract().submit()
    with pytest.raises(Problem, match="still runs"):
        at.jobs.cancel(job)


def test_the_watchdog_stops_a_job_also_while_the_disk_is_full(hub: FakeHub, at: Places) -> None:
    at.full = lambda event: isinstance(event, JobAlarm)
    contract = at.contract(spend(on_alarm="stop"))
    contract.submit()
    (there,) = hub.jobs.all.values()
    there.say("{'loss': nan, 'step': 5}")
    until(lambda: there.stage == "CANCELED")
    assert "as you chose" in contract.wait().message


def test_cancelling_what_has_ended_is_no_failure(hub: FakeHub, at: Places) -> None:
    contract = at.contract()
    job = contract.submit()
    next(iter(hub.jobs.all.values())).end()
    at.place.cancel(job)
    assert contract.wait().status == "completed"
