"""The routes on a real server, and a plain HTTP caller that sends exactly what a test says."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.types import ASGIApp

from agent.models.menu import Menu
from agent.sessions import Sessions
from ui.login import Login
from ui.routes import PREFIX, routes

SECRET = "a secret of the test"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Caller:
    port: int

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, headers)

    def post(self, path: str, form: object, **headers: str) -> Answer:
        """As our own page posts: JSON, with the page's Origin. Underscores in header names stand for dashes."""
        body = form if isinstance(form, bytes) else json.dumps(form).encode()
        return self.ask("POST", path, body, {"Origin": self.origin, "Content_Type": "application/json", **headers})

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        with self.reading(method, path, body, headers) as response:
            told = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, told, response.read())

    @contextmanager
    def reading(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Iterator[HTTPResponse]:
        """The response while it is still coming in."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        sent = {name.replace("_", "-"): value for name, value in (headers or {}).items() if value}
        connection.request(method, f"{PREFIX}/{path}", body, sent)
        response = connection.getresponse()
        try:
            yield response
        finally:
            response.close()  # a response that is still coming in holds the socket
            connection.close()


@dataclass(frozen=True)
class Site(Caller):
    sessions: Sessions


@contextmanager
def serving(sessions: Sessions, login: Login, menu: Menu | None = None) -> Iterator[Site]:
    middleware = [Middleware(SessionMiddleware, secret_key=SECRET)] if login.oauth else []
    with listening(Starlette(routes=routes(sessions, login, menu), middleware=middleware)) as port:
        yield Site(port, sessions)


@contextmanager
def listening(app: ASGIApp) -> Iterator[int]:
    """The port at which the app is served."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        until(lambda: server.started)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(5)


def until(true: Any, seconds: float = 60) -> None:
    """Wait for something to become true; fails when it does not."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
