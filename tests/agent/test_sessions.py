from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from agent.events import (
    ApprovalAsked,
    Event,
    MoneyReleased,
    MoneyReserved,
    MoneySettled,
    Noticed,
    RunEnded,
    StepStarted,
    ToolStarted,
    UserSaid,
)
from agent.job_events import JobBilled, JobEnded, JobSubmitted, JobSubmitting
from agent.journal import Header, Journal
from agent.sessions import Sessions, Unknown
from agent.settings import Settings
from tests.agent.living import code, done, ended, events, everything, living, wait_for
from tests.doubles.model_server import Reply
from tools.cards import Answer, Question, Spend
from tools.jobs.here.jobs import LocalJobs
from tools.jobs.here.words import HERE
from tools.jobs.remote.words import JOBS
from tools.problem import Problem

TOKEN = "hf_" + "x" * 34


def crashed(data: Path, *left: Event, session: str = "crashed") -> Sessions:
    """An app that starts on what another one left when it was killed."""
    folder = data / "sessions"
    folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(folder / f"{session}.jsonl", Header(session=session, owner="local", created=1.0))
    for event in left:
        journal.append(event)
    journal.close()
    return Sessions(Settings(data_dir=data))


def test_a_run_that_a_crash_cut_off_is_closed_with_all_it_had_open(tmp_path: Path) -> None:
    sessions = crashed(
        tmp_path,
        UserSaid(run="r1", text="Train"),
        StepStarted(run="r1", step=1, model="m"),
        ToolStarted(call="c1", tool="ask_user", args={}, by="agent", step=1),
        ApprovalAsked(approval="a1", call="c1", request=Question(question="Which?")),
    )
    sessions.recover()
    session = sessions.open("crashed", "local")
    assert [event.kind for event in everything(session)][4:] == [
        "approval_answered",
        "tool_ended",
        "step_ended",
        "run_ended",
    ]
    end = events(session, RunEnded)[0]
    assert end.why == "failed"
    assert "restarted" in end.message
    assert sessions.list("local")[0].state == "failed"
    with pytest.raises(Problem):
        session.answer("a1", Answer(verdict="yes"))
    sessions.close()


def test_recovering_twice_changes_nothing_more(tmp_path: Path) -> None:
    sessions = crashed(tmp_path, UserSaid(run="r1", text="Train"))
    sessions.recover()
    sessions.recover()
    session = sessions.open("crashed", "local")
    assert len(events(session, RunEnded)) == 1
    sessions.close()


SPEND = Spend(
    title="Train", where="here", place=HERE, script="print('ran')", timeout_seconds=60, price_micro_usd_per_hour=0
)


def test_a_job_that_was_never_started_gives_its_hold_back(tmp_path: Path) -> None:
    sessions = crashed(
        tmp_path,
        UserSaid(run="r1", text="Train"),
        MoneyReserved(hold="crashed-c1", micro_usd=0),
        JobSubmitting(label="crashed-c1", call="c1", request=SPEND),
    )
    session = sessions.open("crashed", "local")
    assert events(session, MoneyReleased)[0].hold == "crashed-c1"
    assert "never started" in events(session, Noticed)[0].text
    assert events(session, JobSubmitted) == []
    sessions.close()


def test_money_reserved_for_a_job_that_was_not_even_submitted_is_given_back(tmp_path: Path) -> None:
    sessions = crashed(tmp_path, UserSaid(run="r1", text="Train"), MoneyReserved(hold="crashed-c1", micro_usd=5))
    session = sessions.open("crashed", "local")
    assert [event.hold for event in events(session, MoneyReleased)] == ["crashed-c1"]
    sessions.close()


def test_a_job_that_had_ended_is_settled_and_only_once(tmp_path: Path) -> None:
    paid = SPEND.model_copy(update={"price_micro_usd_per_hour": 3_600_000})
    sessions = crashed(
        tmp_path,
        UserSaid(run="r1", text="Train"),
        MoneyReserved(hold="crashed-c1", micro_usd=paid.hold_micro_usd),
        JobSubmitting(label="crashed-c1", call="c1", request=paid),
        JobSubmitted(label="crashed-c1", job="j1", call="c1", where="here", title="Train"),
        JobEnded(job="j1", status="completed", seconds=2.5),
    )
    session = sessions.open("crashed", "local")
    assert [event.micro_usd for event in events(session, MoneySettled)] == [60_000]  # minutes are billed whole
    sessions.close()
    again = Sessions(Settings(data_dir=tmp_path))
    assert len(events(again.open("crashed", "local"), MoneySettled)) == 1
    again.close()


