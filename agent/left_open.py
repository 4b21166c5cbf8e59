"""A process ended in the middle of a run: what that left open is closed in the journal, so that the user can go on."""

from __future__ import annotations

from collections.abc import Callable

from agent.events import ApprovalAnswered, Event, RunEnded, StepEnded, ToolEnded
from agent.loop.memory import Recalled
from tools.cards import Answer


def close_left_open(past: Recalled, emit: Callable[[Event], object], message: str) -> None:
    """message: one sentence for the user."""
    for approval, request in past.open_approvals.items():
        answer = Answer(verdict="no", reason="the run ended before an answer came")
        emit(ApprovalAnswered(approval=approval, answer=answer, by="stop", request=request))
    for call in past.open_calls:
        emit(ToolEnded(call=call, why="stopped", message="The run ended.", seconds=0.0))
    if past.open_step:
        emit(StepEnded(step=past.open_step, seconds=0.0, error="The run ended."))
    if past.open_run:
        emit(RunEnded(run=past.open_run, why="failed", message=message))
