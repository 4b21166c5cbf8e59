"""Two users of one app: whatever one asks for, no byte of the other's comes back."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.agent.living import code
from tests.doubles.model_server import ModelServer, by_words, in_order
from tests.journeys.running import App

pytestmark = pytest.mark.journey

API = "/gradio_api/agent"


class User:
    """A browser's cookie and what can be done with it. heard: every byte that ever came back."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._cookie = ""
        self.heard = b""
        self.get("sessions")

    def get(self, path: str) -> tuple[int, bytes]:
        return self._ask(urllib.request.Request(f"{self._app.url}{API}/{path}"))

    def post(self, path: str, **form: Any) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"{self._app.url}{API}/{path}",
            data=json.dumps(form).encode(),
            headers={"Content-Type": "application/json", "Origin": self._app.url},
        )
        status, body = self._ask(request)
        return status, json.loads(body or b"null")

    def watch(self, session: str, until: bytes) -> None:
        """Read the session's events until these bytes are among them."""
        request = urllib.request.Request(f"{self._app.url}{API}/events?session={session}&after=0")
        request.add_header("Cookie", self._cookie)
        with urllib.request.urlopen(request, timeout=20) as stream:
            for line in stream:
                self.heard += line
                if until in line:
                    return

    def _ask(self, request: urllib.request.Request) -> tuple[int, bytes]:
        if self._cookie:
            request.add_header("Cookie", self._cookie)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                self._cookie = self._cookie or answer.headers.get("set-cookie", "").partition(";")[0]
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        self.heard += body
        return status, body


def test_two_users_never_see_a_byte_of_each_others(tmp_path: Path) -> None:
    ask = "secret = {0!r}\nplan([{{'text': secret, 'status': 'completed'}}])\nanswer = ask_user('for ' + secret)\nfinal_answer(secret + answer)"
    script = by_words({name: in_order([code(ask.format(f"{name}-private"))]) for name in ("ada", "bob")})
    with ModelServer(script) as server, App(tmp_path, SPACE_ID="x/y", MODEL_BASE_URL=server.base_url) as app:
        ada, bob = User(app), User(app)
        sessions = {}
        for name, user in (("ada", ada), ("bob", bob)):
            sessions[name] = user.post("new")[1]["session"]
            assert user.post("send", session=sessions[name], text=f"I am {name}")[0] == 200
            user.watch(sessions[name], until=b"approval_asked")

        theirs = sessions["ada"]
        assert bob.get(f"events?session={theirs}&after=0")[0] == 204
        assert bob.get(f"files/{theirs}/uploads/x")[0] == 404
        forms: dict[str, dict[str, Any]] = {
            "send": {"text": "hello"},
            "answer": {"approval": "a1", "verdict": "yes", "text": "stolen"},
            "stop": {},
            "budget": {"usd": 100},
        }
        for path, form in forms.items():
            status, said = bob.post(path, session=theirs, **form)
            unknown = bob.post(path, session="no-such-session", **form)[1]
            assert status == 404
            assert said["message"].replace(theirs, "") == unknown["message"].replace("no-such-session", "")
        assert theirs.encode() not in bob.get("sessions")[1]

        for name, user in (("ada", ada), ("bob", bob)):
            assert user.post("answer", session=sessions[name], approval="a1", verdict="yes", text="-own")[0] == 200
            user.watch(sessions[name], until=b"run_ended")
        assert b"ada-private-own" in ada.heard
        assert b"bob-private-own" in bob.heard
        assert b"bob-private" not in ada.heard
        assert b"ada-private" not in bob.heard
        for request in server.requests:
            said = json.dumps(request.body)
            assert ("I am ada" in said) != ("I am bob" in said)
