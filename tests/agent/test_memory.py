from __future__ import annotations

from smolagents import ActionStep, TaskStep

from agent.events import (
    ApprovalAsked,
    CodeWritten,
    Entry,
    Event,
    ReplyRestarted,
    RunEnded,
    StepEnded,
    StepStarted,
    TextSaid,
    ToolEnded,
    ToolStarted,
    UserSaid,
)
from agent.memory import Recalled, recall
from tools.cards import Question


def remembered(*events: Event) -> Recalled:
    return recall(Entry(seq=n, at=1.0, event=event) for n, event in enumerate(events, start=1))


ASKED = UserSaid(run="r1", text="Train it", files=("data.csv",))
STEP = (
    StepStarted(run="r1", step=1, model="m"),
    TextSaid(step=1, text="I look. "),
    TextSaid(step=1, text="<code>x = 1"),  # the server stopped at the end mark
    CodeWritten(step=1, code="x = 1"),
    StepEnded(step=1, seconds=1.0, observation="(no output)"),
)


def test_a_conversation_comes_back_as_it_was() -> None:
    past = remembered(ASKED, *STEP, RunEnded(run="r1", why="answered", answer="Done."), UserSaid(run="r2", text="More"))
    task, step, more = past.steps
    assert isinstance(task, TaskStep)
    assert task.task == "Train it\n\n(Uploaded files: uploads/data.csv)"
    assert isinstance(step, ActionStep)
    assert (step.model_output, step.observations) == ("I look.\n<code>\nx = 1\n</code>", "(no output)")
    assert isinstance(more, TaskStep)
    assert (past.runs, past.last_step, past.open_run) == (2, 1, "r2")


def test_what_was_said_before_a_restarted_reply_is_forgotten() -> None:
    restart = ReplyRestarted(step=1, reason="broke off", attempt=2, wait_seconds=0.1)
    past = remembered(ASKED, STEP[0], TextSaid(step=1, text="half a "), restart, *STEP[1:])
    assert isinstance(past.steps[1], ActionStep)
    assert past.steps[1].model_output == "I look.\n<code>\nx = 1\n</code>"


def test_the_model_learns_that_a_run_was_stopped() -> None:
    past = remembered(ASKED, *STEP, RunEnded(run="r1", why="stopped", message="You stopped this run."))
    assert isinstance(past.steps[-1], ActionStep)
    assert "You stopped this run." in str(past.steps[-1].observations)


def test_a_tool_that_the_user_called_is_remembered_with_its_result() -> None:
    past = remembered(
        UserSaid(run="r1", text="/plan"),
        ToolStarted(call="c1", tool="plan", args={}, by="user"),
        ToolEnded(call="c1", why="done", result='{"ok":1}', seconds=0.1),
        RunEnded(run="r1", why="answered"),
    )
    assert isinstance(past.steps[-1], TaskStep)
    assert '{"ok":1}' in past.steps[-1].task


def test_what_a_crash_left_open_is_known() -> None:
    past = remembered(
        ASKED,
        STEP[0],
        ToolStarted(call="c1", tool="ask_user", args={}, by="agent", step=1),
        ApprovalAsked(approval="a1", call="c1", request=Question(question="Which?")),
    )
    assert (past.open_run, past.open_step, past.open_calls) == ("r1", 1, {"c1"})
    assert past.open_approvals == {"a1": Question(question="Which?")}
