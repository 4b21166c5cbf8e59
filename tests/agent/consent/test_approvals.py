from __future__ import annotations

import threading

import pytest

from agent.consent.approvals import Approvals
from agent.events import ApprovalAnswered, ApprovalAsked, Event
from tools.cards import Answer, Question, Spend
from tools.jobs.here.words import HERE
from tools.problem import Problem, Stopped

SPEND = Spend(title="t", where="here", place=HERE, script="print(1)", timeout_seconds=60, price_micro_usd_per_hour=0)
YES = Answer(verdict="yes")


def test_of_500_questions_answered_the_moment_they_are_asked_none_is_lost() -> None:
    """Each answer is given from inside the announcement itself: no reader can be quicker."""
    said: list[Event] = []

    def emit(event: Event) -> None:
        said.append(event)
        if isinstance(event, ApprovalAsked):
            approvals.answer(event.approval, Answer(verdict="yes", text=event.approval))

    approvals = Approvals(emit)
    for n in range(500):
        answered = approvals.ask(f"c{n}", Question(question="?"), threading.Event())
        assert answered.answer.text == answered.approval == f"a{n + 1}"
    assert not approvals.open


def test_of_500_questions_at_once_each_gets_its_own_answer() -> None:
    approvals = Approvals(lambda event: asked.append(event) if isinstance(event, ApprovalAsked) else None)
    asked: list[ApprovalAsked] = []
    got: dict[str, str] = {}

    def ask(n: int) -> None:
        got[f"q{n}"] = approvals.ask(f"c{n}", Question(question=f"q{n}"), threading.Event()).answer.text

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(500)]
    for thread in threads:
        thread.start()
    answered = 0
    while answered < 500:
        for one in asked[answered:]:
            assert isinstance(one.request, Question)
            approvals.answer(one.approval, Answer(verdict="yes", text=one.request.question))
            answered += 1
    for thread in threads:
        thread.join()
    assert got == {f"q{n}": f"q{n}" for n in range(500)}


def waiting(approvals: Approvals, stop: threading.Event) -> tuple[threading.Thread, list[object]]:
    result: list[object] = []

    def ask() -> None:
        try:
            result.append(approvals.ask("c1", SPEND, stop))
        except Stopped as stopped:
            result.append(stopped)

    thread = threading.Thread(target=ask)
    thread.start()
    while not approvals.open:
        threading.Event().wait(0.001)
    return thread, result


def test_the_first_answer_counts_and_the_second_is_told_so() -> None:
    approvals = Approvals(lambda _: None)
    thread, result = waiting(approvals, threading.Event())
    approvals.answer("a1", Answer(verdict="no", reason="too dear"))
    with pytest.raises(Problem, match="not open"):
        approvals.answer("a1", YES)
    thread.join()
    assert isinstance(result[0], ApprovalAnswered)
    assert result[0].answer.reason == "too dear"


def test_an_edit_reaches_the_request_that_was_agreed_to() -> None:
    approvals = Approvals(lambda _: None)
    thread, result = waiting(approvals, threading.Event())
    approvals.answer("a1", Answer(verdict="yes", edits={"script": "print(2)", "timeout_seconds": "90"}))
    thread.join()
    assert isinstance(result[0], ApprovalAnswered)
    agreed = result[0].request
    assert isinstance(agreed, Spend)
    assert (agreed.script, agreed.timeout_seconds) == ("print(2)", 90)


@pytest.mark.parametrize(
    ("edits", "words"),
    [({"where": "jobs"}, "where of this request cannot be edited"), ({"timeout_seconds": -1}, "cannot be -1")],
)
def test_a_wrong_edit_is_refused_and_the_question_stays_open(edits: dict[str, object], words: str) -> None:
    approvals = Approvals(lambda _: None)
    thread, _ = waiting(approvals, threading.Event())
    with pytest.raises(Problem, match=words):
        approvals.answer("a1", Answer(verdict="yes", edits=edits))  # type: ignore[arg-type]
    approvals.answer("a1", YES)
    thread.join()


def test_stop_ends_the_wait_and_closes_the_question() -> None:
    said: list[Event] = []
    approvals = Approvals(said.append)
    stop = threading.Event()
    thread, result = waiting(approvals, stop)
    stop.set()
    approvals.stop()
    thread.join()
    assert isinstance(result[0], Stopped)
    assert isinstance(said[-1], ApprovalAnswered)
    assert said[-1].by == "stop"


def test_a_question_asked_after_stop_is_closed_at_once() -> None:
    approvals = Approvals(lambda _: None)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        approvals.ask("c1", SPEND, stop)
    assert not approvals.open
