from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest

from agent.events import (
    ApprovalAnswered,
    ApprovalAsked,
    CodeWritten,
    Entry,
    OutputPrinted,
    ReasoningSaid,
    ReplyRestarted,
    RunEnded,
    SandboxReported,
    StepEnded,
    StepStarted,
    TextSaid,
    ToolEnded,
    ToolStarted,
    UserSaid,
)
from agent.job_events import JobEnded, JobLogged, JobSubmitted
from agent.sandbox import levels
from tests.agent.living import code, done, ended, events, everything, living, wait_for
from tests.agent.situations import LONG_JOB, SITUATIONS
from tests.doubles.model_server import Reply
from tools.cards import Answer, GoOn
from tools.problem import Problem

FINAL = code('final_answer("Done.")')


def test_a_task_runs_from_message_to_answer(tmp_path: Path) -> None:
    script = [
        Reply("I count.\n<code>\nx = 20\nprint('twenty', x)\n</code>", reasoning="Let me think.", provider="novita"),
        code("plan([{'text': 'count', 'status': 'completed'}])\nfinal_answer(f'It is {x + 1}.')"),
    ]
    with living(tmp_path, script) as (session, server):
        end = done(session, "Count for me")
        assert (end.why, end.answer, end.steps) == ("answered", "It is 21.", 2)
        assert end.input_tokens == 200
        assert "".join(e.text for e in events(session, TextSaid)).startswith("I count.")
        assert [e.text for e in events(session, ReasoningSaid)] == ["Let me think."]
        assert events(session, CodeWritten)[0].code == "x = 20\nprint('twenty', x)"
        assert "".join(e.text for e in events(session, OutputPrinted)) == "twenty 20\n"
        first = events(session, StepEnded)[0]
        assert (first.provider, first.error, first.observation) == ("novita", "", "twenty 20")
        assert [(e.tool, e.by, e.step) for e in events(session, ToolStarted)] == [("plan", "agent", 2)]
        assert events(session, SandboxReported)[0].level == levels.standing().level
        assert "twenty 20" in str(server.requests[1].body["messages"])


def test_everything_that_starts_ends_once_and_in_order(tmp_path: Path) -> None:
    with living(tmp_path, [code("plan([{'text': 'a', 'status': 'completed'}])"), FINAL]) as (session, _):
        done(session, "Go")
        kinds = [event.kind for event in everything(session)]
        assert kinds[0] == "user_said"
        assert kinds[-1] == "run_ended"
        count = Counter(kinds)
        assert count["step_started"] == count["step_ended"] == 2
        assert count["tool_started"] == count["tool_ended"] == 1
        assert count["run_ended"] == 1


def test_a_second_message_goes_on_with_memory_and_variables(tmp_path: Path) -> None:
    script = [code("treasure = 42\nfinal_answer('Kept.')"), code("final_answer(treasure)")]
    with living(tmp_path, script) as (session, server):
        done(session, "Keep a number")
        assert done(session, "What was it?").answer == "42"
        asked = str(server.requests[1].body["messages"])
        assert "Keep a number" in asked
        assert "treasure = 42" in asked
        assert [e.step for e in events(session, StepStarted)] == [1, 2]


def test_the_prompt_does_not_change_within_a_session(tmp_path: Path) -> None:
    with living(tmp_path, [FINAL, FINAL]) as (session, server):
        done(session, "One")
        done(session, "Two")
        first, second = (request.body["messages"][0] for request in server.requests)
        assert first["role"] == "system"
        assert first == second
        assert "def papers_search(query: str, limit: int = 8)" in first["content"]


def test_prose_gets_one_hint_and_then_counts_as_the_answer(tmp_path: Path) -> None:
    with living(tmp_path, [Reply("Hello! How can I help?"), Reply("Hello! I am here.")]) as (session, _):
        assert done(session, "Hi").answer == "Hello! I am here."
        assert events(session, StepEnded)[0].error


def test_a_native_tool_call_is_run_as_code(tmp_path: Path) -> None:
    script = [
        Reply(tool_calls=[("hub_search", '{"kind": "planet"}')]),
        Reply(tool_calls=[("final_answer", '{"answer": "ok"}')]),
    ]
    with living(tmp_path, script) as (session, _):
        assert done(session, "Go").answer == "ok"
        assert events(session, ToolStarted)[0].args == {"kind": "planet"}


def test_a_thought_inside_the_text_is_told_as_reasoning(tmp_path: Path) -> None:
    with living(tmp_path, [Reply("<think>Hm.</think>Now.\n<code>final_answer('ok')</code>")]) as (session, _):
        done(session, "Go")
        assert "".join(e.text for e in events(session, ReasoningSaid)) == "Hm."
        assert "think" not in "".join(e.text for e in events(session, TextSaid))


