"""Taking a turn back: the journal keeps it, memory and demands go back to exactly that point, money and jobs do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.events import (
    ApprovalAnswered,
    ApprovalAsked,
    DemandsSet,
    Entry,
    Event,
    MoneySettled,
    Rewound,
    RunEnded,
    StepStarted,
    ToolEnded,
    UserSaid,
)
from agent.job_events import JobEnded
from agent.loop.memory import Asked, recall
from agent.session import Session
from agent.sessions import Sessions
from agent.settings import Settings
from agent.undo import standing, turn_to_undo
from tests.agent.living import code, done, ended, events, everything, living, wait_for
from tests.doubles.model_server import ModelServer, Reply
from tools.cards import Answer, Demand
from tools.problem import Problem


def final(text: str) -> Reply:
    return code(f"final_answer({text!r})")


def asked(server: ModelServer, request: int) -> str:
    """What the model read: all but the system prompt."""
    return "\n".join(str(message["content"]) for message in server.requests[request].body["messages"][1:])


def demands(session: Session) -> list[str]:
    return [demand.text for demand in events(session, DemandsSet)[-1].demands]


def test_an_undone_turn_is_forgotten_and_stays_in_the_journal(tmp_path: Path) -> None:
    with living(tmp_path, [final("One."), final("Two."), final("Three.")]) as (session, server):
        done(session, "First thing")
        done(session, "Second thing")
        before = everything(session)
        session.undo()
        assert everything(session)[: len(before)] == before
        assert done(session, "Third thing").answer == "Three."
        read = asked(server, 2)
        assert "First thing" in read
        assert "One." in read
        assert "Second thing" not in read
        assert "Two." not in read
        assert "variables may be from after" in read


def test_undone_turns_can_be_taken_back_to_the_beginning_and_no_further(tmp_path: Path) -> None:
    with living(tmp_path, [final("One."), final("Two."), final("Anew.")]) as (session, server):
        done(session, "First thing")
        done(session, "Second thing")
        session.undo()
        session.undo()
        with pytest.raises(Problem, match="nothing to take back"):
            session.undo()
        done(session, "A new beginning")
        assert "First thing" not in asked(server, 2)
        steps, runs = events(session, StepStarted), events(session, UserSaid)
        assert [step.step for step in steps] == [1, 2, 3]  # ids go on, so that nothing is told twice under one name
        assert [run.run for run in runs] == ["r1", "r2", "r3"]


def test_an_edited_message_takes_the_place_of_the_old_one_and_of_all_after_it(tmp_path: Path) -> None:
    with living(tmp_path, [final("One."), final("Two."), final("Three.")]) as (session, server):
        done(session, "First thing")
        done(session, "Second thing")
        end = ended(session, session.send("First thing, but better", replace="r1"))
        assert (end.run, end.answer) == ("r3", "Three.")
        read = asked(server, 2)
        assert "First thing, but better" in read
        assert read.count("First thing") == 1
        assert "Second thing" not in read


@pytest.mark.parametrize("run", ["r9", "r2"])
def test_a_message_that_is_not_there_cannot_be_edited(tmp_path: Path, run: str) -> None:
    with living(tmp_path, [final("One."), final("Two.")]) as (session, _):
        done(session, "First thing")
        done(session, "Second thing")
        session.undo()
        before = everything(session)
        with pytest.raises(Problem, match=run):
            session.send("Anew", replace=run)
        assert everything(session) == before


def test_an_edit_that_cannot_be_sent_takes_nothing_back(tmp_path: Path) -> None:
    with living(tmp_path, [final("One.")]) as (session, _):
        done(session, "First thing")
        before = everything(session)
        for text, files in (("", []), ("x" * 200_000, []), ("/no_such_tool", []), ("x", ["missing.csv"])):
            with pytest.raises(Problem):
                session.send(text, files, replace="r1")
        assert everything(session) == before


def test_nothing_is_taken_back_while_a_run_goes_on(tmp_path: Path) -> None:
    with living(tmp_path, [code("ask_user('Which?')"), final("Done.")]) as (session, _):
        run = session.send("Go")
        question = wait_for(session, ApprovalAsked)
        with pytest.raises(Problem, match="still going on"):
            session.undo()
        with pytest.raises(Problem, match="still going on"):
            session.send("Anew", replace=run)
        session.answer(question.approval, Answer(verdict="yes", text="this"))
        ended(session, run)
        session.undo()


def test_variables_stay_and_the_model_is_told_so(tmp_path: Path) -> None:
    with living(tmp_path, [final("One."), code("x = 42\nfinal_answer('Set.')"), code("final_answer(x)")]) as (
        session,
        server,
    ):
        done(session, "First thing")
        done(session, "Set x")
        session.undo()
        assert done(session, "What is x?").answer == "42"
        assert "variables may be from after" in asked(server, 2)


def test_a_job_of_an_undone_turn_goes_on_and_its_money_stays_spent(tmp_path: Path) -> None:
    script = [code("job_run('print(1)', title='Count', timeout='1m')\nfinal_answer('Ran.')"), final("Next.")]
    with living(tmp_path, script, approve="within-budget", budget_micro_usd=1_000_000) as (session, server):
        done(session, "Run it")
        settled = events(session, MoneySettled)
        session.undo()
        done(session, "Something else")
        assert "Count" in asked(server, 1)
        assert "not undone" in asked(server, 1)
        assert events(session, MoneySettled) == settled
        assert len(events(session, JobEnded)) == 1


def test_memory_and_title_are_the_same_after_a_restart(tmp_path: Path) -> None:
    with ModelServer([final("One."), final("Two."), final("Three."), final("Four.")]) as server:
        settings = Settings(data_dir=tmp_path, model_id="scripted", model_base_url=server.base_url)
        first = Sessions(settings)
        session = first.create("local")
        done(session, "First thing")
        ended(session, session.send("Better thing", replace="r1"))
        done(session, "Second thing")
        session.undo()
        assert [(one.title, one.state) for one in first.list("local")] == [("Better thing", "done")]
        first.close()
        again = Sessions(settings)
        again.recover()
        assert [(one.title, one.state) for one in again.list("local")] == [("Better thing", "done")]
        reopened = again.open(session.id, "local")
        assert events(reopened, RunEnded)[-1].answer == "Three."  # nothing was closed that was not open
        done(reopened, "Third thing")
        read = asked(server, 3)
        again.close()
        assert "Better thing" in read
        assert "First thing" not in read
        assert "Second thing" not in read


def test_a_session_of_which_all_is_taken_back_is_idle_and_without_a_title(tmp_path: Path) -> None:
    with ModelServer([final("One.")]) as server:
        sessions = Sessions(Settings(data_dir=tmp_path, model_id="scripted", model_base_url=server.base_url))
        session = sessions.create("local")
        done(session, "First thing")
        session.undo()
        assert [(one.title, one.state) for one in sessions.list("local")] == [("", "idle")]
        sessions.close()


# --- demands ---------------------------------------------------------------------------------------

JOB = "job_run({script!r}, title='Train', timeout='1m')\nfinal_answer('Ran.')"
OTHER = "from transformers import AutoModel\nAutoModel.from_pretrained('meta-llama/Llama-3.1-8B')"


def test_a_script_with_another_model_is_refused_below_the_tools(tmp_path: Path) -> None:
    script = [code(JOB.format(script=OTHER)), final("I could not.")]
    with living(tmp_path, script, approve="within-budget", budget_micro_usd=1_000_000) as (session, server):
        done(session, "Fine-tune Qwen/Qwen3-8B for me")
        refused = events(session, ToolEnded)[0]
        assert refused.why == "refused"
        assert "meta-llama/Llama-3.1-8B" in refused.message
        assert "“Fine-tune Qwen/Qwen3-8B”" in refused.message
        assert "ask_user" in refused.hint
        assert "page" in refused.hint
        assert refused.hint in asked(server, 1)
        answered = events(session, ApprovalAnswered)[0]
        assert (answered.by, answered.answer.verdict) == ("policy", "no")
        assert events(session, JobEnded) == []


def test_the_users_answer_to_a_question_is_their_word_too(tmp_path: Path) -> None:
    script = [code("ask_user('Qwen is gated. What now?')\n" + JOB.format(script="x = 'meta-llama/Llama-3.1-8B'"))]
    with living(tmp_path, script, approve="ask") as (session, _):
        run = session.send("Fine-tune Qwen/Qwen3-8B for me")
        question = wait_for(session, ApprovalAsked)
        session.answer(question.approval, Answer(verdict="yes", text="Use meta-llama/Llama-3.1-8B instead"))
        spend = wait_for(session, ApprovalAsked, lambda event: event.request.kind == "spend")
        session.answer(spend.approval, Answer(verdict="yes"))
        assert ended(session, run).answer == "Ran."
        assert demands(session) == ["Use meta-llama/Llama-3.1-8B instead"]


def test_the_agent_pins_only_what_the_user_wrote_and_widens_nothing(tmp_path: Path) -> None:
    pins = [
        ("other", "must", "make it snappy", ""),
        ("other", "must", "make it  SNAPPY", ""),
        ("other", "must", "I never said so", ""),
        ("budget", "must", "five tries", "5000000"),
        ("base_model", "must", "llamas", "llamas"),
        ("colour", "must", "snappy", ""),
    ]
    calls = "\n".join(f"try:\n    demand{pin!r}\nexcept ToolError as e:\n    print(e)" for pin in pins)
    with living(tmp_path, [code(calls + "\nfinal_answer('ok')")]) as (session, _):
        done(session, "Fine-tune Qwen/Qwen3-8B in five tries, make it snappy, I like llamas")
        assert [event.why for event in events(session, ToolEnded)] == [
            "done",
            "done",
            "problem",
            "problem",
            "problem",
            "problem",
        ]
        assert demands(session) == ["Fine-tune Qwen/Qwen3-8B", "make it snappy", "make it  SNAPPY"]
        assert events(session, DemandsSet)[-1].by == "agent"


def test_what_the_user_pins_on_the_page_is_told_with_the_next_message_and_counts_at_once(tmp_path: Path) -> None:
    script = [final("Hello."), code(JOB.format(script="m.push_to_hub('ada/pets')")), final("I could not.")]
    with living(tmp_path, script, approve="within-budget", budget_micro_usd=1_000_000) as (session, server):
        done(session, "Hello")
        session.set_demands([Demand(about="other", rule="must", text="Do not publish anything")])
        pinned = events(session, DemandsSet)[-1]
        assert [(one.about, one.value) for one in pinned.demands] == [("privacy", "publish")]
        done(session, "Train it")
        assert "Do not publish anything" in asked(server, 1)
        assert events(session, ToolEnded)[0].why == "refused"
        session.set_demands([])
        assert events(session, DemandsSet)[-1].demands == ()
        with pytest.raises(Problem):
            session.set_demands([Demand(about="other", rule="must", text=" ")])


def test_an_undone_message_demands_nothing_any_more(tmp_path: Path) -> None:
    with living(tmp_path, [final("One."), final("Two."), final("Three.")]) as (session, _):
        done(session, "Fine-tune Qwen/Qwen3-8B for me")
        done(session, "For at most $3")
        session.set_demands(
            [*events(session, DemandsSet)[-1].demands, Demand(about="other", rule="must", text="be kind")]
        )
        session.undo()
        assert demands(session) == ["Fine-tune Qwen/Qwen3-8B", "be kind"]
        ended(session, session.send("Fine-tune google/gemma-3-4b-it for me", replace="r1"))
        assert demands(session) == ["be kind", "Fine-tune google/gemma-3-4b-it"]


def test_demands_outlive_a_restart(tmp_path: Path) -> None:
    script = [final("One."), code(JOB.format(script=OTHER)), final("I could not.")]
    with ModelServer(script) as server:
        settings = Settings(
            data_dir=tmp_path,
            model_id="scripted",
            model_base_url=server.base_url,
            approve="within-budget",
            budget_micro_usd=1_000_000,
        )
        first = Sessions(settings)
        session = first.create("local")
        done(session, "Fine-tune Qwen/Qwen3-8B for me")
        first.close()
        again = Sessions(settings)
        reopened = again.open(session.id, "local")
        done(reopened, "Go on")
        assert events(reopened, ToolEnded)[0].why == "refused"
        again.close()


# --- the journal alone -----------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["turn", "undo", "edit"]), max_size=25))
def test_any_order_of_turns_undos_and_edits_leaves_what_was_not_taken_back(acts: list[str]) -> None:
    entries: list[Entry] = []
    left: list[str] = []  # what a person would say is still there

    def tell(event: Event) -> None:
        entries.append(Entry(seq=len(entries) + 1, at=1.0, event=event))

    for number, act in enumerate(acts):
        run = f"r{number}"
        if act != "turn":
            chosen = left[number % len(left)] if left and act == "edit" else ""
            try:
                tell(Rewound(seq=turn_to_undo(entries, chosen)))
            except Problem:
                assert not left
                continue
            left = left[: left.index(chosen)] if chosen else left[:-1]
        if act != "undo":
            tell(UserSaid(run=run, text=run))
            tell(RunEnded(run=run, why="answered", answer=run))
            left.append(run)
    said = [entry.event.run for entry in standing(entries) if isinstance(entry.event, UserSaid)]
    assert said == left
    past = recall(entries)
    assert [step.task for step in past.steps if isinstance(step, Asked)] == left
    assert past.runs == sum(isinstance(entry.event, UserSaid) for entry in entries)
