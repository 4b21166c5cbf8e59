"""Who is asking, and from where."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import itsdangerous
import pytest

from agent.journal import read_header
from agent.sessions import Sessions
from agent.settings import Settings
from tests.doubles.hub import FakeHub
from tests.ui.serving import SECRET, Site, serving, until
from ui.login import Login

SPACE = Login(space=True, oauth=True, hosts=frozenset({"ada-ml-intern.hf.space"}))


@pytest.fixture
def space(hub: FakeHub, tmp_path: Path) -> Iterator[Site]:
    settings = Settings(data_dir=tmp_path, places=hub.places(), on_space=True)
    with closing(Sessions(settings)) as sessions, serving(sessions, SPACE) as site:
        yield site


@pytest.fixture
def laptop(hub: FakeHub, tmp_path: Path) -> Iterator[Site]:
    settings = Settings(data_dir=tmp_path, places=hub.places())
    with closing(Sessions(settings)) as sessions, serving(sessions, Login()) as site:
        yield site


def signed_in(name: str, token: str = "hf_of_ada", seconds: float = 3600) -> str:
    """The cookie that Gradio's sign-in sets."""
    info = {"access_token": token, "expires_at": time.time() + seconds, "userinfo": {"preferred_username": name}}
    data = base64.b64encode(json.dumps({"oauth_info": info}).encode())
    return "session=" + itsdangerous.TimestampSigner(SECRET).sign(data).decode()


def owners(site: Site) -> list[str]:
    """Whose the sessions on the disk are."""
    return [read_header(path).owner for path in (site.sessions.settings.data_dir / "sessions").glob("*.jsonl")]


def token_seen(hub: FakeHub, site: Site, cookie: str = "") -> str:
    """The token with which the Hub is asked for who sends this cookie."""
    session = site.post("new", {}, Cookie=cookie).json["session"]
    path, before = "/api/models/ada/tiny-bert", len(hub.asked)
    assert site.post("send", {"session": session, "text": "/hub_info model ada/tiny-bert"}, Cookie=cookie).status == 200
    until(lambda: any(asked.path == path for asked in hub.asked[before:]))
    [asked] = [asked for asked in hub.asked[before:] if asked.path == path]
    return asked.headers.get("authorization", "").removeprefix("Bearer ")


def visitor_cookie(site: Site) -> str:
    return site.get("sessions").headers["set-cookie"].partition(";")[0]


def test_on_ones_own_machine_there_is_one_owner_and_no_cookie(laptop: Site) -> None:
    answer = laptop.get("sessions")
    assert answer.json["own_machine"] is True
    assert "set-cookie" not in answer.headers
    laptop.post("new", {})
    assert owners(laptop) == ["local"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "[::1"])
def test_a_rebound_name_is_not_answered_on_ones_own_machine(laptop: Site, host: str) -> None:
    answer = laptop.ask("GET", "sessions", None, {"Host": host or " "})
    assert answer.status in (400, 403)
    assert b'"sessions"' not in answer.body


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1", "[::1]:7860", "LOCALHOST"])
def test_the_machines_own_names_are_answered(laptop: Site, host: str) -> None:
    assert laptop.get("sessions", Host=host).status == 200


def test_an_app_that_others_can_reach_tells_visitors_apart(tmp_path: Path) -> None:
    login = Login.from_environment({"GRADIO_SERVER_NAME": "0.0.0.0"})
    with closing(Sessions(Settings(data_dir=tmp_path))) as sessions, serving(sessions, login) as site:
        ada, bob = visitor_cookie(site), visitor_cookie(site)
        assert ada != bob
        session = site.post("new", {}, Cookie=ada).json["session"]
        assert site.get("sessions", Cookie=ada).json["sessions"][0]["id"] == session
        assert site.get("sessions", Cookie=bob).json["sessions"] == []
        assert site.post("token", {"token": "hf_x"}, Cookie=ada).status == 403


def test_a_visitors_cookie_works_inside_another_sites_page_and_no_script_reads_it(space: Site) -> None:
    cookie = space.get("sessions", X_Forwarded_Proto="https").headers["set-cookie"]
    for part in ("HttpOnly", "Secure", "SameSite=None", "Partitioned", "Path=/"):
        assert part in cookie


def test_a_visitors_key_is_not_the_owners_name(space: Site) -> None:
    cookie = visitor_cookie(space)
    space.post("new", {}, Cookie=cookie)
    [owner] = owners(space)
    assert owner.startswith("visitor:")
    assert cookie.partition("=")[2] not in owner


def test_a_browser_that_keeps_no_cookie_is_told_so_and_starts_nothing(space: Site) -> None:
    assert space.get("sessions").json["known"] is False
    answer = space.post("new", {})
    assert answer.status == 403
    assert "cookie" in answer.json["message"]
    assert owners(space) == []


def test_a_made_up_cookie_is_replaced(space: Site) -> None:
    answer = space.get("sessions", Cookie="ml_intern_visitor=short")
    assert answer.json["known"] is False
    assert "ml_intern_visitor=" in answer.headers["set-cookie"]


def test_a_signed_in_user_is_known_by_name_and_the_token_is_lent_without_asking_the_hub(
    hub: FakeHub, space: Site
) -> None:
    answer = space.get("sessions", Cookie=signed_in("ada"))
    assert answer.json["name"] == "ada"
    assert answer.json["signed_in"] is True
    assert b"hf_of_ada" not in answer.body
    assert hub.asked == []
    assert token_seen(hub, space, signed_in("ada")) == "hf_of_ada"


def test_a_new_sign_in_replaces_the_lent_token(hub: FakeHub, space: Site) -> None:
    space.get("sessions", Cookie=signed_in("ada", "hf_first"))
    assert token_seen(hub, space, signed_in("ada", "hf_second")) == "hf_second"


def test_an_expired_sign_in_is_an_anonymous_visitor(hub: FakeHub, space: Site) -> None:
    cookie = signed_in("ada", seconds=-1)
    answer = space.get("sessions", Cookie=cookie)
    assert answer.json["name"] == ""
    visitor = answer.headers["set-cookie"].partition(";")[0]
    assert token_seen(hub, space, f"{cookie}; {visitor}") == ""
    assert owners(space)[0].startswith("visitor:")


def test_a_forged_sign_in_is_an_anonymous_visitor(space: Site) -> None:
    forged = signed_in("ada")[:-4] + "AAAA"
    assert space.get("sessions", Cookie=forged).json["name"] == ""


def test_a_token_can_be_pasted_and_taken_back_on_ones_own_machine(hub: FakeHub, laptop: Site) -> None:
    assert laptop.post("token", {"token": " hf_ada "}).json == {"name": "ada"}
    assert token_seen(hub, laptop) == "hf_ada"
    assert laptop.get("sessions").json["name"] == "ada"
    assert laptop.post("token", {"token": ""}).json == {"name": ""}
    assert token_seen(hub, laptop) == ""


def test_a_token_that_the_hub_refuses_is_not_repeated(laptop: Site) -> None:
    answer = laptop.post("token", {"token": "wrong-secret"})
    assert answer.status == 400
    assert b"wrong-secret" not in answer.body
