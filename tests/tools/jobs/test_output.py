"""What a job left: listed, read, fetched; the token stays with the Hub, and nobody's other files are reached."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.events import MoneySettled
from agent.job_events import JobEnded, JobLeft
from tests.doubles.desk import RecordingDesk, desk
from tests.doubles.hub import FakeHub, Fault, Job
from tests.doubles.jobs import Places, spend, until
from tools.cards import FileMade
from tools.jobs import job_run, job_wait
from tools.jobs import output as bounds
from tools.jobs.output import job_output
from tools.jobs.sandbox import sandbox_run
from tools.problem import Problem, Stopped

BUCKET = "ada/ml-intern"
TREE = f"/api/buckets/{BUCKET}/tree/"
Sit = Callable[[], RecordingDesk]


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        fake.jobs.plays = trains
        yield fake


@pytest.fixture
def at(hub: FakeHub, tmp_path: Path) -> Iterator[Places]:
    places = Places(hub, tmp_path, secrets={"WANDB_API_KEY": "k3y-of-the-kettle"})
    yield places
    places.jobs.close()


@pytest.fixture
def sit(at: Places, tmp_path: Path) -> Sit:
    calls = iter(range(1, 100))

    def new() -> RecordingDesk:
        call = f"c{next(calls)}"
        return desk(folder=tmp_path, jobs=at.jobs, sign=lambda request: at.contract(request, call))

    return new


def trains(job: Job) -> None:
    folder = job.body["labels"]["ml-intern"]
    job.run()
    for path, data in (("metrics.json", b'{"loss": 0.5}'), ("model/weights.bin", bytes(range(256)) * 400)):
        job.jobs.hub.buckets.put(BUCKET, f"{folder}/{path}", data)
    job.end(ran=60)


def ran(sit: Sit, **more: Any) -> Any:
    return job_run(sit(), "print(1)", flavor="cpu-basic", **more)


# --- listing ----------------------------------------------------------------------------------------


def test_a_job_that_ends_says_which_files_it_left(hub: FakeHub, at: Places, sit: Sit) -> None:
    hub.buckets.put(BUCKET, "s1-c10/of another job", b"1")
    done = ran(sit)
    files = [{"path": "metrics.json", "bytes": 13}, {"path": "model/weights.bin", "bytes": 102_400}]
    assert done["outputs_files"] == files
    assert job_wait(sit(), done["job"])["outputs_files"] == files
    assert job_output(sit(), done["job"]) == {"files": files, "more": 0, "whole": True}
    (left,) = at.events(JobLeft)
    assert (left.url, left.folder, left.rest, left.whole) == (f"{hub.url}/buckets/{BUCKET}", "s1-c1", 0, True)
    assert [file.model_dump() for file in left.files] == files


def test_of_many_files_the_first_are_told_and_the_others_counted(hub: FakeHub, at: Places, sit: Sit) -> None:
    hub.buckets.page = 100
    for n in range(950):
        hub.buckets.put(BUCKET, f"s1-c1/{n:04}", b"x")
    hub.jobs.plays = lambda job: job.end()
    done = ran(sit)
    assert len(done["outputs_files"]) == 50
    (left,) = at.events(JobLeft)
    assert (len(left.files), left.rest, left.whole) == (200, 750, True)
    hub.buckets.page = 30
    listed = job_output(sit(), done["job"])
    assert (len(listed["files"]), listed["more"], listed["whole"]) == (200, 100, False)


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "file", "path": "s1-c1/../s1-c2/x", "size": 1},
        {"type": "file", "path": "s1-c1//etc/passwd", "size": 1},
        {"type": "file", "path": "s1-c1/a\u202eb", "size": 1},
        {"type": "file", "path": "s1-c1/a\nb", "size": 1},
        {"type": "file", "path": "s1-c1/a\\b", "size": 1},
        {"type": "file", "path": "s1-c1/" + "x" * 600, "size": 1},
        {"type": "file", "path": "s1-c1/negative", "size": -1},
        {"type": "file", "path": "s1-c1/no size"},
        {"type": "directory", "path": "s1-c1/model"},
        {"type": "file", "path": ["s1-c1/x"], "size": 1},
        {"path": "s1-c1/x"},
        "s1-c1/x",
        None,
    ],
    ids=str,
)
def test_an_odd_entry_of_a_listing_is_no_file(hub: FakeHub, sit: Sit, odd: object) -> None:
    hub.buckets.odd = [odd]
    assert [file["path"] for file in ran(sit)["outputs_files"]] == ["metrics.json", "model/weights.bin"]


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 500},
        {"status": 403},
        {"status": 404},
        {"status": 200, "body": b"{}"},
        {"status": 200, "body": b"[" * 100_000},
        {"status": 200, "body": b"[]" + b" " * 400, "cut": True},
        {"status": 200, "body": b"[]" + b" " * 20_000_000},
    ],
    ids=lambda trouble: f"{trouble['status']} {len(trouble.get('body', b''))}",
)
def test_trouble_with_the_listing_is_no_trouble_of_the_job(
    hub: FakeHub, at: Places, sit: Sit, trouble: dict[str, Any]
) -> None:
    hub.faults.append(Fault(TREE, **trouble))
    done = ran(sit)
    assert (done["status"], done["outputs_files"]) == ("completed", [])
    assert len(at.events(MoneySettled)) == 1


def test_a_page_that_leads_to_another_host_is_not_followed(hub: FakeHub, at: Places, sit: Sit) -> None:
    away = {"link": f'<{hub.storage_url}{TREE}s1-c1?cursor=1>; rel="next"'}
    entry = {"type": "file", "path": "s1-c1/a", "size": 1}
    hub.faults.append(Fault(TREE, status=200, body=json.dumps([entry]).encode(), headers=away))
    assert ran(sit)["outputs_files"] == [{"path": "a", "bytes": 1}]
    assert not at.events(JobLeft)[0].whole
    assert all("localhost" not in one.headers["host"] for one in hub.asked)


def test_a_listing_that_would_take_an_hour_is_given_up_and_the_job_was_settled_before(hub: FakeHub, at: Places) -> None:
    hub.faults.append(Fault(TREE, status=200, body=b"[" + b" " * 10_000 + b"]", drip=0.4))
    contract = at.contract(spend(outputs=BUCKET))
    contract.submit()
    until(lambda: any(one.path.startswith(TREE) for one in list(hub.asked)))
    assert at.events(JobEnded)
    assert at.events(MoneySettled)
    end = contract.wait()
    assert (end.status, end.left) == ("completed", ())


def test_what_was_not_listed_before_a_crash_is_listed_after_it(hub: FakeHub, at: Places, sit: Sit) -> None:
    ran(sit)
    settled = next(entry.seq for entry in at.entries if isinstance(entry.event, MoneySettled))
    assert isinstance(at.entries[settled].event, JobLeft)
    again = at.again(at.entries[:settled])
    assert [file.path for file in again.wait_for(JobLeft).files] == ["metrics.json", "model/weights.bin"]
    once = again.again()
    until(lambda: len(once.jobs.list()) == 1)
    assert len(once.events(JobLeft)) == 1
    once.jobs.close()


# --- reading ------------------------------------------------------------------------------------------


def test_a_text_is_read_and_the_token_stays_with_the_hub(hub: FakeHub, sit: Sit) -> None:
    job = ran(sit)["job"]
    assert job_output(sit(), job, "metrics.json") == '{"loss": 0.5}'
    (stored,) = hub.buckets.stored
    assert stored["host"].startswith("localhost:")
    assert "authorization" not in stored
    assert "hf_ada" not in str(stored)
    asked = [one for one in hub.asked if "/resolve/" in one.path]
    assert [one.headers["authorization"] for one in asked] == ["Bearer hf_ada"]


def test_of_a_long_text_the_beginning_is_shown_and_that_is_said(hub: FakeHub, sit: Sit) -> None:
    job = ran(sit)["job"]
    hub.buckets.put(BUCKET, "s1-c1/long.txt", "ä".encode() * 3_000_000)
    shown = job_output(sit(), job, "long.txt")
    assert shown.startswith("ä" * 20_000 + "\n[Only the beginning of 6,000,000 bytes is shown")
    assert len(shown) < 20_200
    hub.buckets.put(BUCKET, "s1-c1/just.txt", "ä".encode() * 20_000)
    assert job_output(sit(), job, "just.txt") == "ä" * 20_000
    hub.buckets.put(BUCKET, "s1-c1/empty.txt", b"")
    assert job_output(sit(), job, "empty.txt") == ""


def test_a_secret_in_a_file_is_not_read_to_anybody(hub: FakeHub, sit: Sit) -> None:
    job = ran(sit, secrets=["WANDB_API_KEY"])["job"]
    told = "x" * 19_990 + "k3y-of-the-kettle hf_" + "a" * 34
    hub.buckets.put(BUCKET, "s1-c1/env.txt", f"hf_{'b' * 34} k3y-of-the-kettle {told}".encode())
    shown = job_output(sit(), job, "env.txt")
    assert shown.startswith("••• ••• xxx")
    assert "kettle" not in shown
    assert "k3y" not in shown
    hub.buckets.put(BUCKET, "s1-c1/full.txt", b"k3y-of-the-kettle " * 100_000)
    assert not job_output(sit(), job, "full.txt").split("\n[Only")[0].replace("••• ", "")


@pytest.mark.parametrize("data", [bytes(range(256)), b"a\0b", b"\xff" * 90_000, "ä".encode()[:1]], ids=len)
def test_what_is_no_text_is_not_shown_as_one(hub: FakeHub, sit: Sit, data: bytes) -> None:
    job = ran(sit)["job"]
    hub.buckets.put(BUCKET, "s1-c1/data", data)
    with pytest.raises(Problem, match="is no text"):
        job_output(sit(), job, "data")


@pytest.mark.parametrize(
    "path",
    ["../s1-c2/secret", "model/../../x", "/etc/passwd", "model//x", "./x", "a\0b", "a\nb", "a\\..\\b", "x" * 600, "a/"],
)
def test_paths_that_lead_astray_are_not_asked_for(hub: FakeHub, sit: Sit, path: str) -> None:
    job = ran(sit)["job"]
    asked = len(hub.asked)
    for save in (False, True):
        with pytest.raises(Problem, match="is no path"):
            job_output(sit(), job, path, save=save)
    assert len(hub.asked) == asked


@pytest.mark.parametrize("path", ["a b/ü?#%.txt", "..hidden/x", "%2e%2e/x"])
def test_unusual_names_are_names(hub: FakeHub, sit: Sit, path: str, tmp_path: Path) -> None:
    job = ran(sit)["job"]
    hub.buckets.put(BUCKET, f"s1-c1/{path}", b"here")
    assert job_output(sit(), job, path) == "here"
    assert (tmp_path / job_output(sit(), job, path, save=True)["path"]).read_bytes() == b"here"


def test_only_this_sessions_jobs_are_reached(hub: FakeHub, sit: Sit) -> None:
    for job in ("", "ada/../x", "ada/6a0000", "here-1"):
        with pytest.raises(Problem, match="has no job"):
            job_output(sit(), job, "metrics.json")
    assert not [one for one in hub.asked if "buckets" in one.path]


def test_what_keeps_nothing_says_so(hub: FakeHub, sit: Sit) -> None:
    job = ran(sit, outputs=False)["job"]
    with pytest.raises(Problem, match="Nothing is kept"):
        job_output(sit(), job)
    hub.jobs.plays = lambda job: job.run()
    box = sandbox_run(sit(), "true")["sandbox"]
    with pytest.raises(Problem, match="sandbox_file"):
        job_output(sit(), box)


# --- fetching -----------------------------------------------------------------------------------------


def test_a_file_is_fetched_to_where_code_can_read_it_and_the_user_too(sit: Sit, tmp_path: Path) -> None:
    job = ran(sit)["job"]
    at = sit()
    fetched = job_output(at, job, "model/weights.bin", save=True)
    assert fetched == {"path": f"uploads/{job.replace('/', '-')}/model/weights.bin", "bytes": 102_400}
    assert (tmp_path / fetched["path"]).read_bytes() == bytes(range(256)) * 400
    assert at.cards == [FileMade(path=fetched["path"], bytes=102_400, job=job)]
    assert job_output(sit(), job, "model/weights.bin", save=True) == fetched  # again: it is replaced


@pytest.mark.parametrize("told", [True, False])
def test_what_is_too_large_is_not_fetched_and_leaves_nothing(
    hub: FakeHub, sit: Sit, tmp_path: Path, told: bool
) -> None:
    job = ran(sit)["job"]
    hub.buckets.told = told
    hub.buckets.put(BUCKET, "s1-c1/large", bytes(bounds.SAVED + 1))
    with pytest.raises(Problem, match="At most 200,000,000 are fetched"):
        job_output(sit(), job, "large", save=True)
    assert not [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]


@pytest.mark.parametrize("save", [False, True])
def test_a_file_that_breaks_off_or_is_not_there_leaves_nothing(
    hub: FakeHub, sit: Sit, tmp_path: Path, save: bool
) -> None:
    job = ran(sit)["job"]
    with pytest.raises(Problem, match="has no file 'gone'"):
        job_output(sit(), job, "gone", save=save)
    hub.buckets.put(BUCKET, "s1-c1/long.txt", b"x" * 200_000)
    hub.buckets.cut = True
    for told in (True, False):
        hub.buckets.told = told
        if save:
            with pytest.raises(Problem):
                job_output(sit(), job, "long.txt", save=True)
    hub.faults.append(Fault(f"/buckets/{BUCKET}/resolve", status=500))
    with pytest.raises(Problem, match="trouble"):
        job_output(sit(), job, "long.txt", save=save)
    assert not [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]


def test_stop_ends_a_slow_fetch(hub: FakeHub, sit: Sit, tmp_path: Path) -> None:
    job = ran(sit)["job"]
    hub.buckets.drip = 0.2
    at = sit()
    threading.Timer(0.5, at.stop.set).start()
    with pytest.raises(Stopped):
        job_output(at, job, "model/weights.bin", save=True)
    assert not [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]


def test_a_file_that_cannot_be_kept_is_a_problem(sit: Sit, tmp_path: Path) -> None:
    job = ran(sit)["job"]
    (tmp_path / "uploads").mkdir(exist_ok=True)
    (tmp_path / "uploads" / job.replace("/", "-")).write_text("in the way")
    with pytest.raises(Problem, match="cannot be kept"):
        job_output(sit(), job, "metrics.json", save=True)


def test_a_place_hides_what_it_knows_from_reprs(at: Places) -> None:
    kept = at.place.outputs("ada/1", "s1-c1", spend(outputs=BUCKET, secrets=("WANDB_API_KEY",)))
    assert "kettle" in str(kept.hide)
    assert "kettle" not in repr(kept)
    assert "hf_ada" not in repr(kept)
