"""What a job on this machine left: the same tool reads it, and follows no link out of the job's folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.desk import RecordingDesk, desk
from tools.jobs.here.outputs import OutputsHere
from tools.jobs.output import job_output
from tools.problem import Problem

JOB = "here-0123456789abcdef"


class One:
    """A session whose only job is this one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def outputs(self, job: str) -> OutputsHere:
        return OutputsHere(self._folder / "jobs" / job / "work", f"jobs/{job}/work/")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    work = tmp_path / "jobs" / JOB / "work"
    (work / "model").mkdir(parents=True)
    (work / "model" / "weights.json").write_text("[1, 2]")
    (work / ".cache").mkdir()
    (work / ".cache" / "x").write_text("hidden")
    (tmp_path / "jobs" / JOB / "job.json").write_text("not the job's")
    return work


def sit(folder: Path) -> RecordingDesk:
    jobs: Any = One(folder)
    return desk(folder=folder, jobs=jobs)


def test_its_files_are_listed_read_and_fetched(work: Path, tmp_path: Path) -> None:
    assert job_output(sit(tmp_path), JOB)["files"] == [{"path": "model/weights.json", "bytes": 6}]
    for path in ("model/weights.json", f"jobs/{JOB}/work/model/weights.json"):  # as job_run names it, too
        assert job_output(sit(tmp_path), JOB, path) == "[1, 2]"
        fetched = job_output(sit(tmp_path), JOB, path, save=True)
        assert fetched == {"path": f"uploads/{JOB}/model/weights.json", "bytes": 6}
        assert (tmp_path / fetched["path"]).read_text() == "[1, 2]"


@pytest.mark.parametrize("path", ["link", "folder/secret", "pipe", "model", "../job.json", f"jobs/{JOB}/job.json", ""])
def test_nothing_else_is_reached(work: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (work / "link").symlink_to(tmp_path / "secret")
    (work / "folder").symlink_to(tmp_path)
    os.mkfifo(work / "pipe")
    if not path:
        assert len(job_output(sit(tmp_path), JOB)["files"]) == 1
        return
    for save in (False, True):
        with pytest.raises(Problem):
            job_output(sit(tmp_path), JOB, path, save=save)


def test_a_folder_full_of_files_is_told_as_not_whole(work: Path, tmp_path: Path) -> None:
    for n in range(300):
        (work / f"{n}.txt").write_text("x")
    listed = job_output(sit(tmp_path), JOB)
    assert (len(listed["files"]), listed["whole"]) == (200, False)
