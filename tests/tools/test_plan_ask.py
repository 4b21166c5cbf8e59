"""The plan and the question: the two tools that only speak with the user."""

from __future__ import annotations

from typing import Any

import pytest

from tests.doubles.desk import desk
from tools.ask import ask_user
from tools.cards import Answer, PlanMade, Question, Todo
from tools.plan import plan
from tools.problem import Problem, Refused


def test_a_plan_is_shown_whole_and_says_where_it_stands() -> None:
    at = desk()
    said = plan(
        at, [{"text": "Read", "status": "completed"}, {"text": "Train\n it", "status": "in_progress"}, "Publish"]
    )
    assert said == "1 of 3 completed. In progress: Train it"
    made = Todo(text="Read", status="completed"), Todo(text="Train it", status="in_progress"), Todo(text="Publish")
    assert at.cards == [PlanMade(todos=made)]


def test_an_empty_plan_clears_it() -> None:
    at = desk()
    assert plan(at, []) == "0 of 0 completed."
    assert at.cards == [PlanMade(todos=())]


@pytest.mark.parametrize(
    ("todos", "says"),
    [
        (["x"] * 31, "too long"),
        ([{"text": "a", "status": "in_progress"}] * 2, "2 items are in progress"),
        ([{"text": "a", "status": "done"}], "'done'.*pending, in_progress, completed"),
        ([{"status": "pending"}], "Item 1 has no text"),
        (["fine", "  "], "Item 2 has no text"),
        (["x" * 301], "301 characters"),
        ([{"content": "a"}], "'content'"),
    ],
)
def test_a_wrong_plan_is_a_problem_and_shows_nothing(todos: list[Any], says: str) -> None:
    at = desk()
    with pytest.raises(Problem, match=says):
        plan(at, todos)
    assert not at.cards


def test_a_question_returns_the_answer() -> None:
    at = desk(answer=Answer(verdict="yes", text="the small one"))
    assert ask_user(at, " Which one? ", ["the small one", "the large one"]) == "the small one"
    assert at.asked == [Question(question="Which one?", options=("the small one", "the large one"))]


def test_a_declined_question_is_a_refusal() -> None:
    with pytest.raises(Refused, match="busy"):
        ask_user(desk(answer=Answer(verdict="no", reason="busy")), "Which one?")


@pytest.mark.parametrize(
    ("question", "options"), [(" ", None), ("x" * 2_001, None), ("?", ["a", "a "]), ("?", [""]), ("?", ["x"] * 9)]
)
def test_a_wrong_question_is_a_problem_and_asks_nobody(question: str, options: list[str] | None) -> None:
    at = desk()
    with pytest.raises(Problem):
        ask_user(at, question, options)
    assert not at.asked
