"""The tools for jobs on Hugging Face: what they ask for, and what the model reads."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.desk import RecordingDesk, desk
from tests.doubles.hub import FakeHub, Job
from tests.doubles.jobs import Places
from tools.cards import Spend
from tools.jobs import job_cancel, job_logs, job_metrics, job_run, job_schedule, job_status, job_wait, jobs_list
from tools.problem import Problem, Stopped


@pytest.fixture
def at(hub: FakeHub, tmp_path: Path) -> Iterator[Places]:
    places = Places(hub, tmp_path, secrets={"WANDB_API_KEY": "k3y-of-the-kettle"})
    yield places
    places.jobs.close()


@pytest.fixture
def sit(at: Places, tmp_path: Path) -> Callable[[], RecordingDesk]:
    """A desk of its own for each call."""
    calls = iter(range(1, 100))

    def new() -> RecordingDesk:
        call = f"c{next(calls)}"
        return desk(folder=tmp_path, jobs=at.jobs, sign=lambda request: at.contract(request, call))

    return new


def trains(job: Job) -> None:
    job.run().say("Downloading torch (800MiB)", "Installed 12 packages in 3s")
    job.say(*(f"{{'step': {n}, 'loss': {1 / n:.3f}}}" for n in range(1, 101)))
    job.end(ran=90)


def test_the_card_says_who_pays_what_on_which_machine_with_which_token(
    hub: FakeHub, sit: Callable[[], RecordingDesk]
) -> None:
    hub.jobs.plays = trains
    at = sit()
    result = job_run(
        at,
        "print(1)",
        title="Train",
        where="jobs",
        flavor="l4x1",
        timeout="1h",
        dependencies=["torch"],
        secrets=["WANDB_API_KEY"],
        volumes=["hf://datasets/ada/pets:/data"],
        labels={"task": "sft"},
        expected="6m",
        why="the cheapest that fits",
    )
    (asked,) = at.asked
    assert isinstance(asked, Spend)
    assert (asked.namespace, asked.flavor, asked.token, asked.secrets) == ("ada", "l4x1", "none", ("WANDB_API_KEY",))
    assert (asked.hold_micro_usd, asked.likely_micro_usd) == (799_980, 79_998)
    assert (asked.volumes, asked.outputs, asked.why) == (
        ("datasets/ada/pets:/data",),
        "ada/ml-intern",
        "the cheapest that fits",
    )
    assert "kettle" not in asked.model_dump_json()
    (there,) = hub.jobs.all.values()
    assert there.body["volumes"] == [
        {"type": "dataset", "source": "ada/pets", "mountPath": "/data", "readOnly": True},
        {"type": "bucket", "source": "ada/ml-intern", "mountPath": "/outputs", "readOnly": False, "path": "s1-c1"},
    ]
    assert hub.buckets.made == {"ada/ml-intern": {"visibility": "private"}}
    assert there.body["labels"]["task"] == "sft"
    assert there.body["command"][-1] == "--with=torch"
    assert (result["status"], result["seconds"]) == ("completed", 90)
    assert result["outputs"] == "hf://buckets/ada/ml-intern/s1-c1"


def alerts(job: Job) -> None:
    job.run().say("{'step': 1, 'loss': 0.5}", "[TRACKIO WARN] Odd: only one class (step 1)").end(ran=60)


def test_a_tracked_job_says_on_its_card_which_dashboard_is_made_and_returns_its_alerts(
    hub: FakeHub, sit: Callable[[], RecordingDesk]
) -> None:
    hub.jobs.plays = alerts
    at = sit()
    result = job_run(at, "print(1)", flavor="l4x1", track="Pet names", outputs=False)
    (asked,) = at.asked
    assert isinstance(asked, Spend)
    assert (asked.track, asked.dashboard) == ("pet-names", "ada/ml-intern-trackio-pet-names")
    assert asked.dependencies == ("trackio==0.43.0",)
    assert (asked.token, asked.secrets) == ("none", ())
    raised = [{"level": "warn", "text": "Odd: only one class", "step": 1}]
    assert result["alerts"] == raised
    status = job_status(at, result["job"])
    assert status["alerts"] == job_metrics(at, result["job"])["alerts"] == raised
    assert "no plan or credits for the Space" in status["dashboard"]
    again = sit()
    job_run(again, "print(1)", flavor="l4x1", track="pet-names", dependencies=["trackio>=0.40"])
    assert isinstance(again.asked[0], Spend)
    assert again.asked[0].dependencies == ("trackio>=0.40",)
    assert again.asked[0].outputs == "ada/ml-intern"


def test_the_outputs_of_a_second_job_go_into_the_same_bucket(hub: FakeHub, sit: Callable[[], RecordingDesk]) -> None:
    hub.jobs.plays = trains
    for _ in range(2):
        assert job_run(sit(), "print(1)", flavor="l4x1")["status"] == "completed"
    assert list(hub.buckets.made) == ["ada/ml-intern"]


def test_what_a_schedule_will_probably_cost_counts_all_its_runs(sit: Callable[[], RecordingDesk]) -> None:
    at = sit()
    job_schedule(at, "print(1)", "@daily", runs=3, flavor="l4x1", timeout="1h", expected="6m")
    (asked,) = at.asked
    assert isinstance(asked, Spend)
    assert (asked.hold_micro_usd, asked.likely_micro_usd) == (3 * 799_980, 3 * 79_998)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"flavor": ""}, "needs a flavor"),
        ({"flavor": "h900"}, "no hardware 'h900'"),
        ({"namespace": "bo"}, "'bo' does not pay"),
        ({"secrets": ["OPENAI_KEY"]}, "no secret OPENAI_KEY"),
        ({"secrets": ["hf_" + "a" * 34]}, "takes names"),
        ({"volumes": ["../etc:/data"]}, "names no volume"),
        ({"volumes": ["ada/x:/outputs"]}, "names no volume"),
        ({"labels": {"ml-intern": "x"}}, "cannot be set"),
        ({"labels": {"a b": "x"}}, "cannot be set"),
        ({"nodes": 0}, "0 machines"),
        ({"track": "…"}, "cannot be called '…'"),
        ({"track": "registry-x"}, "cannot be called"),
        ({"track": "x" * 41}, "cannot be called"),
        ({"volumes": ["ada/x:/trackio/inbox"]}, "names no volume"),
        ({"where": "here"}, "Nothing can be run on 'here'"),
    ],
)
def test_what_cannot_be_had_is_a_problem_before_anybody_is_asked(
    hub: FakeHub, sit: Callable[[], RecordingDesk], given: dict[str, Any], says: str
) -> None:
    at = sit()
    with pytest.raises(Problem, match=says) as raised:
        job_run(at, "print(1)", **{"where": "jobs", "flavor": "l4x1", **given})
    assert not at.asked
    assert "aaaa" not in str(raised.value)
    assert not hub.jobs.all


def test_an_organisation_pays_only_when_it_is_named(hub: FakeHub, sit: Callable[[], RecordingDesk]) -> None:
    hub.people["ada"]["orgs"] = [{"id": "1", "name": "kettles", "fullname": "Kettles"}]
    for namespace, payer in (("", "ada"), ("kettles", "kettles")):
        at = sit()
        job_run(at, "print(1)", flavor="cpu-basic", namespace=namespace, wait=False)
        assert isinstance(at.asked[0], Spend)
        assert at.asked[0].namespace == payer
    assert [there.namespace for there in hub.jobs.all.values()] == ["ada", "kettles"]


def test_a_job_gets_the_users_token_only_when_the_card_says_so(hub: FakeHub, sit: Callable[[], RecordingDesk]) -> None:
    at = sit()
    job_run(at, "print(1)", flavor="cpu-basic", secrets=["HF_TOKEN"], wait=False)
    assert isinstance(at.asked[0], Spend)
    assert at.asked[0].token == "own"
    assert next(iter(hub.jobs.all.values())).body["secrets"] == {"HF_TOKEN": "hf_ada"}


def test_without_prices_nothing_is_asked(hub: FakeHub, sit: Callable[[], RecordingDesk]) -> None:
    hub.jobs.hardware[1]["unitCostMicroUSD"] = 0
    at = sit()
    with pytest.raises(Problem, match="names no price for t4-small"):
        job_run(at, "print(1)", flavor="t4-small")
    assert not at.asked


def test_a_job_is_watched_by_filters_and_not_by_its_whole_log(hub: FakeHub, sit: Callable[[], RecordingDesk]) -> None:
    hub.jobs.plays = trains
    job = job_run(sit(), "print(1)", flavor="l4x1", wait=False)["job"]
    told = job_wait(sit(), job, "20s")
    assert (told["status"], told["cost_usd"]) == ("completed", 0.026666)
    assert job_logs(sit(), job, tail=2).splitlines() == [
        "[99 earlier lines; narrow with grep]",
        "{'step': 99, 'loss': 0.010}",
        "{'step': 100, 'loss': 0.010}",
    ]
    assert job_logs(sit(), job, grep="'step': 7}|'step': 8,") == "{'step': 8, 'loss': 0.125}"
    assert job_logs(sit(), job, grep="absent") == "No line has that."
    around = job_logs(sit(), job, grep="'step': 7,|'step': 8,|'step': 20,", around=1)
    assert [line.split(",")[0] for line in around.splitlines()] == [
        *(f"{{'step': {n}" for n in (6, 7, 8, 9)),
        "⋯",
        *(f"{{'step': {n}" for n in (19, 20, 21)),
    ]
    found = job_metrics(sit(), job)
    assert found["count"] == 100
    assert len(found["points"]) <= 41
    assert found["points"][-1]["step"] == 100
    assert [row["job"] for row in jobs_list(sit())] == [job]


def test_use_of_a_running_job_is_read_live_and_it_can_be_cancelled(
    hub: FakeHub, sit: Callable[[], RecordingDesk]
) -> None:
    gpu = {"utilization": 90, "memory_used_bytes": 12e9, "memory_total_bytes": 24e9}
    hub.jobs.sample = {"cpu_usage_pct": 8, "memory_used_bytes": 4e9, "memory_total_bytes": 16e9, "gpus": {"a": gpu}}
    job = job_run(sit(), "print(1)", flavor="l4x1", wait=False)["job"]
    next(iter(hub.jobs.all.values())).run()
    now = job_metrics(sit(), job)["now"]
    assert (now["gpu_percent"], now["gpu_memory_gb"], now["memory_percent"]) == (90, 12, 25)
    assert job_status(sit(), job)["status"] == "running"
    assert job_cancel(sit(), job)["status"] == "cancelled"
    assert job_metrics(sit(), job)["now"] == {}


def test_waiting_ends_at_stop(sit: Callable[[], RecordingDesk]) -> None:
    job = job_run(sit(), "print(1)", flavor="l4x1", wait=False)["job"]
    at = sit()
    threading.Timer(0.1, at.stop.set).start()
    with pytest.raises(Stopped):
        job_wait(at, job)


@pytest.mark.parametrize("job", ["", "ada/../x", "here-1", "ada/6a0000"])
def test_jobs_of_others_are_not_reached(sit: Callable[[], RecordingDesk], job: str) -> None:
    for tool in (job_status, job_logs, job_metrics, job_wait, job_cancel):
        with pytest.raises(Problem, match="has no job"):
            tool(sit(), job)


def test_installing_and_progress_bars_are_folded_and_trouble_is_not(
    hub: FakeHub, sit: Callable[[], RecordingDesk]
) -> None:
    said = ["Resolved 3 packages", "Downloading torch", "Building x failed", " 1/9 [00:01<", " 2/9 [00:02<", "x" * 600]

    def installs(job: Job) -> None:
        job.run().say(*said)
        job.end(ran=90)

    hub.jobs.plays = installs
    job = job_run(sit(), "print(1)", flavor="l4x1", wait=False)["job"]
    assert job_wait(sit(), job, "20s")["log"].splitlines() == [
        "⋯ 2 lines of installing, the last: Downloading torch",
        "Building x failed",
        "⋯ 2 lines of progress, the last:  2/9 [00:02<",
        "x" * 500,
    ]


def test_a_job_script_unpacks_and_runs_as_the_hub_would_run_it(
    hub: FakeHub, sit: Callable[[], RecordingDesk], tmp_path: Path
) -> None:
    """The very command and environment that were sent, run by a real shell with a stand-in for uv."""
    script = (
        "print('größer', __import__('os').environ['SEED'], len(__import__('os').environ.get('ML_INTERN_SCRIPTS', '')))"
    )
    job_run(sit(), script, flavor="cpu-basic", env={"SEED": "7"}, dependencies=["torch"], wait=False)
    body = next(iter(hub.jobs.all.values())).body
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\necho "$@"\nexec python3 script.py\n')
    uv.chmod(0o755)
    command = [part.replace("/tmp/job", str(tmp_path / "job")) for part in body["command"]]
    env = {**body["environment"], "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONIOENCODING": "utf-8"}
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert ran.stdout == "run --no-project --with=torch script.py\ngrößer 7 0\n"


def test_several_machines_run_the_script_under_torchrun_with_the_platforms_names(
    hub: FakeHub, sit: Callable[[], RecordingDesk], tmp_path: Path
) -> None:
    script = "# /// script\n# dependencies = ['torch']\n# ///\nprint(1)"
    job_run(sit(), script, flavor="a10g-largex2", nodes=2, wait=False)
    second = list(hub.jobs.all.values())[1].body
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\necho "$@"\n')
    uv.chmod(0o755)
    command = [part.replace("/tmp/job", str(tmp_path / "job")) for part in second["command"]]
    env = {**second["environment"], "PATH": f"{tmp_path}:{os.environ['PATH']}", "HF_NETWORK_GROUP_PREFIX": "grp-"}
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [
        *("run", "--no-project", "--with-requirements=script.py", "--", "torchrun"),
        *("--nnodes=2", "--node-rank=1", "--nproc-per-node=gpu"),
        *("--master-addr", "grp-node-0", "--master-port", "29500", "script.py"),
    ]