def test_a_reply_cut_off_at_the_length_limit_does_not_run_in_half(tmp_path: Path) -> None:
    half = Reply("Now.\n<code>\nprint('delete')\nfiles = ['a',", finish_reason="length")
    with living(tmp_path, [half, FINAL]) as (session, server):
        assert done(session, "Go").answer == "Done."
        assert len(events(session, CodeWritten)) == 1
        assert "cut off" in str(server.requests[1].body["messages"][-1])


def test_a_thought_that_the_stop_word_cut_off_is_thought_again_without_it(tmp_path: Path) -> None:
    cut = Reply("<think>I could write <code>final_answer('leak')")
    whole = Reply(
        "<think>I could write <code>final_answer('leak')</code> but no.</think><code>final_answer('right')</code>"
    )
    with living(tmp_path, [cut, whole]) as (session, server):
        assert done(session, "Go").answer == "right"
        assert "</code>" in server.requests[0].body["stop"]
        assert "stop" not in server.requests[1].body


def test_a_tools_problem_is_read_by_the_model_and_does_not_end_the_run(tmp_path: Path) -> None:
    with living(tmp_path, [code("hub_search('planet', 'x')"), FINAL]) as (session, server):
        assert done(session, "Go").why == "answered"
        assert events(session, ToolEnded)[0].why == "problem"
        assert "planet" in str(server.requests[1].body["messages"][-1])


def test_a_failing_server_is_asked_again_and_seen_to_be(tmp_path: Path) -> None:
    busy = Reply(status=503, headers={"retry-after": "0"})
    with living(tmp_path, [busy, Reply("half", break_after=1), FINAL]) as (session, _):
        assert done(session, "Go").answer == "Done."
        assert [e.attempt for e in events(session, ReplyRestarted)] == [2, 3]


def test_a_server_that_refuses_ends_the_run_in_words_and_the_session_goes_on(tmp_path: Path) -> None:
    refusal = Reply(status=401, body={"error": {"message": "bad key"}})
    with living(tmp_path, [refusal, FINAL]) as (session, _):
        end = done(session, "Go")
        assert end.why == "failed"
        assert end.message
        assert done(session, "Again").answer == "Done."


def test_at_the_step_limit_the_run_ends_without_asking_the_model_once_more(tmp_path: Path) -> None:
    with living(tmp_path, [code("1")] * 5, max_steps=2, approve="none") as (session, server):
        end = done(session, "Go on for ever")
        assert (end.why, end.steps) == ("step_limit", 2)
        assert len(server.requests) == 2


def test_at_the_step_limit_the_user_may_let_the_run_go_on(tmp_path: Path) -> None:
    with living(tmp_path, [code("1"), code("2"), FINAL], max_steps=1) as (session, _):
        run = session.send("Go")
        first = wait_for(session, ApprovalAsked)
        assert first.request == GoOn(steps=1, more=1)
        session.answer(first.approval, Answer(verdict="yes", edits={"more": 1}))
        second = wait_for(session, ApprovalAsked, lambda event: event.approval != first.approval)
        session.answer(second.approval, Answer(verdict="yes", edits={"more": 5}))
        end = ended(session, run)
        assert (end.why, end.steps) == ("answered", 3)


def test_a_no_at_the_step_limit_ends_the_run_there(tmp_path: Path) -> None:
    with living(tmp_path, [code("1"), FINAL], max_steps=1) as (session, _):
        run = session.send("Go")
        session.answer(wait_for(session, ApprovalAsked).approval, Answer(verdict="no"))
        assert ended(session, run).why == "step_limit"
        assert done(session, "Go on").why == "answered"


def test_without_a_model_the_message_says_what_is_missing_and_typed_tools_work(tmp_path: Path) -> None:
    from agent.sessions import Sessions
    from agent.settings import Settings

    sessions = Sessions(Settings(data_dir=tmp_path))
    try:
        session = sessions.create("local")
        end = done(session, "Train something")
        assert end.why == "failed"
        assert "HF_TOKEN" in end.message
        assert "MODEL_BASE_URL" in end.message
        assert done(session, "/plan todos=['read']").why == "failed"
        assert done(session, '/plan todos=["read"]').why == "answered"
        assert events(session, ToolStarted)[-1].by == "user"
    finally:
        sessions.close()


def test_a_second_message_during_a_run_is_refused(tmp_path: Path) -> None:
    with living(tmp_path, [Reply("slow", silence=30.0)]) as (session, _):
        run = session.send("Go")
        with pytest.raises(Problem, match="still going on"):
            session.send("And this")
        session.stop()
        assert ended(session, run).why == "stopped"


def test_who_reads_the_end_may_send_at_once(tmp_path: Path) -> None:
    with living(tmp_path, [FINAL] * 20) as (session, _):
        for n in range(20):
            assert done(session, f"Message {n}").why == "answered"
        assert len(events(session, UserSaid)) == len(events(session, RunEnded)) == 20


# --- Stop ---


