"""The fixed part of every request: small, the same byte for byte, and true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent.loop.toolbox import DeskTool
from agent.sessions import Sessions
from agent.settings import Settings
from tests import ROOT
from tests.agent.living import code, done, living
from tests.doubles.model_server import ModelServer
from tests.tokens import count, spoken
from tools import TOOLS
from tools.cards import Demand

MOST = 6_000  # tokens, with every built-in tool
FINAL = code("final_answer('Done.')")


def prompt_of(server: ModelServer, request: int = 0) -> str:
    first = server.requests[request].body["messages"][0]
    assert first["role"] == "system"
    return spoken(first)


@pytest.mark.parametrize("level", ["best", "tools-only"])
def test_the_fixed_prompt_is_small_with_every_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setenv("SANDBOX", level)
    with living(tmp_path, [FINAL, FINAL]) as (session, server):
        session.send("Hello")
        server.wait_for_request(1)
        prompt = prompt_of(server)
        elsewhere = [tool for tool in TOOLS if f"def {tool.__name__}(" not in prompt]  # of use on Hugging Face only
        assert len(elsewhere) < len(TOOLS) / 2
        assert count(prompt) + sum(count(DeskTool(tool).to_code_prompt()) for tool in elsewhere) <= MOST


def test_the_prompt_is_the_same_in_every_request_and_after_a_restart(tmp_path: Path) -> None:
    with ModelServer([code("print(1)"), FINAL, FINAL, FINAL]) as server:
        settings = Settings(data_dir=tmp_path, model_id="scripted", model_base_url=server.base_url)
        first = Sessions(settings)
        session = first.create("local")
        done(session, "Fine-tune Qwen/Qwen3-8B")
        session.set_demands([Demand(about="other", rule="must", text="under $3")])
        done(session, "More")
        first.close()
        again = Sessions(settings)
        done(again.open(session.id, "local"), "And more")
        again.close()
        assert {prompt_of(server, request) for request in range(4)} == {prompt_of(server)}


def test_the_prompt_does_not_hang_on_the_clock_or_on_the_order_of_sets() -> None:
    show = "from tools import TOOLS; from agent.loop.toolbox import DeskTool; print([DeskTool(t).to_code_prompt() for t in TOOLS])"
    told = {
        subprocess.run(
            [sys.executable, "-c", show],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
            capture_output=True,
            check=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert len(told) == 1
    assert re.search(rb"20\d\d-\d\d-\d\d", told.pop()) is None


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
def test_a_tool_tells_the_model_what_it_takes_in_few_words(tool: object) -> None:
    described = DeskTool(tool)  # type: ignore[arg-type]
    text = described.to_code_prompt()
    assert described.description
    assert all(name in text for name in described.inputs)
    assert count(text) <= 600
