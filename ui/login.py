"""Who is asking: a signed-in Hugging Face user, an anonymous visitor known by a cookie, or the owner of this machine."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from agent.sessions import OWN_MACHINE
from tools.problem import Problem

COOKIE = "ml_intern_visitor"
COOKIE_SECONDS = 30 * 24 * 3600
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class NotLetIn(Problem):
    """The request comes from where this app does not answer, or from a browser that cannot be told apart."""


@dataclass(frozen=True)
class Asker:
    """One request's author. owner names whose sessions may be seen; name is for the eye, "" for an anonymous visitor."""

    owner: str
    name: str = ""
    token: str = field(default="", repr=False)  # of the sign-in; lent to the sessions, never shown
    new_cookie: str = field(default="", repr=False)  # set when the browser showed none
    own_machine: bool = False


@dataclass(frozen=True)
class Login:
    """The rules of one running app; call it with a request.

    space: runs as a Space. loopback: only this machine reaches it. oauth: sign-in is configured.
    hosts: further names this app is reached by, beside the request's own Host.
    """

    space: bool = False
    loopback: bool = True
    oauth: bool = False
    hosts: frozenset[str] = frozenset()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Login:
        space_host = environ.get("SPACE_HOST", "").lower()
        return cls(
            space=bool(environ.get("SPACE_ID")),
            loopback=environ.get("GRADIO_SERVER_NAME", "127.0.0.1") in LOOPBACK,
            # Elsewhere Gradio plays the sign-in with this machine's own token, and does not start without one.
            oauth=environ.get("SYSTEM") == "spaces" and bool(environ.get("OAUTH_CLIENT_ID")),
            hosts=frozenset({space_host} - {""}),
        )

    @property
    def own_machine(self) -> bool:
        return self.loopback and not self.space

    def __call__(self, request: Request) -> Asker:
        """Name the asker. Raises NotLetIn for a foreign Host on one's own machine, which is how DNS rebinding looks."""
        if self.own_machine:
            host = _hostname(request.headers.get("host", ""))
            if host not in LOOPBACK:
                raise NotLetIn(
                    f"This app answers only on this machine, not as {host!r}.",
                    "Open it as http://127.0.0.1 with its port, or set GRADIO_SERVER_NAME=0.0.0.0 to let others in.",
                )
            return Asker(owner=OWN_MACHINE, own_machine=True)
        return self._signed_in(request) or _visitor(request)

    def _signed_in(self, request: Request) -> Asker | None:
        if not self.oauth or "session" not in request.scope:
            return None
        info = request.session.get("oauth_info") or {}
        name = (info.get("userinfo") or {}).get("preferred_username")
        if not name or info.get("expires_at", 0) < time.time():
            return None
        return Asker(owner=f"hf:{name}", name=name, token=info.get("access_token", ""))

    def greet(self, asker: Asker, request: Request, response: Response) -> None:
        """Give a new visitor the cookie by which the next request is known."""
        if not asker.new_cookie:
            return
        https = self.space or request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
        # Inside a page of another site only a Secure, SameSite=None cookie is sent, and Partitioned keeps it allowed.
        scope = "Secure; SameSite=None; Partitioned" if https else "SameSite=Lax"
        cookie = f"{COOKIE}={asker.new_cookie}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; {scope}"
        response.headers.append("set-cookie", cookie)


def _visitor(request: Request) -> Asker:
    shown = request.cookies.get(COOKIE, "")
    known = re.fullmatch(r"[A-Za-z0-9_-]{32}", shown) is not None
    cookie = shown if known else secrets.token_urlsafe(24)
    # The owner's name is written to disk; the cookie is a key and is not.
    owner = "visitor:" + hashlib.sha256(cookie.encode()).hexdigest()[:32]
    return Asker(owner=owner, new_cookie="" if known else cookie)


def _hostname(host: str) -> str:
    """The name in a Host header, without port and brackets; "" when it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
