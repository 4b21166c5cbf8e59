"""Sandboxes on Hugging Face: asked for once, used until they end, and never left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.events import MoneySettled, Noticed
from agent.job_events import JobSubmitting
from tests.doubles.desk import RecordingDesk, desk
from tests.doubles.hub import FakeHub, Fault
from tests.doubles.jobs import BUDGET, Places, until
from tools.cards import FileMade, Spend
from tools.jobs import job_cancel, job_run
from tools.jobs.prices import PORT_MICRO_USD_PER_HOUR
from tools.jobs.remote.sandboxes import sweep
from tools.jobs.sandbox import sandbox_file, sandbox_run
from tools.problem import Problem, Refused, Stopped


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        fake.jobs.plays = lambda job: job.run()
        yield fake


@pytest.fixture
def sit(at: Places, tmp_path: Path) -> Callable[[], RecordingDesk]:
    calls = iter(range(1, 100))

    def new() -> RecordingDesk:
        call = f"c{next(calls)}"
        return desk(folder=tmp_path, jobs=at.jobs, sign=lambda request: at.contract(request, call))

    return new


Sit = Callable[[], RecordingDesk]


def test_a_sandbox_is_asked_for_once_and_used_until_it_ends(hub: FakeHub, at: Places, sit: Sit) -> None:
    first = sit()
    ran = sandbox_run(first, "echo to out; echo to err >&2; exit 3", lifetime="2h")
    assert (ran["exit_code"], ran["stdout"], ran["stderr"], ran["timed_out"]) == (3, "to out\n", "to err\n", False)
    (asked,) = first.asked
    assert isinstance(asked, Spend)
    assert (asked.where, asked.timeout_seconds, asked.idle_seconds, asked.token) == ("sandbox", 7200, 600, "none")
    assert asked.hold_micro_usd == 2 * (10_020 + PORT_MICRO_USD_PER_HOUR)
    again = sit()
    assert sandbox_run(again, "echo more")["sandbox"] == ran["sandbox"]
    assert not again.asked
    (there,) = hub.jobs.all.values()
    assert there.body["timeoutSeconds"] == 7200
    assert there.body["environment"]["SBX_IDLE_TIMEOUT"] == "600"
    assert list(there.body["secrets"]) == ["SBX_TOKEN"]
    assert "hf_ada" not in str(there.body)
    there.end(ran=61)
    settled = at.wait_for(MoneySettled)
    assert settled.micro_usd == -(-2 * (10_020 + PORT_MICRO_USD_PER_HOUR) // 60)


def test_another_flavor_is_another_machine_and_another_question(hub: FakeHub, sit: Sit) -> None:
    sandbox_run(sit(), "true")
    second = sit()
    sandbox_run(second, "true", flavor="t4-small")
    assert len(second.asked) == 1
    assert [there.body["flavor"] for there in hub.jobs.all.values()] == ["cpu-basic", "t4-small"]


def test_a_refused_sandbox_runs_nothing(hub: FakeHub, at: Places, tmp_path: Path) -> None:
    no = desk(folder=tmp_path, jobs=at.jobs, answer="no", sign=at.contract)
    with pytest.raises(Refused):
        sandbox_run(no, "true")
    assert not hub.jobs.all
    assert not hub.sandboxes.commands


def test_files_go_in_and_out(hub: FakeHub, sit: Sit, tmp_path: Path) -> None:
    sandbox_run(sit(), "true")
    sandbox_file(sit(), "write", "/data/in.txt", text="größe\n")
    assert sandbox_file(sit(), "read", "/data/in.txt") == "größe\n"
    assert sandbox_file(sit(), "list", "/data") == [{"name": "in.txt", "type": "file", "bytes": 8}]
    at = sit()
    path = sandbox_file(at, "fetch", "/data/in.txt")["path"]
    assert (tmp_path / path).read_text() == "größe\n"
    assert isinstance(at.cards[0], FileMade)
    with pytest.raises(Problem, match="no such file"):
        sandbox_file(sit(), "read", "/absent")
    for bad in ("data", "/data/..", "/data/.hidden", "/a\0"):
        with pytest.raises(Problem):
            sandbox_file(sit(), "fetch", bad)


def test_without_a_sandbox_there_are_no_files(sit: Sit) -> None:
    with pytest.raises(Problem, match="No sandbox is running"):
        sandbox_file(sit(), "list", "/")


def test_a_job_is_no_sandbox(hub: FakeHub, sit: Sit) -> None:
    job = job_run(sit(), "print(1)", flavor="cpu-basic", wait=False)["job"]
    with pytest.raises(Problem, match="no sandbox"):
        sandbox_file(sit(), "list", "/", sandbox=job)


def test_a_command_that_takes_too_long_is_ended_and_told(sit: Sit) -> None:
    ran = sandbox_run(sit(), "echo begun; sleep 30", seconds=1)
    assert (ran["exit_code"], ran["timed_out"], ran["stdout"]) == (None, True, "begun\n")


def test_output_is_bounded(sit: Sit) -> None:
    ran = sandbox_run(sit(), "head -c 3000000 /dev/zero | tr '\\0' x; echo end")
    assert ran["stdout"].endswith("xend\n")
    assert len(ran["stdout"]) == 8_000


def test_stop_is_heeded_while_a_command_is_silent_and_ends_the_machine(hub: FakeHub, at: Places, sit: Sit) -> None:
    sandbox_run(sit(), "true")
    stopped = sit()
    threading.Timer(0.2, stopped.stop.set).start()
    with pytest.raises(Stopped):
        sandbox_run(stopped, "sleep 30")
    at.jobs.cancel_open()
    (there,) = hub.jobs.all.values()
    assert there.stage == "CANCELED"


def test_a_sandbox_that_ends_under_a_command_is_a_problem(hub: FakeHub, at: Places, sit: Sit) -> None:
    sandbox_run(sit(), "true")
    (there,) = hub.jobs.all.values()

    def end() -> None:
        until(lambda: len(hub.sandboxes.commands) == 2)
        there.end("ERROR")

    threading.Thread(target=end).start()
    with pytest.raises(Problem, match="does not answer"):
        sandbox_run(sit(), "sleep 30")
    assert sandbox_run(sit(), "echo new")["stdout"] == "new\n"
    assert len(hub.jobs.all) == 2


def test_one_that_never_starts_is_told_why(hub: FakeHub, sit: Sit) -> None:
    hub.jobs.plays = lambda job: job.end("ERROR", message="image not found")
    with pytest.raises(Problem, match="image not found"):
        sandbox_run(sit(), "true")


def test_a_token_in_a_command_is_refused(sit: Sit) -> None:
    at = sit()
    with pytest.raises(Problem, match="looks like a token"):
        sandbox_run(at, "export HF_TOKEN=hf_" + "a" * 34)
    assert not at.asked


# --- the sweep ------------------------------------------------------------------------------------


def test_a_sandbox_that_its_session_forgot_is_swept(hub: FakeHub, at: Places, sit: Sit) -> None:
    sandbox_run(sit(), "true")
    (there,) = hub.jobs.all.values()
    hub.jobs.skew = 200  # the Hub's clock goes on; ours is not asked
    assert sweep(at.client(), "ada", {"s1"}.__contains__, open_labels={"s1-c1"}) == []
    assert sweep(at.client(), "ada", {"another"}.__contains__, open_labels=()) == []
    assert not there.over
    assert sweep(at.client(), "ada", {"s1"}.__contains__, open_labels=()) == [f"ada/{there.id}"]
    assert there.stage == "CANCELED"


def test_none_survives_its_limit_even_of_a_session_that_is_gone(hub: FakeHub, at: Places, sit: Sit) -> None:
    sandbox_run(sit(), "true", lifetime="1h")
    (there,) = hub.jobs.all.values()
    hub.jobs.skew = 3600 + 121
    assert sweep(at.client(), "ada", lambda _: False, open_labels=()) == [f"ada/{there.id}"]


def test_the_sweep_leaves_jobs_alone(hub: FakeHub, at: Places, sit: Sit) -> None:
    job_run(sit(), "print(1)", flavor="cpu-basic", wait=False)
    hub.jobs.skew = 1e6
    assert sweep(at.client(), "ada", {"s1"}.__contains__, open_labels=()) == []


def test_a_crash_while_a_sandbox_starts_leaves_it_known(hub: FakeHub, at: Places, sit: Sit, tmp_path: Path) -> None:
    sandbox_run(sit(), "true")
    cut = next(entry.seq for entry in at.entries if isinstance(entry.event, JobSubmitting))
    after = Places(hub, tmp_path, at.entries[:cut])
    assert "started after all" in after.wait_for(Noticed).text
    row = until(lambda: next(iter(after.jobs.list()), None))
    after.jobs.cancel(row.job)
    after.wait_for(MoneySettled)
    assert after.books.ledger.compute.held == 0
    after.jobs.close()


def test_cancelling_gives_the_rest_of_the_money_back(hub: FakeHub, at: Places, sit: Sit) -> None:
    job = sandbox_run(sit(), "true", lifetime="24h")["sandbox"]
    told = job_cancel(sit(), job)
    assert told["status"] == "cancelled"
    assert at.books.ledger.free("compute") > BUDGET - 1_000


def test_a_sandbox_that_costs_more_now_is_not_started(hub: FakeHub, at: Places, sit: Sit, tmp_path: Path) -> None:
    def dearer(request: Spend) -> object:
        hub.jobs.hardware[0]["unitCostMicroUSD"] = 200
        return at.contract(request)

    with pytest.raises(Problem, match="was agreed"):
        sandbox_run(desk(folder=tmp_path, jobs=at.jobs, sign=dearer), "true")  # type: ignore[arg-type]
    assert not hub.jobs.all


def test_a_lost_answer_starts_no_second_sandbox(hub: FakeHub, sit: Sit) -> None:
    hub.faults.append(Fault("/api/jobs/ada$", method="POST", after=True, status=500, times=1))
    assert sandbox_run(sit(), "echo one")["stdout"] == "one\n"
    assert len(hub.jobs.all) == 1
