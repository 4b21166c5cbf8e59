"""What the page calls: Starlette routes under /gradio_api/agent/. Each one knows who asks before it does anything.

The paths begin with /gradio_api because on a Space nothing else is sure to reach Python.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, Literal, TypeVar
from urllib.parse import quote

from gradio import Request as GradioRequest
from gradio.context import LocalContext
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tools.cards import MOST_BUDGET, Answer, Demand
from tools.problem import Problem
from ui.assets import asset
from ui.guard import Refusal, check_origin, read_form
from ui.login import Asker, Login, NotLetIn
from ui.model_routes import Door, ModelRoutes
from ui.stream import EventStream

if TYPE_CHECKING:
    from agent.session import Session
    from agent.sessions import Menu, Sessions

PREFIX = "/gradio_api/agent"
UPLOAD_LIMIT = 200_000_000  # bytes
PIECE = 64 * 1024  # bytes of a download at a time
log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Nothing(_Form):
    pass


class _In(_Form):
    session: str = Field(max_length=100)


class _Send(_In):
    text: str
    files: list[str] = Field(default=[], max_length=50)
    replace: str = Field(default="", max_length=50)  # the run whose message this one takes the place of


class _Answer(_In):
    approval: str = Field(max_length=200)
    verdict: Literal["yes", "no"]
    reason: str = ""
    text: str = ""
    edits: dict[str, JsonValue] = {}
    budget_micro_usd: int | None = Field(default=None, ge=0, le=MOST_BUDGET)

    def answer(self) -> Answer:
        return Answer.model_validate(self.model_dump(exclude={"session", "approval"}))


class _Demands(_In):
    demands: list[Demand] = Field(max_length=100)


class _Budget(_In):
    usd: float = Field(ge=0, le=MOST_BUDGET / 1e6, allow_inf_nan=False)
    of: Literal["compute", "thinking", "both"] = "compute"


class _Cancel(_In):
    job: str = Field(max_length=300)


class _Token(_Form):
    token: str = Field(max_length=400)


F = TypeVar("F", bound=_In)
T = TypeVar("T")


@dataclass(frozen=True)
class Act(Generic[F]):
    """What is done to one session, and nothing comes back but that it was done."""

    path: str
    form: type[F]
    do: Callable[[Session, F], None]
    refused: int = 409  # the status where the state of the session forbids it; 400 where only the value can be wrong


ACTS = (
    Act("answer", _Answer, lambda session, form: session.answer(form.approval, form.answer())),
    Act("stop", _In, lambda session, _: session.stop(), 400),
    Act("cancel", _Cancel, lambda session, form: session.cancel_job(form.job)),
    Act("undo", _In, lambda session, _: session.undo()),
    Act("demands", _Demands, lambda session, form: session.set_demands(form.demands), 400),
    Act("budget", _Budget, lambda session, form: session.set_budget(round(form.usd * 1_000_000), form.of), 400),
)


def routes(sessions: Sessions, login: Login, menu: Menu | None = None) -> list[Route]:
    """The routes of one app, for launch(app_kwargs={"routes": ...}). menu: None where none can be chosen."""
    api = _Api(sessions, login)
    reads = {
        "events": api.events,
        "sessions": api.sessions_seen,
        "files/{session}/{path:path}": api.file,
    }
    writes: dict[str, Endpoint] = {
        "new": api.new,
        "send": api.send,
        "upload": api.upload,
        "token": api.token,
        **{act.path: partial(api.act, act) for act in ACTS},
    }
    if menu:
        choosing = ModelRoutes(menu, Door(api._asker, api._known, api._open))
        reads["models"], writes["model"] = choosing.offered, choosing.choose
    return [
        Route(f"{PREFIX}/static/{{version}}/{{name:path}}", _asset, methods=["GET"]),
        *(Route(f"{PREFIX}/{path}", api.guarded(endpoint), methods=["GET"]) for path, endpoint in reads.items()),
        *(Route(f"{PREFIX}/{path}", api.guarded(endpoint), methods=["POST"]) for path, endpoint in writes.items()),
    ]


class _Api:
    """The endpoints of one app. Whatever may wait (disk, network, a lock) runs in a thread, never in the server's loop."""

    def __init__(self, sessions: Sessions, login: Login) -> None:
        self._sessions, self._login = sessions, login
        self._lent: dict[str, str] = {}  # owner -> fingerprint of the sign-in's token that the sessions have
        self._names: dict[str, str] = {}  # owner -> user name that a lent token belongs to

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """Turn every refusal and every failure into {message, hint}; a trace goes to the log and never to the page."""

        async def answer(request: Request) -> Response:
            try:
                check_origin(request, self._login.hosts)
                return await endpoint(request)
            except Refusal as refusal:
                return _refusal(refusal, refusal.status)
            except NotLetIn as problem:
                return _refusal(problem, 403)
            except Problem as problem:
                return _refusal(problem, 400)
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception:
                log.exception("%s %s failed", request.method, request.url.path)
                return _refusal(
                    Problem("Something went wrong on the server.", "Try again; its log has the details."), 500
                )

        return answer

    def _known(self, request: Request) -> Asker:
        """Who asks to change something. A visitor whose browser shows no cookie could never find it again."""
        asker = self._asker(request)
        if asker.new_cookie:
            raise NotLetIn("This browser does not keep this page's cookie.", "Open ML Intern in its own tab.")
        return asker

    async def _open(self, session: str, asker: Asker) -> Session:
        """The asker's session; a foreign one and one that never was are refused alike."""
        try:
            return await run_in_threadpool(self._sessions.open, session, asker.owner)
        except Problem as problem:
            raise Refusal(404, problem.message, problem.hint) from None

    def _asker(self, request: Request) -> Asker:
        """Who asks. A signed-in user's token is handed on, once; the sign-in has vouched for it."""
        asker = self._login(request)
        mark = hashlib.sha256(asker.token.encode()).hexdigest()
        if asker.token and self._lent.get(asker.owner) != mark:
            self._sessions.lend_token(asker.owner, asker.token, check=False)
            self._lent[asker.owner] = mark
        return asker

    # --- reading ---------------------------------------------------------------------------------

    async def events(self, request: Request) -> Response:
        asker = self._asker(request)
        seen = request.headers.get("last-event-id") or request.query_params.get("after") or "0"
        if not (seen.isascii() and seen.isdigit() and len(seen) < 16):
            raise Refusal(422, f"after is {seen[:40]!r}.", "It is the last seq that was read, from 0.")
        try:
            session = await self._open(request.query_params.get("session", ""), asker)
        except Refusal:
            return Response(status_code=204)  # an EventSource stops asking only then
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        return EventStream(session, int(seen), compress="gzip" in request.headers.get("accept-encoding", ""))

    async def sessions_seen(self, request: Request) -> Response:
        """Who is asking, which model answers, and the asker's sessions, newest first."""
        asker = self._asker(request)
        listed = await run_in_threadpool(self._sessions.list, asker.owner)
        model = self._sessions.model(asker.owner)
        answer = JSONResponse(
            {
                "name": asker.name or self._names.get(asker.owner, ""),
                "own_machine": asker.own_machine,
                "signed_in": bool(asker.token),
                "known": not asker.new_cookie,
                "model": {"model_id": model.model_id, "ready": model.ready, "missing": model.missing},
                "sessions": [
                    {"id": one.id, "title": one.title, "state": one.state, "at": one.at, "entries": one.entries}
                    for one in listed
                ],
            },
            headers={"cache-control": "no-store"},
        )
        self._login.greet(asker, request, answer)
        return answer

    async def file(self, request: Request) -> Response:
        """A file that the session produced, to keep and never to be shown as a page of ours."""
        session = await self._open(request.path_params["session"], self._asker(request))
        try:
            path = request.path_params["path"]
            file = await run_in_threadpool(session.file, path)
        except Problem as problem:
            raise Refusal(404, problem.message, problem.hint) from None
        name = quote(path.rpartition("/")[2])
        headers = {
            "content-disposition": f"attachment; filename*=UTF-8''{name}",
            "content-length": str(os.fstat(file.fileno()).st_size),
            "x-content-type-options": "nosniff",
            "content-security-policy": "sandbox; default-src 'none'",
            "cache-control": "no-store",
        }
        return StreamingResponse(_pieces(file), media_type="application/octet-stream", headers=headers)

    # --- changing --------------------------------------------------------------------------------

    async def new(self, request: Request) -> Response:
        await read_form(request, _Nothing)
        session = await run_in_threadpool(self._sessions.create, self._known(request).owner)
        return JSONResponse({"session": session.id})

    async def send(self, request: Request) -> Response:
        form = await read_form(request, _Send)
        session = await self._open(form.session, self._known(request))
        LocalContext.request.set(GradioRequest(request))  # on ZeroGPU the visitor's quota is found by it
        run = await _settled(partial(session.send, form.text, form.files, replace=form.replace))
        return JSONResponse({"run": run})

    async def act(self, act: Act[Any], request: Request) -> Response:
        """One of ACTS."""
        form = await read_form(request, act.form)
        session = await self._open(form.session, self._known(request))
        await _settled(partial(act.do, session, form), act.refused)
        return JSONResponse({})

    async def upload(self, request: Request) -> Response:
        """Take a file as the raw body; session and name are in the query. Returns the name it was stored under."""
        if request.headers.get("content-type") != "application/octet-stream":
            raise Refusal(415, "The body is no file.", "Send it with Content-Type: application/octet-stream.")
        session = await self._open(request.query_params.get("session", ""), self._known(request))
        name = request.query_params.get("name", "")
        with tempfile.NamedTemporaryFile(prefix="ml-intern-upload-") as file:
            received = 0
            async for chunk in request.stream():
                received += len(chunk)
                if received > UPLOAD_LIMIT:
                    raise Refusal(413, f"{name[:80]} is larger than {UPLOAD_LIMIT // 10**6} MB.", "Put it on the Hub.")
                await run_in_threadpool(file.write, chunk)
            file.flush()
            stored = await run_in_threadpool(session.upload, name, Path(file.name))
        return JSONResponse({"name": stored})

    async def token(self, request: Request) -> Response:
        """Take a pasted token, or with an empty one give it back. On one's own machine only."""
        form = await read_form(request, _Token)
        asker = self._known(request)
        if not asker.own_machine:
            raise Refusal(403, "A token can be pasted on one's own machine only.", "Sign in with Hugging Face instead.")
        if form.token.strip():
            name = await run_in_threadpool(self._sessions.lend_token, asker.owner, form.token.strip())
            self._names[asker.owner] = name
        else:
            await run_in_threadpool(self._sessions.withdraw_token, asker.owner)
            self._names.pop(asker.owner, None)
        return JSONResponse({"name": self._names.get(asker.owner, "")})


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE):
            yield piece


async def _settled(act: Callable[[], T], refused: int = 409) -> T:
    """Call what depends on the state of the session; what that state forbids is a conflict."""
    try:
        return await run_in_threadpool(act)
    except Problem as problem:
        raise Refusal(refused, problem.message, problem.hint) from None


async def _asset(request: Request) -> Response:
    return asset(request.path_params["version"], request.path_params["name"])


def _refusal(problem: Problem, status: int) -> Response:
    return JSONResponse(
        {"message": problem.message, "hint": problem.hint}, status, headers={"cache-control": "no-store"}
    )
