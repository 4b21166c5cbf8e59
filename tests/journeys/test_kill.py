"""kill -9 at random moments: what was seen is kept, and no job starts twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from agent.sessions import Sessions
from agent.settings import Settings
from tests import ROOT
from tests.agent.living import code
from tests.doubles.model_server import ModelServer, by_turn

pytestmark = pytest.mark.journey

KILLS = 20
SESSION = "killed"
DELTAS = {"text", "reasoning", "output", "job_logged"}


def run_and_kill(data: Path, model: str, lines: int, then: float) -> list[str]:
    """One run of the command line, killed so many seconds after so many lines; returns what a reader saw."""
    agent = subprocess.Popen(
        [sys.executable, "-m", "agent", "Train", "--json", "--session", SESSION, "--approve", "within-budget"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(data), "DATA_DIR": str(data), "MODEL_BASE_URL": model},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert agent.stdout
    seen = [agent.stdout.readline().rstrip("\n") for _ in range(lines)]
    time.sleep(then)
    os.kill(agent.pid, signal.SIGKILL)
    seen += agent.stdout.read().split("\n")[:-1]
    agent.wait()
    agent.stdout.close()
    return [line for line in seen if line]


@pytest.mark.timeout(900)
def test_twenty_kills_lose_nothing_and_start_no_job_twice(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    script = f"import os\nopen({str(starts)!r}, 'a').write(os.getcwd() + '\\n')\nprint('loss=0.5 step=1')"
    step = code(f"kept = 1\njob_run({script!r})")
    chance = random.Random(20261123)
    journal = tmp_path / "sessions" / f"{SESSION}.jsonl"
    seen: dict[int, str] = {}
    with ModelServer(by_turn([step] * 5000)) as server:
        for _ in range(KILLS):
            for line in run_and_kill(tmp_path, server.base_url, chance.randint(1, 60), chance.uniform(0, 0.05)):
                entry = json.loads(line)
                if entry["event"]["kind"] not in DELTAS:  # a reader may get several deltas as one
                    assert seen.setdefault(entry["seq"], line) == line
            kept = {
                json.loads(line)["seq"]: line for line in journal.read_text("utf-8").splitlines()[1:] if line[-1] == "}"
            }
            assert {seq: kept.get(seq) for seq in seen} == seen

    sessions = Sessions(Settings(data_dir=tmp_path))
    try:
        sessions.recover()
        session = sessions.open(SESSION, "local")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            kinds = Counter(json.loads(line)["event"]["kind"] for _, line in session.read(0, 100_000))
            over = kinds["money_settled"] + kinds["money_released"] == kinds["money_reserved"]  # just after a job's end
            if over and kinds["job_ended"] == kinds["job_submitted"]:
                break
            time.sleep(0.1)
        assert kinds["user_said"] == kinds["run_ended"] == KILLS
        assert kinds["approval_asked"] == kinds["approval_answered"]
        assert kinds["tool_started"] == kinds["tool_ended"]
        assert kinds["job_ended"] == kinds["job_submitted"]
        assert kinds["money_reserved"] == kinds["money_settled"] + kinds["money_released"]
    finally:
        sessions.close()
    started = Counter(starts.read_text().splitlines())
    assert len(started) >= 5, "the kills came before anything happened"
    assert set(started.values()) == {1}
    assert len(started) <= kinds["job_submitted"]
