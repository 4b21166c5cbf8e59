"""What the agent does with a model that does not do well."""

from __future__ import annotations

from pathlib import Path

import pytest
from smolagents import ActionStep

from agent.events import CodeWritten, Guarded, StepEnded, ToolStarted
from tests.agent.living import code, done, events, living
from tests.agent.loop.coding import Work, working
from tests.doubles.model_server import Reply
from tools.problem import Problem

FINAL = code("final_answer('Done.')")


def told(work: Work) -> list[tuple[str, str]]:
    return [(event.guard, event.did) for event in work.events(Guarded)]


def last_read(work: Work, request: int = -1) -> str:
    return str(work.server.requests[request].body["messages"][-1]["content"])


def test_an_agent_that_repeats_itself_is_warned_once_and_stopped_at_six(tmp_path: Path) -> None:
    with working(tmp_path, [code("print('again')")] * 6) as work:
        with pytest.raises(Problem, match="same result 6 times"):
            work.run("Go")
        assert told(work) == [("repetition", "hint"), ("repetition", "end")]
        assert ["Repeating it" in event.observation for event in work.events(StepEnded)][:4] == [
            False,
            False,
            True,
            False,
        ]


def test_an_agent_that_does_something_else_after_the_warning_goes_on(tmp_path: Path) -> None:
    script = [*[code("print('again')")] * 3, code("print('new')"), code("print('again')"), FINAL]
    with working(tmp_path, script) as work:
        assert work.run("Go") == "Done."
        assert told(work) == [("repetition", "hint")]


def test_waiting_is_no_repetition(tmp_path: Path) -> None:
    wait = code("import time\nprint('running', time.perf_counter_ns())")
    with working(tmp_path, [*[wait] * 8, FINAL]) as work:
        assert work.run("Go") == "Done."
        assert told(work) == []


def test_long_outputs_that_differ_in_the_middle_are_no_repetition(tmp_path: Path) -> None:
    lines = "import itertools\nc = globals().setdefault('c', itertools.count())\nn = next(c)\n"
    script = [code(f"{lines}print('a b ' * 5_000 + str(n) + ' c d' * 5_000)")] * 4
    with working(tmp_path, [*script, FINAL]) as work:
        assert work.run("Go") == "Done."
        assert told(work) == []


def test_an_answer_with_an_open_plan_is_asked_about_twice_and_then_given(tmp_path: Path) -> None:
    plan = code("plan(['Train', 'Evaluate'])")
    with living(tmp_path, [plan, FINAL, FINAL, Reply("I cannot evaluate."), FINAL]) as (session, server):
        end = done(session, "Go")
        assert (end.why, end.answer) == ("answered", "Done.")
        assert [(event.guard, event.did) for event in events(session, Guarded)] == [("unfinished_plan", "hint")] * 2
        assert "- Train\n- Evaluate" in str(server.requests[2].body["messages"][-1]["content"])


def test_a_plan_of_an_earlier_message_does_not_hold_up_the_answer_to_this_one(tmp_path: Path) -> None:
    plan = code("plan(['Train'])")
    with living(tmp_path, [plan, FINAL, FINAL, FINAL, FINAL]) as (session, _):
        done(session, "Go")
        assert done(session, "Thanks").steps == 1


def test_empty_replies_are_asked_again_and_then_the_run_ends(tmp_path: Path) -> None:
    with working(tmp_path, [Reply(""), Reply("", reasoning="Hm."), Reply("<think>Hm.</think>")]) as work:
        with pytest.raises(Problem, match="3 empty replies"):
            work.run("Go")
        assert told(work) == [("empty_reply", "retry"), ("empty_reply", "retry"), ("empty_reply", "end")]
        assert "empty" in last_read(work, 1)


def test_a_reply_cut_off_twice_gets_all_the_room_there_is(tmp_path: Path) -> None:
    half = Reply("Now.\n<code>\nprint('half", finish_reason="length")
    with working(tmp_path, [half, half, FINAL], window=131_072) as work:
        assert work.run("Go") == "Done."
        assert told(work) == [("cut_off", "hint")] * 2
        first, second, third = (request.body["max_tokens"] for request in work.server.requests)
        assert first == second == 16_384
        assert third > 100_000
        assert work.events(CodeWritten)[0].code == "final_answer('Done.')"


