"""Whatever a worker says, the host goes on: it does not crash, hang, fill up, or do what nobody allowed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests import ROOT
from tests.sandbox import WHOLE, fuzzed, rogue

FRAMES = 100_000 if WHOLE else 3_000
MOST_MB = 100  # a frame of 8 MB, some copies of it, and the values of one message


@pytest.mark.timeout(1800 if WHOLE else 300)
def test_nonsense_from_a_worker_does_the_host_no_harm() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.sandbox.fuzzed"],
        input=json.dumps({"frames": FRAMES, "seed": 1}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1700 if WHOLE else 110,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    print(found)
    assert "Traceback" not in done.stderr
    assert found["frames"] >= FRAMES
    assert found["slowest"] < fuzzed.WALL + 2
    assert found["grown_mb"] < MOST_MB
    assert set(found["tools"]) <= set(rogue.TOOLS)
    assert (found["questions"], found["pushed"]) == (found["asked_to_push"], 0)
    assert found["asked_to_push"] > 0
    assert found["threads"] < 20
