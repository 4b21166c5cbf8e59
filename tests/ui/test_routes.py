"""What the page may ask, who may ask it, and what is refused in which words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.events import ApprovalAsked, DemandsSet, Rewound, RunEnded, UserSaid
from tests.doubles.scenes import SPEND
from tests.doubles.sessions import ToldSession, ToldSessions
from tests.ui.serving import Site, serving, until
from tools.cards import Answer, Question
from ui.assets import HASH
from ui.login import Login


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(ToldSessions(tmp_path_factory.mktemp("sessions")), Login()) as site:
        yield site


@pytest.fixture
def site(served: Site) -> Site:
    served.sessions.all.clear()
    return served


@pytest.fixture
def session(site: Site) -> ToldSession:
    return site.sessions.create("local")


def test_a_message_is_sent_to_the_session(site: Site, session: ToldSession) -> None:
    answer = site.post("send", {"session": session.id, "text": "hello"})
    assert answer.status == 200
    event = session.entries[-1].event
    assert isinstance(event, UserSaid)
    assert event.text == "hello"
    assert answer.json == {"run": event.run}


def test_a_message_during_a_run_is_a_conflict_in_the_sessions_words(site: Site, session: ToldSession) -> None:
    session.tell(UserSaid(run="r", text="first"))
    answer = site.post("send", {"session": session.id, "text": "second"})
    assert answer.status == 409
    assert answer.json == {"message": "A run is going on in this session.", "hint": "Stop it, or wait for its end."}


def test_an_answer_reaches_the_session_with_its_edits_once(site: Site, session: ToldSession) -> None:
    session.tell(ApprovalAsked(approval="a", call="c", request=Question(question="Which?")))
    form = {"session": session.id, "approval": "a", "verdict": "yes", "text": "the first", "edits": {}}
    assert site.post("answer", form).status == 200
    assert session.answers == [("a", Answer(verdict="yes", text="the first"))]
    assert site.post("answer", form).status == 409


def test_stop_and_budget_reach_the_session(site: Site, session: ToldSession) -> None:
    assert site.post("stop", {"session": session.id}).status == 200
    assert session.stopped.is_set()
    assert site.post("budget", {"session": session.id, "usd": 2.5}).status == 200
    assert session.entries[-1].event.micro_usd == 2_500_000  # type: ignore[union-attr]


def test_an_answer_may_carry_the_budget_that_it_raises(site: Site, session: ToldSession) -> None:
    session.tell(ApprovalAsked(approval="a", call="c", request=SPEND))
    form = {"session": session.id, "approval": "a", "verdict": "yes", "budget_micro_usd": 7_500_000}
    assert site.post("answer", form).status == 200
    assert session.answers == [("a", Answer(verdict="yes", budget_micro_usd=7_500_000))]


@pytest.mark.parametrize("budget", ["-1", "100000000001", "1e6", "1.5", '"5"', "true"])
def test_a_budget_in_an_answer_is_a_whole_sum_within_reason(site: Site, session: ToldSession, budget: str) -> None:
    session.tell(ApprovalAsked(approval="a", call="c", request=SPEND))
    form = f'{{"session": "{session.id}", "approval": "a", "verdict": "yes", "budget_micro_usd": {budget}}}'
    assert site.post("answer", form.encode()).status == 422
    assert session.answers == []


@pytest.mark.parametrize("usd", ["-1", "1e999", "NaN", '"5"', "null"])
def test_a_budget_is_a_sum_of_money(site: Site, session: ToldSession, usd: str) -> None:
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
        assert {answer.json["message"] for answer in answers} == {"There is no such session."}
        assert site.get(f"events?session={id}").status == 204
    assert foreign.last_seq == 1


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null", "http://[", "file://"])
def test_another_sites_page_changes_and_reads_nothing(site: Site, session: ToldSession, origin: str) -> None:
    assert site.post("send", {"session": session.id, "text": "x"}, Origin=origin).status == 403
    assert site.post("new", {}, Origin=origin).status == 403
    assert site.get("sessions", Origin=origin).status == 403
    assert site.get(f"events?session={session.id}", Origin=origin).status == 403
    assert session.last_seq == 1


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
    with serving(ToldSessions(tmp_path), login) as site:
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


def test_a_large_body_is_refused_before_it_is_read_whole(site: Site, session: ToldSession) -> None:
    answer = site.post("send", {"session": session.id, "text": "x" * 1_000_000})
    assert answer.status == 413
    assert session.last_seq == 1


def test_a_fault_of_ours_shows_no_trace(site: Site, session: ToldSession) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("hf_secret in a trace")

    session.stop = broken  # type: ignore[method-assign]
    answer = site.post("stop", {"session": session.id})
    assert answer.status == 500
    assert set(answer.json) == {"message", "hint"}
    assert b"hf_secret" not in answer.body


def test_a_file_goes_up_and_comes_down_and_is_never_a_page(site: Site, session: ToldSession) -> None:
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
def test_only_the_sessions_own_files_are_given(site: Site, session: ToldSession, path: str) -> None:
    (session.folder.parent / "secret").write_text("secret")
    answer = site.get(f"files/{session.id}/{path}")
    assert answer.status == 404
    assert b"secret\n" not in answer.body


def test_the_list_says_what_the_left_side_shows(site: Site, session: ToldSession) -> None:
    session.tell(UserSaid(run="r", text="train it"), RunEnded(run="r", why="answered", answer="done"))
    told = site.get("sessions").json
    assert told["model"]["ready"] is True
    assert told["sessions"] == [
        {"id": session.id, "title": "train it", "state": "done", "at": session.entries[-1].at, "entries": 3}
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


def test_undo_edit_and_demands_reach_the_session(site: Site, session: ToldSession) -> None:
    session.tell(UserSaid(run="r1", text="one"), RunEnded(run="r1", why="answered"))
    assert site.post("send", {"session": session.id, "text": "better", "replace": "r1"}).status == 200
    rewound, said = session.entries[-2].event, session.entries[-1].event
    assert isinstance(rewound, Rewound)
    assert isinstance(said, UserSaid)
    session.tell(RunEnded(run=said.run, why="answered"))
    assert site.post("undo", {"session": session.id}).status == 200
    assert site.post("undo", {"session": session.id}).status == 409
    pin = {"about": "budget", "rule": "must", "text": "under $3", "value": "3000000"}
    assert site.post("demands", {"session": session.id, "demands": [pin]}).status == 200
    event = session.entries[-1].event
    assert isinstance(event, DemandsSet)
    assert [one.model_dump() for one in event.demands] == [pin]
    assert site.post("demands", {"session": session.id, "demands": [{"text": "x"}]}).status == 422
    assert site.post("demands", {"session": session.id, "demands": [pin] * 101}).status == 422


def test_on_zerogpu_a_run_finds_the_quota_of_who_sent_the_message(site: Site, session: ToldSession) -> None:
    from gradio.context import LocalContext

    found: list[str] = []
    session.on_send = lambda *_: found.append(LocalContext.request.get().headers["x-ip-token"])
    site.post("send", {"session": session.id, "text": "hello"}, X_Ip_Token="visitor's")
    until(lambda: found)
    assert found == ["visitor's"]


def test_one_job_is_cancelled_by_its_session_alone(site: Site, session: ToldSession) -> None:
    assert site.post("cancel", {"session": session.id, "job": "j1"}).status == 200
    assert session.cancelled == ["j1"]
    assert site.post("cancel", {"session": site.sessions.create("another").id, "job": "j1"}).status == 404
