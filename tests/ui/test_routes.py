"""What the page may ask, who may ask it, and what is refused in which words."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import JsonValue

from agent.events import ApprovalAnswered, ApprovalAsked, BudgetSet, DemandsSet, Entry, Rewound, RunEnded, UserSaid
from agent.job_events import JobSubmitted
from agent.session import Session
from agent.sessions import Sessions
from agent.settings import Settings
from tests.agent.living import done, emptied, ended, events, everything, tell, wait_for
from tests.doubles.hub import FakeHub
from tests.doubles.scenes import SPEND
from tests.ui.serving import Site, serving, until
from tools.cards import Answer
from ui.assets import HASH
from ui.login import Login

JOB = "/job_run script=print(1) flavor=t4-small timeout=30m"


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        yield fake


@pytest.fixture(scope="module")
def served(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), places=hub.places())
    with closing(Sessions(settings)) as sessions, serving(sessions, Login()) as site:
        yield site


@pytest.fixture
def site(served: Site) -> Site:
    """Without a model and without a token: a message is answered with that, and tools are called by hand."""
    emptied(served.sessions).withdraw_token("local")
    return served


@pytest.fixture
def session(site: Site) -> Session:
    return site.sessions.create("local")


@pytest.fixture
def asking(session: Session) -> Session:
    """In a run that waits for the answer to a question."""
    session.send("/ask_user Which?")
    wait_for(session, ApprovalAsked)
    return session


def test_a_message_is_sent_to_the_session(site: Site, session: Session) -> None:
    answer = site.post("send", {"session": session.id, "text": "hello"})
    assert answer.status == 200
    [event] = events(session, UserSaid)
    assert event.text == "hello"
    assert answer.json == {"run": event.run}


def test_a_message_during_a_run_is_a_conflict_in_the_sessions_words(site: Site, asking: Session) -> None:
    answer = site.post("send", {"session": asking.id, "text": "second"})
    assert answer.status == 409
    assert answer.json == {"message": "A run is still going on.", "hint": "Wait for its end, or press Stop first."}


def test_an_answer_reaches_the_session_once(site: Site, asking: Session) -> None:
    form = {"session": asking.id, "approval": "a1", "verdict": "yes", "text": "the first", "edits": {}}
    assert site.post("answer", form).status == 200
    [answered] = events(asking, ApprovalAnswered)
    assert (answered.approval, answered.answer) == ("a1", Answer(verdict="yes", text="the first"))
    assert site.post("answer", form).status == 409


def test_stop_and_budget_reach_the_session(site: Site, asking: Session) -> None:
    assert site.post("stop", {"session": asking.id}).status == 200
    assert ended(asking, "r1").why == "stopped"
    assert site.post("budget", {"session": asking.id, "usd": 2.5}).status == 200
    assert events(asking, BudgetSet)[-1].micro_usd == 2_500_000


def test_an_answer_may_carry_edits_and_the_budget_that_it_raises(site: Site, session: Session) -> None:
    site.sessions.lend_token("local", "hf_ada")
    session.send(JOB)
    asked = wait_for(session, ApprovalAsked)
    edits: dict[str, JsonValue] = {"timeout_seconds": 3600}
    form = {"session": session.id, "approval": asked.approval, "verdict": "yes", "edits": edits}
    assert site.post("answer", form | {"budget_micro_usd": 7_500_000}).status == 200
    [answered] = events(session, ApprovalAnswered)
    assert answered.answer == Answer(verdict="yes", edits=edits, budget_micro_usd=7_500_000)
    assert answered.request == asked.request.model_copy(update=edits)
    assert events(session, BudgetSet)[-1].micro_usd == 7_500_000


@pytest.mark.parametrize("budget", ["-1", "100000000001", "1e6", "1.5", '"5"', "true"])
def test_a_budget_in_an_answer_is_a_whole_sum_within_reason(site: Site, session: Session, budget: str) -> None:
    tell(session, ApprovalAsked(approval="a", call="c", request=SPEND))
    form = f'{{"session": "{session.id}", "approval": "a", "verdict": "yes", "budget_micro_usd": {budget}}}'
    assert site.post("answer", form.encode()).status == 422
    assert events(session, ApprovalAnswered) == []


@pytest.mark.parametrize("usd", ["-1", "1e999", "NaN", '"5"', "null"])
def test_a_budget_is_a_sum_of_money(site: Site, session: Session, usd: str) -> None:
    before = session.last_seq
    assert site.post("budget", f'{{"session": "{session.id}", "usd": {usd}}}'.encode()).status == 422
    assert session.last_seq == before


def test_another_owners_session_is_refused_like_one_that_never_was(site: Site) -> None:
    foreign = site.sessions.create("hf:bob")
    for id in (foreign.id, "never", "../../etc/passwd", ""):
        answers = [
            site.post("send", {"session": id, "text": "x"}),
            site.post("answer", {"session": id, "approval": "a", "verdict": "yes"}),
            site.post("stop", {"session": id}),
            site.post("budget", {"session": id, "usd": 1}),
            site.ask("POST", f"upload?session={id}&name=x", b"x", {"Content-Type": "application/octet-stream"}),
            site.get(f"files/{id or '-'}/uploads/x"),
        ]
        assert [answer.status for answer in answers] == [404] * 6
        assert {answer.json["message"] for answer in answers[:-1]} == {f"There is no session {id!r} of yours."}
        assert site.get(f"events?session={id}").status == 204
    assert foreign.last_seq == 0


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null", "http://[", "file://"])
def test_another_sites_page_changes_and_reads_nothing(site: Site, session: Session, origin: str) -> None:
    assert site.post("send", {"session": session.id, "text": "x"}, Origin=origin).status == 403
    assert site.post("new", {}, Origin=origin).status == 403
    assert site.get("sessions", Origin=origin).status == 403
    assert site.get(f"events?session={session.id}", Origin=origin).status == 403
    assert session.last_seq == 0


@pytest.mark.parametrize("place", ["cross-site", "same-site"])
def test_a_script_tag_of_another_site_reads_nothing(site: Site, place: str) -> None:
    assert site.get("sessions", Sec_Fetch_Site=place).status == 403
    assert site.get("sessions", Sec_Fetch_Site="same-origin").status == 200
    assert site.get("sessions", Sec_Fetch_Site="none").status == 200


def test_a_caller_that_is_no_browser_may_post_but_not_with_cookies(site: Site) -> None:
    assert site.post("new", {}, Origin="").status == 200
    assert site.post("new", {}, Origin="", Cookie="a=b").status == 403
    assert site.post("new", {}, Origin="", Sec_Fetch_Site="none").status == 403


def test_a_spaces_own_host_is_our_origin_behind_its_proxy(tmp_path: Path) -> None:
    login = Login.from_environment({"SPACE_ID": "ada/ml-intern", "SPACE_HOST": "ada-ml-intern.hf.space"})
    settings = Settings(data_dir=tmp_path, on_space=True)
    with closing(Sessions(settings)) as sessions, serving(sessions, login) as site:
        cookie = site.get("sessions").headers["set-cookie"].partition(";")[0]
        assert site.post("new", {}, Origin="https://ada-ml-intern.hf.space", Cookie=cookie).status == 200
        assert site.post("new", {}, Origin="https://eve-ml-intern.hf.space", Cookie=cookie).status == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_is_read(site: Site, kind: str) -> None:
    assert site.post("new", b"{}", Content_Type=kind).status == 415


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"session": 1, "text": "x"}', b'{"session": "x"}', b'{"session": "x", "text": "x", "more": 1}',
     b"\xff\xfe", b"[" * 100_000, b'{"session": "' + b"x" * 200 + b'", "text": "x"}'],
)  # fmt: skip
def test_a_body_that_is_not_the_form_is_refused_in_words(site: Site, body: bytes) -> None:
    answer = site.post("send", body)
    assert answer.status == 422
    assert answer.json["message"].startswith("The request is not understood.")
    assert len(answer.body) < 1000


def test_a_large_body_is_refused_before_it_is_read_whole(site: Site, session: Session) -> None:
    answer = site.post("send", {"session": session.id, "text": "x" * 1_000_000})
    assert answer.status == 413
    assert session.last_seq == 0


def test_a_fault_that_nobody_foresaw_shows_no_trace(tmp_path: Path) -> None:
    with closing(Sessions(Settings(data_dir=tmp_path))) as sessions, serving(sessions, Login()) as site:
        shutil.rmtree(tmp_path / "sessions")  # under the feet of the running app
        answer = site.post("new", {})
    assert answer.status == 500
    assert set(answer.json) == {"message", "hint"}
    assert str(tmp_path).encode() not in answer.body


def test_a_file_goes_up_and_comes_down_and_is_never_a_page(site: Site, session: Session) -> None:
    page = b"<script>alert(1)</script>" * 1000
    headers = {"Content-Type": "application/octet-stream", "Origin": site.origin}
    answer = site.ask("POST", f"upload?session={session.id}&name=..%2F..%2Fevil.html", page, headers)
    assert answer.json == {"name": "evil.html"}
    got = site.get(f"files/{session.id}/uploads/evil.html")
    assert got.body == page
    assert got.headers["content-disposition"].startswith("attachment")
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in got.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["../secret", "%2e%2e/secret", "uploads/%2e%2e/%2e%2e/secret", "/etc/passwd", "none"])
def test_only_the_sessions_own_files_are_given(site: Site, session: Session, path: str) -> None:
    (session.folder.parent / "secret").write_text("secret")
    answer = site.get(f"files/{session.id}/{path}")
    assert answer.status == 404
    assert b"secret\n" not in answer.body


def test_the_list_says_what_the_left_side_shows(site: Site, session: Session) -> None:
    done(session, '/plan todos=["Train"]')
    [*_, (_, line)] = session.read(0)
    told = site.get("sessions").json
    assert told["model"]["ready"] is False
    assert told["model"]["missing"].startswith("There is no model yet: set HF_TOKEN")
    title, at = '/plan todos=["Train"]', Entry.model_validate_json(line).at
    assert told["sessions"] == [
        {"id": session.id, "title": title, "state": "done", "at": at, "entries": session.last_seq}
    ]


def test_the_pages_files_are_kept_by_browsers_for_good(site: Site) -> None:
    answer = site.get(f"static/{HASH}/main.js")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]
    assert site.get(f"static/{HASH}/vendor/highlight/core.js").status == 200
    font = site.get(f"static/{HASH}/vendor/katex/fonts/KaTeX_Main-Regular.woff2")
    assert font.headers["content-type"] == "font/woff2"


@pytest.mark.parametrize(
    "path", ["other/main.js", f"{HASH}/none.js", f"{HASH}/../routes.py", f"{HASH}/%2e%2e/routes.py", f"{HASH}/"]
)
def test_there_are_no_other_files_behind_the_pages(site: Site, path: str) -> None:
    assert site.get(f"static/{path}").status == 404


def test_undo_edit_and_demands_reach_the_session(site: Site, session: Session) -> None:
    done(session, "one")
    assert site.post("send", {"session": session.id, "text": "better", "replace": "r1"}).status == 200
    ended(session, "r2")
    assert [type(event) for event in everything(session)] == [UserSaid, RunEnded, Rewound, UserSaid, RunEnded]
    assert site.post("undo", {"session": session.id}).status == 200
    assert site.post("undo", {"session": session.id}).status == 409
    pin = {"about": "budget", "rule": "must", "text": "under $3", "value": "3000000"}
    assert site.post("demands", {"session": session.id, "demands": [pin]}).status == 200
    event = everything(session)[-1]
    assert isinstance(event, DemandsSet)
    assert [one.model_dump() for one in event.demands] == [pin]
    assert site.post("demands", {"session": session.id, "demands": [{"text": "x"}]}).status == 422
    assert site.post("demands", {"session": session.id, "demands": [pin] * 101}).status == 422


def test_on_zerogpu_a_run_finds_the_quota_of_who_sent_the_message(site: Site, session: Session) -> None:
    from gradio.context import LocalContext

    quotas: dict[str, str] = {}  # by the name of the thread that writes an event

    def note() -> None:
        request = LocalContext.request.get()
        assert request is not None
        quotas[threading.current_thread().name] = request.headers["x-ip-token"]

    session.subscribe(note)
    site.post("send", {"session": session.id, "text": "hello"}, X_Ip_Token="visitor's")
    ended(session, "r1")
    assert quotas[f"run-{session.id}-r1"] == "visitor's"


def test_one_job_is_cancelled_by_its_session_alone(hub: FakeHub, site: Site, session: Session) -> None:
    site.sessions.lend_token("local", "hf_ada")
    session.send(JOB)
    yes = Answer(verdict="yes", budget_micro_usd=1_000_000)
    session.answer(wait_for(session, ApprovalAsked).approval, yes)
    job = wait_for(session, JobSubmitted).job
    another = site.sessions.create("local")
    refused = site.post("cancel", {"session": another.id, "job": job})
    assert (refused.status, refused.json["message"]) == (409, f"This session has no job {job!r}.")
    assert site.post("cancel", {"session": session.id, "job": job}).status == 200
    until(lambda: hub.jobs.all[job.rpartition("/")[2]].over)