@pytest.mark.parametrize("submission_noted", [True, False])
def test_a_job_that_was_started_is_found_again_and_followed_to_its_end(tmp_path: Path, submission_noted: bool) -> None:
    folder = tmp_path / "sessions" / "crashed"
    folder.mkdir(parents=True)
    job = LocalJobs(folder).start("crashed-c1", SPEND)
    left: list[Event] = [
        UserSaid(run="r1", text="Train"),
        MoneyReserved(hold="crashed-c1", micro_usd=0),
        JobSubmitting(label="crashed-c1", call="c1", request=SPEND),
    ]
    if submission_noted:
        left.append(JobSubmitted(label="crashed-c1", job=job, call="c1", where="here", title="Train"))
    sessions = crashed(tmp_path, *left)
    sessions.recover()
    session = sessions.open("crashed", "local")
    assert wait_for(session, JobEnded).status == "completed"
    assert len(events(session, JobSubmitted)) == 1
    sessions.close()


def test_a_conversation_goes_on_after_a_restart_with_its_variables(tmp_path: Path) -> None:
    with living(tmp_path, [code("kept = {'a': 1}\nfinal_answer('ok')")]) as (session, _):
        done(session, "Keep it")
        name = session.id
    with living(tmp_path, [code("final_answer(kept['a'])")]) as (_, server):
        sessions = Sessions(Settings(data_dir=tmp_path, model_base_url=server.base_url, model_id="scripted"))
        session = sessions.open(name, "local")
        assert done(session, "What was it?").answer == "1"
        assert "Keep it" in json.dumps(server.requests[0].body)
        sessions.close()


