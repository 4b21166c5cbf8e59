from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.events import CodeWritten, SandboxReported, ToolStarted
from agent.loop.tool_calls import Named, carried_out, named_calls
from tests.agent.living import done, events, living
from tests.doubles.model_server import Reply
from tools.problem import Problem

DONE = '<tool_call>{"name": "plan", "arguments": {"todos": [{"text": "read", "status": "completed"}]}}</tool_call>'
PLAN = '<tool_call>{"name": "plan", "arguments": {"todos": ["read"]}}</tool_call>'


@pytest.mark.parametrize(
    ("text", "native", "calls"),
    [
        (f"I plan.\n{PLAN}", (), [Named("plan", {"todos": ["read"]})]),
        ('<tool_call>{"name": "plan", "arguments": "{\\"a\\": 1}"}', (), [Named("plan", {"a": 1})]),
        ("", (("plan", '{"a": 1}'), ("plan", "")), [Named("plan", {"a": 1}), Named("plan", {})]),
        (f"<think>{PLAN}</think>", (), []),
        ("just words", (), []),
    ],
)
def test_calls_are_found_in_text_and_beside_it(
    text: str, native: tuple[tuple[str, str], ...], calls: list[Named]
) -> None:
    _, found, hint = named_calls(text, native)
    assert found == calls
    assert bool(hint) != bool(calls)


@pytest.mark.parametrize("body", ["{", "[]", '{"name": 3}', '{"name": "x", "arguments": 5}', "[" * 100_000])
def test_a_call_that_cannot_be_read_is_hinted_at(body: str) -> None:
    _, found, hint = named_calls(f"<tool_call>{body}</tool_call>")
    assert found == []
    assert "could not be read" in hint


def test_a_problem_is_an_observation_and_the_next_call_still_runs() -> None:
    def call(name: str, arguments: Mapping[str, Any]) -> Any:
        if name == "bad":
            raise Problem("No.", "Try another.")
        return dict(arguments)

    final, _, seen = carried_out([Named("bad", {}), Named("good", {"x": 1})], call)
    assert not final
    assert seen == 'bad: Error: No. Try another.\ngood: {"x": 1}'
    assert carried_out([Named("final_answer", {"answer": "Done."})], call)[:2] == (True, "Done.")


def test_where_no_code_may_run_the_agent_works_by_calls_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX", "tools-only")
    script = [
        Reply(f"I plan.\n{DONE}"),
        Reply("<code>open('x', 'w')</code>"),
        Reply(tool_calls=[("final_answer", '{"answer": "Done without code."}')]),
    ]
    with living(tmp_path, script) as (session, server):
        assert done(session, "Go").answer == "Done without code."
        assert events(session, SandboxReported)[0].level == "tools-only"
        assert [event.tool for event in events(session, ToolStarted)] == ["plan"]
        assert events(session, CodeWritten) == []
        first, second = (request.body["messages"] for request in list(server.requests)[:2])
        assert "No code can run here" in first[0]["content"]
        assert DONE in second[-2]["content"]
        assert "1 of 1 completed" in second[-1]["content"]