@pytest.mark.parametrize("situation", SITUATIONS)
def test_stop_ends_the_run_and_the_session_goes_on_with_its_variables(tmp_path: Path, situation: str) -> None:
    script = [code("kept = [1, 2]\nfinal_answer('ok')"), SITUATIONS[situation].reply, code("final_answer(kept)")]
    with living(tmp_path, script) as (session, server):
        done(session, "Keep it")
        run = SITUATIONS[situation].reached(session, server)
        session.stop()
        end = ended(session, run)
        assert end.why == "stopped"
        assert end.seconds < 15
        assert done(session, "What was it?").answer == "[1, 2]"
        if situation == "the model is silent":
            assert server.requests[1].left.wait(60), "the stream was left open"


def test_stop_cancels_a_running_job(tmp_path: Path) -> None:
    with living(tmp_path, [code(LONG_JOB)]) as (session, _):
        run = session.send("Train")
        session.answer(wait_for(session, ApprovalAsked).approval, Answer(verdict="yes"))
        wait_for(session, JobLogged)
        session.stop()
        assert ended(session, run).why == "stopped"
        assert wait_for(session, JobEnded).status == "cancelled"


def test_stopping_twice_or_without_a_run_is_harmless(tmp_path: Path) -> None:
    with living(tmp_path, [FINAL]) as (session, _):
        session.stop()
        assert done(session, "Go").why == "answered"
        session.stop()


def test_a_run_that_the_end_of_the_app_cuts_off_says_so(tmp_path: Path) -> None:
    with living(tmp_path, [Reply("slow", silence=30.0)]) as (session, server):
        session.send("Go")
        server.wait_for_request(1)
        session.close()
    last = Entry.model_validate_json(next(tmp_path.rglob("*.jsonl")).read_text("utf-8").splitlines()[-1]).event
    assert isinstance(last, RunEnded)
    assert (last.why, last.message) == (
        "stopped",
        "The app was closed while this ran. Send a message to go on.",
    )


# --- approvals and jobs ---


def test_a_refusal_reaches_the_model_with_its_reason(tmp_path: Path) -> None:
    with living(tmp_path, [code("job_run('print(1)')"), FINAL]) as (session, server):
        run = session.send("Train")
        session.answer(wait_for(session, ApprovalAsked).approval, Answer(verdict="no", reason="use less data"))
        assert ended(session, run).why == "answered"
        assert "use less data" in str(server.requests[1].body["messages"][-1])
        assert events(session, JobSubmitted) == []
        assert events(session, ToolEnded)[0].why == "refused"


def test_a_job_runs_as_edited_and_leaves_its_log(tmp_path: Path) -> None:
    with living(tmp_path, [code("end = job_run('print(1)')\nfinal_answer(end['log'])")]) as (session, _):
        run = session.send("Train")
        asked_for = wait_for(session, ApprovalAsked)
        session.answer(asked_for.approval, Answer(verdict="yes", edits={"script": "print({'loss': 0.5, 'step': 3})"}))
        assert "'loss': 0.5" in ended(session, run).answer
        assert [point for event in events(session, JobLogged) for point in event.points] == [{"loss": 0.5, "step": 3.0}]
        assert events(session, JobEnded)[0].status == "completed"


def test_without_anybody_there_spending_is_refused_or_allowed_as_told(tmp_path: Path) -> None:
    for approve, why in (("none", "refused"), ("within-budget", "done")):
        with living(tmp_path / approve, [code("job_run('print(1)')"), FINAL], approve=approve) as (session, _):
            done(session, "Train")
            assert events(session, ToolEnded)[0].why == why
            assert events(session, ApprovalAnswered)[0].by == "policy"


def test_500_instant_approvals_in_one_session_are_all_heard(tmp_path: Path) -> None:
    """Answered from the reader's own wake-up, before the asking thread can have begun to wait."""
    ask = "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(8) as pool:\n"
    ask += "    said = list(pool.map(lambda n: ask_user(f'q{n}'), range(N)))\n"
    ask += "print(all(answer == f'q{n}' for n, answer in enumerate(said)))"
    script = [code(ask.replace("range(N)", "range(250)"))] * 2 + [FINAL]
    with living(tmp_path, script) as (session, _):
        seen, lock = 0, threading.Lock()

        def answer_all() -> None:
            nonlocal seen
            with lock:
                entries = session.read(seen)
            for seq, line in entries:
                seen = max(seen, seq)
                if b'"kind":"approval_asked"' in line:
                    pending.put(line)

        import json
        import queue

        pending: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

        def answerer() -> None:
            while (line := pending.get()) is not None:
                event = json.loads(line)["event"]
                answered.append(event["approval"])
                session.answer(event["approval"], Answer(verdict="yes", text=event["request"]["question"]))

        answered: list[str] = []
        thread = threading.Thread(target=answerer)
        thread.start()
        end_subscription = session.subscribe(answer_all)
        assert done(session, "Ask").why == "answered"
        end_subscription()
        pending.put(None)
        thread.join()
        assert len(set(answered)) == 500
        assert "".join(e.text for e in events(session, OutputPrinted)) == "True\nTrue\n"
