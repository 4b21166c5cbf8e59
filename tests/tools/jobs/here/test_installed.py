"""Jobs on this machine whose packages are installed already: nothing is downloaded, nothing more is lent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.jobs.here.test_jobs import end_of, log_of, spend
from tools.jobs.here.installed import Lent, Missing, look
from tools.jobs.here.jobs import LocalJobs
from tools.jobs.metrics import points

NOWHERE = "no-such-uv"


def dist(folder: Path, name: str, version: str = "1.0", requires: str = "", **files: str) -> None:
    """A distribution as an installer leaves it."""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
    name = name.replace("-", "_")
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text("")
    (info / "METADATA").write_text(metadata)
    for file, text in files.items():
        (info / file.replace("__", ".")).write_text(text)
    (info / "RECORD").write_text(f"{name}/__init__.py,,\n{info.name}/METADATA,,\n{info.name}/RECORD,,\n")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages that this Python looks into."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_a_job_runs_with_what_is_installed_and_sees_no_more(tmp_path: Path) -> None:
    script = (
        "import sys, httpx2, importlib.metadata as m\nprint(m.version('httpx2'), sys.prefix, sys.dont_write_bytecode)\n"
        "import subprocess\nprint('child', subprocess.check_output(['python', '-c', 'import httpx2; print(1)']))\n"
        "try:\n    import pydantic\nexcept ModuleNotFoundError as error:\n    print(error)\n"
    )
    jobs = LocalJobs(tmp_path, uv=str(tmp_path / NOWHERE))
    job = jobs.start("a", spend(script, dependencies=("httpx2>=1",)))
    end = end_of(jobs, job)
    log = log_of(jobs, job)
    assert end.status == "completed", log
    said, rest = log.split("\n", 1)
    assert said.startswith("Nothing is downloaded, these are installed here: httpx2==")
    assert f"jobs/{job}/env True" in rest
    assert "child b'1\\n'" in rest
    assert "No module named 'pydantic'" in rest
    assert end.files == ()  # links to packages are none of its files


def test_a_program_of_a_package_can_be_run(tmp_path: Path) -> None:
    script = "import subprocess\nprint(subprocess.check_output(['idna', '--help'], text=True))"
    jobs = LocalJobs(tmp_path, uv=str(tmp_path / NOWHERE))
    job = jobs.start("a", spend(script, dependencies=("idna",)))
    assert end_of(jobs, job).status == "completed", log_of(jobs, job)
    assert "usage: python -m idna" in log_of(jobs, job)


def test_a_job_with_installed_packages_gets_no_secret_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "q" * 34)
    jobs = LocalJobs(tmp_path)
    script = "import os\nprint(dict(os.environ), os.path.expanduser('~'))"
    job = jobs.start("a", spend(script, dependencies=("idna",), env={"SEED": "7"}))
    assert end_of(jobs, job).status == "completed"
    log = log_of(jobs, job)
    assert "'SEED': '7'" in log
    assert "qqqq" not in log
    assert "PYTHONPATH" not in log
    assert log.rstrip().endswith(job)  # its home is its folder


def test_what_is_not_installed_is_uvs_and_the_log_says_what_is_missing(tmp_path: Path) -> None:
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\necho "$@"\n')
    uv.chmod(0o755)
    jobs = LocalJobs(tmp_path, uv=str(uv))
    job = jobs.start("a", spend("1", dependencies=("idna", "no-such-package-here>=2")))
    assert end_of(jobs, job).status == "completed"
    said, ran = log_of(jobs, job).splitlines()
    assert said == "uv installs what is needed: no-such-package-here is not installed here."
    assert ran.startswith("run --no-project")
    assert "--with=idna --with=no-such-package-here>=2" in ran


def test_cancel_ends_a_job_with_installed_packages(tmp_path: Path) -> None:
    jobs = LocalJobs(tmp_path)
    job = jobs.start("a", spend("import time\ntime.sleep(60)", dependencies=("idna",)))
    jobs.cancel(job)
    assert jobs.state(job).status == "cancelled"


def test_the_first_line_of_a_log_is_no_measurement(here: Path) -> None:
    dist(here, "rouge-score", "0.1")
    lent = look(["rouge-score"])
    assert isinstance(lent, Lent)
    assert points(f"installed here: {', '.join(lent.asked)}.\nuv installs: rouge-score==0.1 is here, not ==0.2") == ()


def test_extras_and_needs_of_needs_are_looked_at(here: Path) -> None:
    dist(here, "top", requires="Provides-Extra: more\nRequires-Dist: middle\nRequires-Dist: gone; extra == 'more'\n")
    dist(here, "middle", requires="Requires-Dist: bottom>=2\nRequires-Dist: never; sys_platform == 'none'\n")
    dist(here, "bottom", "2.1+cpu", requires="Requires-Dist: top\n")  # a circle
    lent = look(["Top", "bottom==2.1"])
    assert isinstance(lent, Lent)
    assert {"top", "middle", "bottom", "bottom-2.1+cpu.dist-info"} <= set(lent.links)
    assert lent.asked == ("top==1.0", "bottom==2.1+cpu")
    assert look(["top[more]"]) == Missing("gone is not installed here")
    assert look(["top[other]"]) == Missing("the installed top knows no extra other")


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("bottom>3", "bottom==2.0 is installed here, not >3"),
        ("bottom @ https://files.test/bottom.whl", "bottom is asked for from an address"),
        ("needy", "what needy needs cannot be read"),
        ("old", "bottom==2.0 is installed here, not <2"),
        ("linked", "linked is not installed as a whole here"),
        ("half", "half is installed here without its half"),
        ("bottom; rm", "cannot be told: Expected"),
        ("versionless", "versionless is not installed as a whole"),
        ("legacy>=1", "legacy"),
        ("unreadable", "unreadable"),
    ],
)
def test_what_does_not_fit_is_left_to_uv(here: Path, asked: str, why: str) -> None:
    dist(here, "bottom", "2.0")
    dist(here, "needy", requires="Requires-Dist: ???\n")
    dist(here, "old", requires="Requires-Dist: bottom<2\n")
    dist(here, "linked", direct_url__json='{"url": "file:///x", "dir_info": {"editable": true}}')
    dist(here, "versionless", METADATA="Name: versionless\n")
    dist(here, "legacy", "1.0-custom-x")
    dist(here, "unreadable")
    (here / "unreadable-1.0.dist-info" / "METADATA").write_bytes(b"\xff\xfe Name")
    dist(here, "half")
    (here / "half" / "__init__.py").unlink()
    (here / "half").rmdir()
    found = look([asked])
    assert isinstance(found, Missing)
    assert why in found.what


def test_a_script_that_names_its_packages_itself_is_uvs(here: Path) -> None:
    dist(here, "bottom")
    assert isinstance(look(["bottom"], "# /// script\n# dependencies = ['x']\n# ///\n"), Missing)
    assert isinstance(look(["bottom"], "print('# /// script')"), Lent)
