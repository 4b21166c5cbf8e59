"""Scheduled jobs: always asked for, always with an end, never more than was held."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import JsonValue

from agent.consent.policy import judge
from agent.events import MoneySettled
from agent.job_events import JobEnded, JobLogged, JobSubmitting
from agent.loop.toolbox import Toolbox
from agent.money.ledger import Ledger
from tests.doubles.desk import desk
from tests.doubles.hub import FakeHub, Fault
from tests.doubles.jobs import BUDGET, Places, spend, until, view_here
from tools import TOOLS
from tools.cards import Spend
from tools.jobs import cron, job_schedule
from tools.jobs.here.jobs import LocalJobs
from tools.jobs.remote.launch import submissions
from tools.problem import Problem


def daily(runs: int = 2) -> Spend:
    return spend(schedule="@daily", runs=runs)


def test_a_schedule_fires_as_often_as_was_agreed_and_is_deleted_then(hub: FakeHub, at: Places) -> None:
    contract = at.contract(daily())
    job = contract.submit()
    (schedule,) = hub.jobs.schedules
    assert at.books.ledger.compute.held == 2 * 799_980
    hub.jobs.fire(schedule).end(ran=61)
    until(lambda: any("Run 1 ended" in event.text for event in at.events(JobLogged)))
    assert hub.jobs.schedules
    second = hub.jobs.fire(schedule).run()
    until(lambda: not hub.jobs.schedules)
    assert at.jobs.state(job).status == "running"
    second.end(ran=59)
    end = contract.wait()
    assert (end.status, end.seconds) == ("completed", 180)
    assert at.events(MoneySettled)[0].micro_usd == 3 * 13_333


def test_a_run_too_many_is_cancelled(hub: FakeHub, at: Places) -> None:
    contract = at.contract(daily(1))
    contract.submit()
    (schedule,) = hub.jobs.schedules
    first, second = hub.jobs.fire(schedule).run(), hub.jobs.fire(schedule).run()
    until(lambda: second.over)
    assert not first.over
    first.end()
    assert contract.wait().status == "completed"


def test_stop_deletes_the_schedule_and_ends_its_runs(hub: FakeHub, at: Places) -> None:
    contract = at.contract(daily())
    contract.submit()
    running = hub.jobs.fire(next(iter(hub.jobs.schedules))).run()
    at.jobs.cancel_open()
    assert contract.wait().status == "cancelled"
    assert running.over
    assert not hub.jobs.schedules


def test_a_schedule_is_found_again_after_a_restart_and_made_once(hub: FakeHub, at: Places) -> None:
    hub.faults.append(Fault("/api/scheduled-jobs/ada$", method="POST", after=True, status=500, times=1))
    job = at.contract(daily(1)).submit()
    assert len(hub.jobs.schedules) == 1
    after = at.again()
    hub.jobs.fire(next(iter(hub.jobs.schedules))).end(ran=10)
    assert after.wait_for(JobEnded).job == job
    after.wait_for(MoneySettled)
    assert after.books.ledger.free("compute") == BUDGET - 13_333
    after.jobs.close()


def test_schedules_are_never_allowed_unasked() -> None:
    rich = Ledger()
    free = daily().model_copy(update={"price_micro_usd_per_hour": 0})
    assert judge(free, "within-budget", rich).do == "deny"
    assert judge(free, "ask", rich).do == "ask"
    assert judge(free.model_copy(update={"schedule": ""}), "within-budget", rich).do == "allow"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"schedule": "* * * * *", "runs": 1}, "fires 1 min after it fired"),
        ({"schedule": "0 0 30 2 *", "runs": 1}, "never fires"),
        ({"schedule": "@hourly", "runs": 2, "timeout": "2h"}, "may take 120 min"),
        ({"schedule": " ", "runs": 3}, "schedule is empty"),
        ({"schedule": "@daily", "runs": 0}, "cannot run 0 times"),
        ({"schedule": "@daily", "runs": 367}, "cannot run 367 times"),
    ],
)
def test_a_schedule_without_an_end_cannot_be_asked_for(at: Places, given: dict[str, object], says: str) -> None:
    asking = desk(jobs=at.jobs, sign=at.contract)
    with pytest.raises(Problem, match=says):
        job_schedule(asking, "print(1)", flavor="cpu-basic", **given)  # type: ignore[arg-type]
    assert not asking.asked


def test_a_line_of_cron_is_asked_for_with_its_dates_and_told_to_the_hub(hub: FakeHub, at: Places) -> None:
    asking = desk(jobs=at.jobs, sign=at.contract)
    told = job_schedule(asking, "print(1)", "0 9 * * 1", runs=4, flavor="cpu-basic")
    assert (told["status"], told["edited"]) == ("running", False)
    (asked,) = asking.asked
    assert isinstance(asked, Spend)
    assert asked.rhythm == "at 09:00 on Monday, UTC"
    assert [later - earlier for earlier, later in pairwise(asked.due)] == [7 * 86_400] * 3
    (plan,) = hub.jobs.schedules.values()
    assert plan["schedule"] == "0 9 * * 1"
    until = int(plan["jobSpec"]["environment"]["ML_INTERN_UNTIL"])
    assert asked.due[-1] < until < asked.due[-1] + 7 * 86_400


def test_job_run_names_the_tool_that_takes_a_schedule(at: Places) -> None:
    box = Toolbox(TOOLS, lambda _: None, lambda call: desk(jobs=at.jobs, sign=at.contract))
    given: dict[str, JsonValue] = {"script": "print(1)", "flavor": "cpu-basic", "schedule": "@daily", "runs": 3}
    with pytest.raises(Problem) as raised:
        box.call("job_run", (), given, by="agent")
    assert raised.value.message == (
        "job_run: there is no argument schedule (job_schedule takes it); there is no argument runs (job_schedule takes it)."
    )
    assert box.call("job_schedule", (), given, by="agent") == {
        "job": at.jobs.list()[0].job,
        "status": "running",
        "edited": False,
    }


def test_without_a_place_for_schedules_there_is_none_to_ask_for(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="Nothing can be run like that by this app"):
        job_schedule(desk(jobs=view_here(LocalJobs(tmp_path))), "print(1)", "@daily", runs=3)


def test_an_answer_that_comes_late_begins_the_schedule_anew(at: Places) -> None:
    stale = cron.planned(daily(), 0.0)
    at.contract(stale).submit()
    (submitted,) = at.events(JobSubmitting)
    assert isinstance(submitted.request, Spend)
    assert submitted.request.due[0] > stale.due[-1]


def test_a_time_limit_that_was_raised_past_the_next_run_starts_nothing_and_holds_nothing(
    hub: FakeHub, at: Places
) -> None:
    edited = daily().model_copy(update={"schedule": "@hourly", "timeout_seconds": 7200})
    with pytest.raises(Problem, match="may take 120 min"):
        at.contract(edited).submit()
    assert at.books.ledger.compute.held == 0
    assert not hub.jobs.schedules


def test_a_schedule_that_nobody_deletes_runs_nothing_after_its_date(hub: FakeHub, at: Places, tmp_path: Path) -> None:
    at.contract(daily()).submit()
    (plan,) = hub.jobs.schedules.values()
    env = plan["jobSpec"]["environment"]
    assert 2 * 86_400 - cron.LATE <= int(env["ML_INTERN_UNTIL"]) - hub.jobs.now() <= 3 * 86_400 - cron.LATE
    (part,) = submissions("s1-c1", daily(), {})
    past = {"ML_INTERN_UNTIL": "1", "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(list(part.command), env=past, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ran.stdout == "This schedule has ended; delete it.\n"
