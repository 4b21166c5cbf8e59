from __future__ import annotations

from smolagents import ActionStep, TaskStep

from agent.events import (
    ApprovalAnswered,
    ApprovalAsked,
    CodeWritten,
    Compacted,
    DemandsSet,
    Entry,
    Event,
    ReplyRestarted,
    Rewound,
    RunEnded,
    StepEnded,
    StepStarted,
    TextSaid,
    ToolEnded,
    ToolShowed,
    ToolStarted,
    UserSaid,
)
from agent.job_events import JobSubmitted
from agent.loop.memory import Memory, Recalled, Summary, recall
from tools.cards import Answer, Demand, FileMade, PlanMade, Question, Todo


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
    assert (step.model_output, step.observations) == (
        "I look.\n<code>\nx = 1\n</code>",
        "(no output)\n(Your answer was: Done.)",
    )
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


def texts(past: Recalled) -> str:
    return "\n".join(message.content[0]["text"] for step in past.steps for message in step.to_messages())


def a_step(number: int, run: str = "r1") -> tuple[Event, ...]:
    return (
        StepStarted(run=run, step=number, model="m"),
        TextSaid(step=number, text=f"I do {number}. "),
        CodeWritten(step=number, code=f"do({number})"),
        StepEnded(step=number, seconds=1.0, observation=f"did {number}"),
    )


NO_TEST_SPLIT = Demand(about="data", rule="must_not", text="Keep the „test“ split out of it!")
PLAN = ToolShowed(call="c1", card=PlanMade(todos=(Todo(text="Read", status="completed"), Todo(text="Train"))))
MADE = ToolShowed(call="c2", card=FileMade(path="work/model.bin", bytes=5))
JOB = JobSubmitted(label="l1", job="job-7", call="c3", where="jobs", title="Train it", url="https://there/job-7")
SUMMARISED = Compacted(step=2, summary="I did one and two.", tokens_before=900, tokens_after=300)


def test_a_summary_stands_for_the_steps_up_to_its_own_and_keeps_what_matters() -> None:
    demanded = DemandsSet(demands=(NO_TEST_SPLIT,), by="user")
    past = remembered(
        ASKED,
        demanded,
        *a_step(1),
        PLAN,
        MADE,
        JOB,
        *a_step(2),
        *a_step(3),
        SUMMARISED,
        UserSaid(run="r2", text="More"),
    )
    kept, third, more = past.steps
    assert isinstance(kept, Summary)
    assert isinstance(third, ActionStep)
    assert isinstance(more, TaskStep)
    told = texts(past)
    assert "do(2)" not in told
    assert "do(3)" in told
    for words in ("Train it", NO_TEST_SPLIT.text, "work/model.bin", "job-7", "STILL OPEN", "[x] Read", "[ ] Train"):
        assert words in told
    assert "I did one and two." in told


def test_the_next_summary_takes_the_place_of_the_one_before_but_not_of_the_users_words() -> None:
    again = Compacted(step=4, summary="I did up to four.", tokens_before=900, tokens_after=300)
    said = UserSaid(run="r2", text="More, please")
    past = remembered(ASKED, *a_step(1), *a_step(2), SUMMARISED, said, *a_step(3), *a_step(4), again, *a_step(5))
    assert len(past.steps) == 2
    told = texts(past)
    assert "one and two" not in told
    assert "up to four" in told
    assert told.index("Train it") < told.index("More, please") < told.index("do(5)")


def test_demands_stand_where_they_were_made_and_after_the_step_that_made_them() -> None:
    start, *rest = a_step(1)
    past = remembered(ASKED, start, DemandsSet(demands=(NO_TEST_SPLIT,), by="agent"), *rest, *a_step(2))
    told = texts(past)
    assert told.index("did 1") < told.index(NO_TEST_SPLIT.text) < told.index("do(2)")
    assert told.count(NO_TEST_SPLIT.text) == 1


