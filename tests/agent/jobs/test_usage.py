"""What a running job uses of its machine is told while it runs, here and on Hugging Face."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.job_events import JobEnded, JobUsed
from agent.jobs.usage import tell_usage
from tests.doubles.hub import FakeHub, Fault
from tests.doubles.jobs import FAST, Places, until
from tools.cards import Spend
from tools.jobs.here.jobs import LocalJobs
from tools.jobs.here.words import HERE
from tools.problem import Problem

SAMPLE = {
    "cpu_usage_pct": 8,
    "memory_used_bytes": 4e9,
    "memory_total_bytes": 16e9,
    "gpus": {"a": {"utilization": 90, "memory_used_bytes": 12e9, "memory_total_bytes": 24e9}},
}
BUSY = "import time\nheld = bytearray(200_000_000)\nwhile True:\n    sum(range(100_000))\n"


@pytest.fixture
def at(hub: FakeHub, tmp_path: Path) -> Iterator[Places]:
    places = Places(hub, tmp_path, pace=replace(FAST, usage=0.03))
    yield places
    places.jobs.close()


def test_what_a_job_on_hugging_face_uses_is_told_until_it_ends(hub: FakeHub, at: Places) -> None:
    hub.jobs.sample = SAMPLE
    contract = at.contract()
    job = contract.submit()
    (there,) = hub.jobs.all.values()
    there.run()
    told = at.wait_for(JobUsed)
    assert told.job == job
    assert told.use["gpu_percent"] == 90
    assert (told.use["gpu_memory_gb"], told.use["cpu_percent"], told.use["memory_gb"]) == (12, 8, 4)
    there.end()
    contract.wait()
    names = [type(entry.event) for entry in at.entries]
    assert JobUsed not in names[names.index(JobEnded) :]


def test_trouble_with_what_it_uses_is_no_trouble_of_the_job(hub: FakeHub, at: Places) -> None:
    hub.jobs.sample = SAMPLE
    hub.faults.append(Fault("/api/jobs/ada/*/metrics", status=500, times=3))
    contract = at.contract()
    contract.submit()
    (there,) = hub.jobs.all.values()
    there.run()
    at.wait_for(JobUsed)  # asked again after the trouble
    there.end()
    assert contract.wait().status == "completed"


def test_a_disk_that_is_full_for_a_while_does_not_end_the_look_at_what_it_uses(hub: FakeHub, at: Places) -> None:
    hub.jobs.sample = SAMPLE
    job = at.contract().submit()
    (there,) = hub.jobs.all.values()
    there.run()
    told: list[JobUsed] = []

    def write(event: JobUsed) -> None:
        told.append(event)
        if len(told) == 1:
            raise Problem("The conversation cannot be saved: No space left on device.", "Make room.")

    ended = threading.Event()
    tell_usage(job, at.place, write, ended=ended, closing=threading.Event())
    until(lambda: len(told) > 1)
    ended.set()
    there.end()


def test_a_job_that_is_found_again_is_looked_at_again(hub: FakeHub, at: Places) -> None:
    hub.jobs.sample = SAMPLE
    at.contract().submit()
    (there,) = hub.jobs.all.values()
    there.run()
    at.wait_for(JobUsed)
    again = at.again([entry for entry in at.entries if not isinstance(entry.event, JobUsed)])
    again.wait_for(JobUsed)
    there.end()
    again.wait_for(JobEnded)
    again.jobs.close()


def test_a_job_on_this_machine_is_measured_with_all_its_processes(tmp_path: Path) -> None:
    jobs = LocalJobs(tmp_path)
    request = Spend(title="t", where="here", place=HERE, script=BUSY, timeout_seconds=60, price_micro_usd_per_hour=0)
    job = jobs.start("s1-c1", request)
    told: list[JobUsed] = []
    ended = threading.Event()
    try:
        until(lambda: jobs.metrics(job))
        assert "cpu_percent" in LocalJobs(tmp_path).metrics(job)  # at the very first look, too
        jobs.measures_seconds = 0.2
        tell_usage(job, jobs, told.append, ended=ended, closing=threading.Event())
        busy = until(
            lambda: next(
                (one.use for one in list(told) if one.use.get("cpu_percent") and one.use["memory_gb"] > 0.2), None
            )
        )
        assert 0 < busy["cpu_percent"] <= 100
        assert 0 < busy["memory_percent"] < 100
    finally:
        ended.set()
        jobs.cancel(job)
    assert jobs.metrics(job) == {}
