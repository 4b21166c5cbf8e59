"""The embedded model behind spaces' real ZeroGPU machinery: its scheduling, its forks and its queues, without the GPU."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import Any

import pytest

from tests import ROOT
from tests.doubles.tiny_model import tiny_model

if importlib.util.find_spec("torch") is None:
    pytest.skip("torch is not installed; `make torch` does that", allow_module_level=True)

pytestmark = pytest.mark.timeout(300)  # gradio and torch are imported anew, which takes a minute on a busy machine

WHOLE = {"said": "Say</x>bcd", "finish": "stop", "tokens": 11}


@pytest.fixture(scope="module")
def happened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened in a Space on ZeroGPU: see tests/doubles/zerogpu.py."""
    folder = tmp_path_factory.mktemp("zerogpu")
    finite = tiny_model(folder / "finite", "Say</x>bcd")
    endless = tiny_model(folder / "endless", "abc", for_ever=True, window=40_000)
    with (folder / "out").open("w") as out:  # no pipe: a worker that is left would hold it open
        code = subprocess.call(
            [sys.executable, "-m", "tests.doubles.zerogpu", finite, endless],
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=280,
            cwd=ROOT,
        )  # fmt: skip
    told = (folder / "out").read_text()
    assert code == 0, told
    found: dict[str, Any] = json.loads(told.partition("HAPPENED ")[2])
    return found


def test_a_reply_comes_from_the_worker_as_it_would_from_here(happened: dict[str, Any]) -> None:
    assert happened["device"] == "ZeroGPU"
    assert happened["whole"] == WHOLE
    assert happened["cut"] == {"said": "Say", "finish": "stop", "tokens": 7}


def test_the_quota_is_that_of_the_visitor_in_whose_context_it_is_asked_for(happened: dict[str, Any]) -> None:
    assert [asked.get("token") for asked in happened["scheduled"][:2]] == ["of.the.visitor", None]


def test_seconds_are_asked_for_by_what_the_reply_may_need(happened: dict[str, Any]) -> None:
    assert [int(asked["durationSeconds"]) for asked in happened["scheduled"][:3]] == [62, 62, 608]


def test_stop_reaches_the_worker_and_the_next_reply_is_its_own(happened: dict[str, Any]) -> None:
    assert happened["stopped"]
    assert happened["stopped_after"] < 3_000  # of 30,000 tokens
    assert happened["after_stop"] == WHOLE
    assert happened["workers"] == 1  # the same one: stopping did not cost it


def test_a_worker_that_is_killed_is_a_problem_and_the_next_reply_comes(happened: dict[str, Any]) -> None:
    assert "GPU task aborted" in happened["aborted"]
    assert happened["after_abort"] == WHOLE


def test_a_used_up_quota_says_what_to_do(happened: dict[str, Any]) -> None:
    assert "quota is used up" in happened["no_quota"]
    assert "Sign in" in happened["no_quota"]


def test_every_gpu_that_was_granted_is_given_back(happened: dict[str, Any]) -> None:
    assert happened["released"] == len(happened["scheduled"]) - 1  # the last was refused