def test_a_server_of_which_nothing_is_known_is_not_told_how_long_to_speak(tmp_path: Path) -> None:
    with working(tmp_path, [FINAL]) as work:
        work.run("Go")
        assert "max_tokens" not in work.server.requests[0].body


def test_native_calls_are_told_of_once_and_remembered_as_code(tmp_path: Path) -> None:
    call = Reply(tool_calls=[("python", '{"code": "print(6 * 7)"}')])
    with working(tmp_path, [call, Reply(tool_calls=[("final_answer", '{"answer": "42"}')])]) as work:
        assert work.run("Go") == "42"
        assert told(work) == [("native_calls", "hint")]
        assert "print(6 * 7)" in str(work.server.requests[1].body["messages"])


def test_native_calls_where_no_code_runs_are_in_the_memory_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX", "tools-only")
    script = [
        Reply("I look.", tool_calls=[("hub_search", '{"kind": "planet", "query": "x"}')]),
        Reply(tool_calls=[("final_answer", '{"answer": "ok"}')]),
    ]
    with living(tmp_path, script) as (session, server):
        assert done(session, "Go").answer == "ok"
        assert [event.tool for event in events(session, ToolStarted)] == ["hub_search"]
        replied = server.requests[1].body["messages"][-2]
        assert replied["role"] == "assistant"
        assert (
            '<tool_call>{"name": "hub_search", "arguments": {"kind": "planet", "query": "x"}}</tool_call>'
            in (replied["content"])
        )


def test_a_long_output_is_cut_and_the_whole_of_it_can_be_read_on(tmp_path: Path) -> None:
    script = [
        code("print('head', *range(15_000), 'tail')\n1 / 0"),
        code("whole = open('outputs/step-1.txt').read()\nprint(whole.count(' '), 'ZeroDivisionError' in whole)"),
        FINAL,
    ]
    with working(tmp_path, script, window=131_072) as work:
        assert work.run("Go") == "Done."
        first, second, _ = work.events(StepEnded)
        assert len(first.observation) < 11_000
        assert first.observation.startswith("head 0 1 2")
        assert "14999 tail\nError:" in first.observation
        assert "outputs/step-1.txt" in first.observation
        assert second.observation.endswith("True")


def test_in_a_small_window_less_is_read_of_each_step(tmp_path: Path) -> None:
    with working(tmp_path, [code("print('x y ' * 10_000)"), FINAL], window=8_000) as work:
        work.run("Go")
        assert len(work.events(StepEnded)[0].observation) < 3_000


def test_too_long_in_the_middle_of_a_reply_is_met_as_before_it(tmp_path: Path) -> None:
    broken = Reply(
        "I was about to say",
        break_after=3,
        breaks="error",
        error={"code": 500, "message": "Context size has been exceeded.", "type": "server_error"},
    )
    script = [code("print(1, 'x y ' * 2_000)"), code("print(2, 'x y ' * 2_000)"), broken, Reply("One and two."), FINAL]
    with working(tmp_path, script) as work:
        assert work.run("Go") == "Done."
        assert told(work) == [("too_long", "retry")]
        remembered = [step for step in work.memory.catch_up().steps if isinstance(step, ActionStep)]
        assert "about to say" not in str(remembered[-1].model_output)


def test_the_end_of_a_run_says_why_in_words(tmp_path: Path) -> None:
    with living(tmp_path, [code("print('again')")] * 6) as (session, _):
        end = done(session, "Go")
        assert end.why == "failed"
        assert "repeated itself" in end.message
        assert "Say what it should do differently" in end.message


def test_a_model_that_only_speaks_is_not_asked_more_often_than_it_takes(tmp_path: Path) -> None:
    with living(tmp_path, [code("plan(['Train'])"), *[Reply("It is done.")] * 9]) as (session, server):
        assert done(session, "Go").answer == "It is done."
        assert len(events(session, Guarded)) == 2
        assert len(server.requests) == 1 + 4  # told how to act, nudged twice, and then taken at its word