def test_closing_the_app_ends_a_run_and_says_who_ended_it(tmp_path: Path) -> None:
    with living(tmp_path, [Reply("late", silence=60)]) as (session, server):
        session.send("Go")
        server.wait_for_request()
    last = (tmp_path / "sessions" / f"{session.id}.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["event"]["why"] == "stopped"
    assert "app was closed" in last


def test_a_job_goes_on_when_the_app_is_closed(tmp_path: Path) -> None:
    slow = "import time\nprint(1, flush=True)\ntime.sleep(1.5)\nprint(2)"
    with living(tmp_path, [code(f"job_run({slow!r})")], approve="within-budget") as (session, _):
        session.send("Train")
        wait_for(session, JobSubmitted)
        name = session.id
    sessions = Sessions(Settings(data_dir=tmp_path))
    sessions.recover()
    assert wait_for(sessions.open(name, "local"), JobEnded).status == "completed"
    sessions.close()


def test_a_job_that_ended_lately_without_a_bill_is_looked_after_again(tmp_path: Path) -> None:
    billed = JobBilled(job="ada/1", label="l", micro_usd=5)
    for price, more, held in ((60, [], True), (60, [billed], False), (0, [], False)):
        request = Spend(
            title="T", where="jobs", place=JOBS, script="1", timeout_seconds=60, price_micro_usd_per_hour=price
        )
        left: list[Event] = [
            MoneyReserved(hold="l", micro_usd=request.hold_micro_usd),
            JobSubmitting(label="l", call="c1", request=request),
            JobSubmitted(label="l", job="ada/1", call="c1", where="jobs", title="T"),
            JobEnded(job="ada/1", status="completed", seconds=1.0),
            MoneySettled(hold="l", micro_usd=request.hold_micro_usd),
            *more,
        ]
        name = f"session-{price}-{len(more)}"
        sessions = crashed(tmp_path, *left, session=name)
        sessions.recover()
        if held:  # whoever has it open keeps others out
            with pytest.raises(Problem):
                Journal(tmp_path / "sessions" / f"{name}.jsonl")
        else:
            Journal(tmp_path / "sessions" / f"{name}.jsonl").close()
        sessions.close()


@pytest.mark.parametrize("id", ["nosuch-session", "../../etc/passwd", "", "a" * 500, "x\x00y"])
def test_an_unknown_session_and_somebody_elses_are_refused_in_the_same_words(tmp_path: Path, id: str) -> None:
    sessions = Sessions(Settings(data_dir=tmp_path))
    theirs = sessions.create("hf:bob")
    with pytest.raises(Unknown) as foreign:
        sessions.open(theirs.id, "hf:ada")
    with pytest.raises(Unknown) as unknown:
        sessions.open(id, "hf:ada")
    assert foreign.value.message.replace(repr(theirs.id), "") == unknown.value.message.replace(repr(id[:64]), "")
    assert [one.id for one in sessions.list("hf:bob")] == [theirs.id]
    assert sessions.list("hf:ada") == []
    sessions.close()


def test_sessions_are_listed_newest_first_with_title_and_state(tmp_path: Path) -> None:
    with living(tmp_path, [code("final_answer(1)"), Reply("late", silence=60)]) as (session, server):
        sessions = Sessions(Settings(data_dir=tmp_path, model_base_url=server.base_url))
        done(session, "A first   task\nwith lines")
        time.sleep(0.002)
        other = sessions.create("local")
        assert [(one.title, one.state) for one in sessions.list("local")] == [
            ("", "idle"),
            ("A first task with lines", "done"),
        ]
        run = other.send("Second")
        assert sessions.list("local")[0].state == "running"
        other.stop()
        ended(other, run)
        assert sessions.list("local")[0].state == "stopped"
        sessions.close()


def test_a_damaged_journal_hides_no_other_session(tmp_path: Path) -> None:
    sessions = Sessions(Settings(data_dir=tmp_path))
    good = sessions.create("local")
    (tmp_path / "sessions" / "broken.jsonl").write_text("garbage\n")
    (tmp_path / "sessions" / "future.jsonl").write_text('{"version":99,"session":"f","owner":"local","created":1}\n')
    sessions.recover()
    assert [one.id for one in sessions.list("local")] == [good.id]
    sessions.close()


def test_a_token_stays_in_memory_and_goes_to_the_router_only(tmp_path: Path) -> None:
    sessions = Sessions(Settings(data_dir=tmp_path))
    assert not sessions.model("local").ready
    sessions.lend_token("local", TOKEN, check=False)
    assert sessions.model("local").ready
    assert not sessions.model("hf:ada").ready
    assert TOKEN not in repr(sessions) + repr(vars(sessions.settings)) + repr(sessions.settings)
    session = sessions.create("local")
    assert all(TOKEN.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert TOKEN not in repr(session)
    sessions.withdraw_token("local")
    assert not sessions.model("local").ready
    sessions.close()


def test_a_spaces_own_token_is_not_its_visitors(tmp_path: Path) -> None:
    settings = Settings.from_environ({"SPACE_ID": "ada/intern", "HF_TOKEN": TOKEN, "DATA_DIR": str(tmp_path)})
    sessions = Sessions(settings)
    assert not sessions.model("hf:bob").ready
    assert "Sign in" in sessions.model("hf:bob").missing
    sessions.close()


def test_uploads_get_plain_names_and_never_overwrite(tmp_path: Path) -> None:
    sessions = Sessions(Settings(data_dir=tmp_path / "data"))
    session = sessions.create("local")
    source = tmp_path / "source"
    source.write_text("content")
    names = [session.upload(name, source) for name in ("../../evil.pdf", "evil.pdf", ".hidden", "a/b\nc<d>.txt", "")]
    assert names == ["evil.pdf", "evil-2.pdf", "hidden", "b_c_d_.txt", "file"]
    with session.file("uploads/evil.pdf") as found:
        assert found.read() == b"content"
    for path in ("../crashed.jsonl", f"../{session.id}.jsonl", "/etc/passwd", "state/variables", "uploads/none"):
        with pytest.raises(Problem):
            session.file(path)
    (session.folder / "uploads" / "link").symlink_to("/etc/passwd")
    with pytest.raises(Problem, match="no file"):
        session.file("uploads/link")
    sessions.close()
