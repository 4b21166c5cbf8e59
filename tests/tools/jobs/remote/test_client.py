"""The client of HF Jobs: what an account lacks, odd answers, and what is read of a job."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doubles.hub import FakeHub, Fault
from tests.doubles.jobs import FAST, spend
from tools.jobs.prices import Prices
from tools.jobs.remote.client import JobsHub, Submission
from tools.jobs.remote.jobs import HubJobs
from tools.problem import MaybeStarted, NotThere, Problem


@pytest.fixture
def client(hub: FakeHub) -> JobsHub:
    return JobsHub("hf_ada", hub.url, 'run it with where="here"')


def small(**more: object) -> Submission:
    values = {
        "namespace": "ada",
        "image": "python:3.12",
        "command": ["true"],
        "env": {},
        "secrets": {},
        "flavor": "cpu-basic",
        "timeout_seconds": 60,
        "labels": {"ml-intern": "s1-c1"},
    }
    return Submission(**{**values, **more})  # type: ignore[arg-type]


Call = Callable[[JobsHub, str], object]
CALLS: dict[str, Call] = {
    "submit": lambda client, job: client.submit(small()),
    "inspect": lambda client, job: client.inspect("ada", job),
    "list": lambda client, job: client.labelled("ada", "ml-intern", "s1-c1"),
    "cancel": lambda client, job: client.cancel("ada", job),
    "log": lambda client, job: list(client.log("ada", job, 1.0, stop=threading.Event())),
    "bucket": lambda client, job: client.make_bucket("ada/ml-intern"),
    "hardware": lambda client, job: client.hardware(),
    "payers": lambda client, job: client.payers(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize(
    ("status", "says"),
    [(402, "billing|paid"), (403, "may not"), (429, "wait 7 s"), (500, "trouble"), (503, "trouble"), (418, "refused")],
)
def test_every_refusal_of_every_call_is_told_in_words(
    hub: FakeHub, client: JobsHub, call: Call, status: int, says: str
) -> None:
    job = client.submit(small())
    hub.faults.append(Fault("/api/", status=status, headers={"retry-after": "7"}, body=b'{"error": "no such luck"}'))
    if call is CALLS["bucket"] and status == 403:  # the library looks whether it is there all the same
        hub.faults[0].times = 1
        hub.faults.append(Fault("/api/buckets", status=403))
    with pytest.raises(Problem, match=f"(?i){says}") as raised:
        call(client, job)
    assert "hf_ada" not in str(raised.value)
    if status == 402:
        assert "no such luck" in str(raised.value)


def test_a_bucket_that_is_there_already_is_good(hub: FakeHub, client: JobsHub) -> None:
    for _ in range(2):
        client.make_bucket("ada/ml-intern")
    assert list(hub.buckets.made) == ["ada/ml-intern"]


ODD = [b"", b"<html>", b"[]", b"{}", b"null", b"3", b'{"id": 3}', b'{"id": "x", "status": []}', b"[" * 100_000]


@pytest.mark.parametrize("body", ODD)
@pytest.mark.parametrize("call", [name for name in CALLS if name not in ("cancel", "log", "bucket")])
def test_an_answer_that_makes_no_sense_is_a_problem_or_nothing(
    hub: FakeHub, client: JobsHub, call: str, body: bytes
) -> None:
    job = client.submit(small())
    hub.faults.append(Fault("/api/", status=200, body=body))
    try:
        found = CALLS[call](client, job)
    except Problem:
        return
    assert found in ([], ())


@pytest.mark.parametrize(
    "odd",
    [
        {"startedAt": "soon", "finishedAt": 7},
        {"durations": "long", "labels": [1], "secrets": 5, "volumes": {"a": 1}, "timeout": "1h"},
        {"durations": {"runningSecs": -1}, "status": {"stage": "RUNNING", "message": 5, "exposeUrls": "x"}},
        {"durations": {"runningSecs": 1e300}},
    ],
)
def test_an_odd_field_costs_that_field_and_no_more(hub: FakeHub, client: JobsHub, odd: dict[str, object]) -> None:
    job = client.submit(small())
    there = hub.jobs.all[job].as_json() | odd
    hub.faults.append(Fault("/api/jobs", status=200, body=json.dumps(there).encode()))
    facts = client.inspect("ada", job)
    assert facts.id == job
    assert facts.running_seconds is None


def test_an_unknown_job_and_one_of_others_are_not_there(hub: FakeHub, client: JobsHub) -> None:
    job = client.submit(small())
    with pytest.raises(NotThere):
        client.inspect("ada", "6a00")
    with pytest.raises(Problem, match="may not"):
        JobsHub("hf_bo", hub.url).inspect("ada", job)
    with pytest.raises(Problem, match=r"valid token|does not show"):
        JobsHub("", hub.url).inspect("ada", job)


def test_a_label_is_found_on_any_page_and_only_whole(hub: FakeHub, client: JobsHub) -> None:
    hub.jobs.page = 3
    jobs = [client.submit(small()) for _ in range(8)]
    client.submit(small(labels={"ml-intern": "s1-c11"}))
    assert {job.id for job in client.labelled("ada", "ml-intern", "s1-c1")} == set(jobs)


def test_a_list_that_leads_elsewhere_is_not_followed(hub: FakeHub, client: JobsHub) -> None:
    link = {"link": '<https://example.invalid/api/jobs/ada?cursor=2>; rel="next"'}
    hub.faults.append(Fault("/api/jobs/ada", status=200, body=b"[]", headers=link))
    with pytest.raises(Problem, match="leads elsewhere"):
        client.labelled("ada", "a", "b")


def test_a_server_that_cannot_be_reached_has_started_nothing() -> None:
    nobody = JobsHub("hf_ada", "http://127.0.0.1:9")
    with pytest.raises(Problem, match="cannot be reached") as raised:
        nobody.submit(small())
    assert not isinstance(raised.value, MaybeStarted)


def test_events_too_long_or_broken_are_left_out(hub: FakeHub, client: JobsHub) -> None:
    job = client.submit(small())
    event = b'data: {"timestamp": "t", "data": "%s"}\n\n'
    body = b"".join(
        [event % b"one", event % (b"x" * 300_000), b"data: {broken\n\n", b": ping\n\n", b"data: 3\n", event % b"two"]
    )
    hub.faults.append(Fault("/api/jobs/ada", status=200, body=body))
    lines = [line for line in client.log("ada", job, 1.0, stop=threading.Event()) if line]
    assert lines == [("t", "one"), ("t", "two")]


def test_a_log_line_of_many_lines_is_one(hub: FakeHub, tmp_path: Path, client: JobsHub) -> None:
    place = HubJobs(tmp_path, lambda: client, Prices(client.hardware), pace=FAST)
    job = place.start("s1-c1", spend())
    (there,) = hub.jobs.all.values()
    there.say("a\r\n", "b\nc", "\ud83d\ude80 rocket", "", "half \ud83d").end()
    while place.state(job).status == "running":
        pass
    assert place.read(job, 0)[0] == "a\nb c\n🚀 rocket\n\nhalf ?\n"
    place.close()


def test_a_log_of_many_lines_is_read_in_bounded_pieces(hub: FakeHub, tmp_path: Path, client: JobsHub) -> None:
    place = HubJobs(tmp_path, lambda: client, Prices(client.hardware), pace=FAST)
    job = place.start("s1-c1", spend())
    (there,) = hub.jobs.all.values()
    there.say(*(f"line {n} {'x' * 400}" for n in range(4_000))).end()
    while place.state(job).status == "running":
        threading.Event().wait(0.02)
    lines, mark, pieces = 0, 0, 0
    while True:
        text, after = place.read(job, mark)
        if after == mark:
            break
        assert len(text) <= 256 * 1024
        lines, mark, pieces = lines + text.count("\n"), after, pieces + 1
    assert (lines, pieces > 5) == (4_000, True)
    place.close()


def test_submissions_never_show_their_secrets() -> None:
    assert "kettle" not in repr(small(secrets={"KEY": "k3y-of-the-kettle"}))
    assert "hf_ada" not in repr(JobsHub("hf_ada", "http://127.0.0.1:9"))


@pytest.mark.parametrize(
    "job", ["", "ada", "ada/", "/x", "ada/../../whoami-v2", "ada/x?y", "a b/c", "here-0123456789abcdef"]
)
def test_an_id_that_is_none_is_a_problem(tmp_path: Path, client: JobsHub, job: str) -> None:
    place = HubJobs(tmp_path, lambda: client, Prices(client.hardware))
    for ask in (place.state, place.cancel, place.url, place.metrics, lambda job: place.read(job, 0)):
        with pytest.raises(Problem, match="There is no job"):
            ask(job)