def test_what_was_taken_back_is_forgotten_but_counted() -> None:
    first: tuple[Event, ...] = (ASKED, *a_step(1), RunEnded(run="r1", why="answered"))
    later: tuple[Event, ...] = (
        UserSaid(run="r2", text="Now delete it"),
        DemandsSet(demands=(NO_TEST_SPLIT,), by="app"),
        *a_step(2, "r2"),
        MADE,
        PLAN,
        ToolStarted(call="c1", tool="plan", args={}, by="agent", step=2),
        ToolEnded(call="c1", why="done", seconds=0.1),
        Compacted(step=2, summary="Gone.", tokens_before=9, tokens_after=3),
        RunEnded(run="r2", why="answered"),
    )
    past = remembered(*first, *later, Rewound(seq=len(first)))
    assert texts(past).startswith(texts(remembered(*first)))
    assert "took back" in texts(past)
    assert (past.talk.demands, past.talk.plan) == ((), ())
    assert (past.runs, past.last_step, past.calls) == (2, 2, 1)
    assert "work/model.bin" in past.talk.made.names  # it is there all the same


def test_taking_back_twice_goes_back_to_the_first_point() -> None:
    first: tuple[Event, ...] = (ASKED, *a_step(1))
    past = remembered(
        *first,
        UserSaid(run="r2", text="two"),
        Rewound(seq=5),
        UserSaid(run="r3", text="three"),
        Rewound(seq=5),
        *a_step(2),
    )
    told = texts(past)
    assert "two" not in told
    assert "three" not in told
    assert "do(2)" in told


def test_a_summary_that_was_made_before_the_point_stays() -> None:
    first: tuple[Event, ...] = (ASKED, *a_step(1), *a_step(2), SUMMARISED)
    past = remembered(*first, UserSaid(run="r2", text="two"), Rewound(seq=len(first)))
    assert texts(past).startswith(texts(remembered(*first)))
    assert isinstance(past.steps[0], Summary)


def test_memory_that_follows_is_the_same_as_memory_that_starts_anew() -> None:
    told: list[Event] = [ASKED, *a_step(1), *a_step(2), SUMMARISED, *a_step(3), Rewound(seq=9), *a_step(4)]
    entries = [Entry(seq=n, at=1.0, event=event) for n, event in enumerate(told, start=1)]
    seen = 0
    memory = Memory(lambda after: [entry for entry in entries[:seen] if entry.seq > after])
    for n in range(1, len(entries) + 1):
        seen = n
        assert texts(memory.catch_up()) == texts(recall(entries[:n]))


def test_a_long_reply_without_code_is_not_remembered_whole() -> None:
    past = remembered(
        ASKED,
        StepStarted(run="r1", step=1, model="m"),
        TextSaid(step=1, text="blah " * 10_000),
        StepEnded(step=1, seconds=1.0, observation="Write code."),
    )
    assert len(texts(past)) < 10_000


def test_what_the_user_answered_is_kept_word_for_word_as_what_they_wrote() -> None:
    question = Question(question="Which metric?")
    start, *rest = a_step(1)
    asked = ApprovalAsked(approval="a1", call="c1", request=question)
    answer = Answer(verdict="yes", text="Macro-F1,\nand nothing else")
    answered = ApprovalAnswered(approval="a1", answer=answer, by="user", request=question)
    past = remembered(ASKED, start, asked, answered, *rest, *a_step(2), SUMMARISED)
    [kept] = past.steps
    assert isinstance(kept, Summary)
    assert "Macro-F1,\nand nothing else" in texts(past)
    assert "Which metric?" in texts(past)


def test_an_answer_that_only_a_variable_held_is_remembered() -> None:
    past = remembered(ASKED, *a_step(1), RunEnded(run="r1", why="answered", answer="Accuracy is 0.91."))
    assert texts(past).count("Accuracy is 0.91.") == 1
    said = TextSaid(step=1, text="Accuracy is 0.91.")
    end = StepEnded(step=1, seconds=1.0)
    past = remembered(ASKED, STEP[0], said, end, RunEnded(run="r1", why="answered", answer="Accuracy is 0.91."))
    assert texts(past).count("Accuracy is 0.91.") == 1


def test_words_alone_leave_nothing_behind_when_they_are_taken_back() -> None:
    first: tuple[Event, ...] = (ASKED, *a_step(1), RunEnded(run="r1", why="answered"))
    spoken = (StepStarted(run="r2", step=2, model="m"), TextSaid(step=2, text="No."), StepEnded(step=2, seconds=1.0))
    past = remembered(*first, UserSaid(run="r2", text="Why?"), *spoken, Rewound(seq=len(first)))
    assert texts(past) == texts(remembered(*first))
