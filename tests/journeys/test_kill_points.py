"""kill -9 at each point between the approval of a job and its settlement: it runs at most once, and its money is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agent.sessions import Sessions
from agent.settings import Settings
from tests import ROOT
from tests.agent.living import code
from tests.doubles.model_server import ModelServer, by_turn
from tests.journeys.killed_at import POINTS

pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]

SESSION = "killed"
STARTS = list(POINTS).index("script started")  # from here on it has run


def run(data: Path, model: str, *command: str) -> subprocess.CompletedProcess[str]:
    options = ["--json", "--session", SESSION, "--approve", "within-budget"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(data), "DATA_DIR": str(data), "MODEL_BASE_URL": model}
    return subprocess.run(
        [sys.executable, "-m", *command, *options], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )


def recovered(data: Path) -> list[dict[str, Any]]:
    """All events once the next process has nothing open any more."""
    sessions = Sessions(Settings(data_dir=data))
    try:
        sessions.recover()
        session = sessions.open(SESSION, "local")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = [json.loads(line)["event"] for _, line in session.read(0, 100_000)]
            if count(found, "money_reserved") == count(found, "money_settled", "money_released"):
                return found
            time.sleep(0.05)
    finally:
        sessions.close()
    raise AssertionError(f"the money is still held: {[one['kind'] for one in found]}")


def count(found: list[dict[str, Any]], *kinds: str) -> int:
    return sum(one["kind"] in kinds for one in found)


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_point_starts_no_job_twice_and_leaves_no_money_held(point: str, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    script = (
        f"import time\nopen({str(starts)!r}, 'a').write('started\\n')\n"
        "print('loss=0.5 step=1', flush=True)\ntime.sleep(0.5)\nprint('loss=0.4 step=2')"
    )
    with ModelServer(by_turn([code(f"job_run({script!r})"), code("final_answer('never said')")])) as server:
        died = run(tmp_path, server.base_url, "tests.journeys.killed_at", point, "Train")
    assert died.returncode == -signal.SIGKILL, f"{point!r} was never reached: {died.stderr[-2000:]}"

    found = recovered(tmp_path)
    again = recovered(tmp_path)  # a second restart changes nothing
    assert again[: len(found)] == found
    assert count(again, "job_submitted", "job_ended", "money_settled", "money_released") == count(
        found, "job_submitted", "job_ended", "money_settled", "money_released"
    )
    at = list(POINTS).index(point)
    assert count(found, "approval_answered") == 1
    assert count(found, "money_reserved") == (at > 0)
    if at < STARTS:
        assert not starts.exists()
        assert count(found, "money_released") == (at > 0)
        assert count(found, "job_submitted", "job_ended", "money_settled") == 0
    else:
        assert starts.read_text() == "started\n"
        assert [one["status"] for one in found if one["kind"] == "job_ended"] == ["completed"]
        assert count(found, "job_submitted") == count(found, "money_settled") == 1
        log = "".join(one["text"] for one in found if one["kind"] == "job_logged")
        assert log == "loss=0.5 step=1\nloss=0.4 step=2\n"
    assert count(found, "run_ended") == 1
