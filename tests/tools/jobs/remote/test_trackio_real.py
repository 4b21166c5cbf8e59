"""The real Trackio, in an environment of its own: a run as a job's environment sets it up, the dashboard's own program over
the bucket's folder, and our reader on the other side of the fake Hub. Nothing of it reaches the network."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from agent.events import Entry, Event
from agent.job_events import JobAlarm, JobAlerted, JobEnded, JobLogged, JobMeasured, JobTracked
from agent.jobs.jobs import Jobs
from agent.money.books import Books
from tests import ROOT
from tests.doubles.hub import FakeHub, FakeTrackio
from tests.doubles.jobs import Places, spend, until
from tools.cards import Spend
from tools.jobs.here.jobs import LocalJobs
from tools.jobs.here.words import HERE
from tools.jobs.metrics import MetricReader
from tools.jobs.remote.launch import submissions
from tools.jobs.remote.trackio import DashboardHub
from tools.jobs.tracking import run_name
from tools.skill import FOLDER

PYTHON = ROOT / ".venv" / "trackio" / "bin" / "python"
SPACE, LABEL = "ada/ml-intern-trackio-pets", "s1-c1"
SPEND = spend(track="pets", dashboard=SPACE)
RUN = run_name(LABEL, SPEND)
SCRIPT = """
import os
import trackio

trackio.init(project=os.environ["TRACKIO_PROJECT"], name=os.environ["TRACKIO_RUN"], config={"lr": 0.1})
for step in range(1, 6):
    trackio.log({"train/loss": 1 / step, "eval/accuracy": 0.5}, step=step)
trackio.alert("Slow", "three steps a minute", level=trackio.AlertLevel.WARN)
trackio.alert("Done", level=trackio.AlertLevel.INFO)
trackio.log({"train/loss": float("nan")}, step=6)
trackio.finish()
"""


@pytest.fixture(scope="module", autouse=True)
def _there() -> None:
    if not PYTHON.exists():
        said = "The real Trackio is not installed: make trackio."
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        fake.people["ada"]["isPro"] = True
        yield fake


def nowhere(hub: FakeHub, home: Path) -> dict[str, str]:
    """An environment without a token, that leads to the fake Hub and to nothing else."""
    home.mkdir(exist_ok=True)
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    return {"PATH": os.defpath, "HOME": str(home), "HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1", **proxies}


def ran(hub: FakeHub, tmp_path: Path, script: str) -> str:
    """Run a script as the job's container would, its mounted folder being a folder of ours; returns what it printed."""
    (part,) = submissions(LABEL, SPEND, {})
    (mounted,) = part.volumes
    bucket = tmp_path / "bucket" / mounted["path"]
    bucket.mkdir(parents=True, exist_ok=True)
    root = tmp_path / "container"
    where = root / str(mounted["mount_path"]).lstrip("/")
    where.parent.mkdir(parents=True, exist_ok=True)
    if not where.exists():
        where.symlink_to(bucket)
    env = {name: value for name, value in part.env.items() if not name.startswith("ML_INTERN")}
    env |= nowhere(hub, tmp_path / "home") | {"TRACKIO_DIR": f"{root}{env['TRACKIO_DIR']}"}
    done = subprocess.run([PYTHON, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(bucket.glob("*/*.jsonl"))
    return done.stdout


@pytest.fixture
def dashboard(hub: FakeHub, tmp_path: Path) -> Iterator[str]:
    """The dashboard's own program, over the bucket's folder, which a Space has at /data."""
    DashboardHub("hf_ada", hub.url).keep_space(SPACE, "pets")
    (tmp_path / "app.py").write_bytes(hub.spaces.files[SPACE]["app.py"])
    told = {name: one["value"] for name, one in hub.spaces.variables[SPACE].items()}
    told["TRACKIO_DIR"] = told["TRACKIO_DIR"].replace("/data", str(tmp_path / "bucket"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = nowhere(hub, tmp_path / "home") | told
    env |= {"GRADIO_SERVER_PORT": str(port), "TRACKIO_INBOX_POLL_INTERVAL": "5", "BROWSER": "true"}
    server = subprocess.Popen(
        [PYTHON, "app.py"], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx2.get(f"{url}/version")
                break
            except httpx2.HTTPError:
                assert server.poll() is None, server.stdout and server.stdout.read().decode()
                time.sleep(0.05)
        hub.spaces.run(SPACE, url)
        yield url
    finally:
        server.kill()
        server.wait()


def test_a_run_without_a_token_comes_back_from_the_dashboard_as_data(
    hub: FakeHub, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    printed = ran(hub, tmp_path, SCRIPT)
    assert hub.asked == []  # the job asked nobody for anything
    request.getfixturevalue("dashboard")
    at = Places(hub, tmp_path / "session")
    at.contract(SPEND).submit()
    (there,) = hub.jobs.all.values()
    there.run().say(*printed.splitlines())
    measured = at.wait_for(JobMeasured)
    assert [point.get("train/loss") for point in measured.points] == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, None]
    assert [point["step"] for point in measured.points] == [1, 2, 3, 4, 5, 6]
    until(lambda: len(at.events(JobAlerted)) == 2)
    assert [(one.level, one.text, one.step, one.source) for one in at.events(JobAlerted)] == [
        ("warn", "Slow: three steps a minute", 5, "log"),
        ("info", "Done", 5, "log"),
    ]
    assert at.wait_for(JobAlarm).rule == "nan"
    assert at.events(JobTracked)[0].url == f"{hub.url}/spaces/{SPACE}"
    ran(
        hub, tmp_path, SCRIPT.replace("Slow", "Late").replace("range(1, 6)", "range(7, 9)")
    )  # a second run of that name
    late = at.wait_for(JobAlerted, lambda one: one.text.startswith("Late"))
    assert (late.source, late.step) == ("trackio", 8)
    until(lambda: len(at.events(JobMeasured)) == 2)
    assert [point["step"] for point in at.events(JobMeasured)[1].points] == [7, 8, 6]
    there.end()
    at.wait_for(JobEnded)
    assert [one.text for one in at.events(JobAlerted)][2:] == ["Late: three steps a minute", "Done"]
    assert not list((tmp_path / "bucket").rglob("*.jsonl"))  # the dashboard has taken them in
    at.jobs.close()


def test_the_fakes_trackio_answers_as_the_real_one(
    hub: FakeHub, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    ran(hub, tmp_path, SCRIPT)
    url = request.getfixturevalue("dashboard")

    def real(function: str, **given: object) -> list[dict[str, object]]:
        answer = httpx2.post(f"{url}/api/{function}", json={"kwargs": {"project": "pets", **given}})
        found: list[dict[str, object]] = answer.json()["data"]
        return found

    until(lambda: real("get_alerts", run=RUN, run_id=None))
    fake = FakeTrackio()
    for step in range(1, 7):
        fake.log(RUN, step, **{"train/loss": 1.0, "eval/accuracy": 0.5})
    fake.alert(RUN, "warn", "Slow", "three steps a minute", 5)
    fake.alert(RUN, "info", "Done", None, 5)
    (run,), (faked,) = real("get_runs_for_project"), fake.ask("api/get_runs_for_project", {})
    assert (run["name"], run.keys()) == (faked["name"], faked.keys())
    batch = real("get_logs_batch", runs=[{"run_id": run["id"]}])
    faked_batch = fake.ask("api/get_logs_batch", {"runs": [{"run_id": faked["id"]}]})
    assert batch[0].keys() == faked_batch[0].keys()
    assert batch[0]["logs"][0].keys() == faked_batch[0]["logs"][0].keys()  # type: ignore[index]
    alerts, faked_alerts = real("get_alerts", run=RUN, run_id=run["id"]), fake.ask("api/get_alerts", {"run": RUN})
    assert [one["title"] for one in alerts] == [one["title"] for one in faked_alerts] == ["Done", "Slow"]
    assert alerts[0].keys() == faked_alerts[0].keys()


def test_a_tracked_job_on_this_machine_is_read_from_its_own_folder(tmp_path: Path) -> None:
    inner = SCRIPT.replace('"train/loss": float("nan")', '"train/loss": float("inf")')
    script = f"import subprocess, sys\nsys.exit(subprocess.run([{str(PYTHON)!r}, '-c', {inner!r}]).returncode)\n"
    request = Spend(
        title="Track here",
        where="here",
        place=HERE,
        script=script,
        timeout_seconds=60,
        price_micro_usd_per_hour=0,
        track="pets",
    )
    entries: list[Entry] = []

    def write(event: Event) -> None:
        entries.append(Entry(seq=len(entries) + 1, at=time.time(), event=event))

    books = Books(write, entries)
    jobs = Jobs("s1", {"here": LocalJobs(tmp_path)}, books.emit, reserve=books.reserve)
    found = jobs.submit("c1", request)
    assert found.done.wait(60)
    measured = until(lambda: [one.event for one in entries if isinstance(one.event, JobMeasured)])
    assert [point.get("train/loss") for one in measured for point in one.points][-2:] == [1 / 5, None]
    row = jobs.state(found.job)
    assert (row.status, row.dashboard) == ("completed", "")
    assert [(one.level, one.text) for one in row.alerts] == [("warn", "Slow: three steps a minute"), ("info", "Done")]
    assert not [name for name in found.state.files if "trackio" in name]
    assert "Trackio metrics logged to" in "".join(one.event.text for one in entries if isinstance(one.event, JobLogged))
    jobs.close()


def test_what_the_skill_tells_to_write_works(hub: FakeHub, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (FOLDER / "live-tracking.md").read_text("utf-8"), re.DOTALL)
    printed = ran(hub, tmp_path, blocks[0].replace("1 / (step + 1)", "1 / (step + 1) if step < 99 else float('nan')"))
    found = MetricReader().read(printed)
    assert [(one.level, one.text, one.step) for one in found.alerts] == [
        ("error", "Loss is not a number: at step 99", 99)
    ]
