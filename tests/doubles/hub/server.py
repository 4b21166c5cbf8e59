"""One server that stands for the Hub, its sign-in and arXiv. Driven only through the real clients."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, MutableMapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.doubles import router_list
from tests.doubles.hub import api, arxiv
from tests.doubles.hub.buckets import FakeBuckets
from tests.doubles.hub.content import DATASETS, MODELS, PAPERS, SPACES, Json, person
from tests.doubles.hub.jobs import FakeJobs
from tests.doubles.hub.oauth import Provider
from tests.doubles.hub.sandbox import SandboxServers
from tests.doubles.hub.spaces import FakeSpaces
from tools.services import Places


@dataclass
class Fault:
    """What goes wrong for requests whose path begins with this. The first fault that fits and has turns left applies.

    A path that ends in $ is meant exactly; a * in it stands for any one name. method: only that one. after: the request is carried out all the same, and
    then this is answered.

    status, headers, body: answered instead of the real thing; body may be far too long or no JSON.
    delay: seconds of silence first. drip: seconds between the bytes of the body. cut: the connection breaks off after
    the first half of the body. location: redirect there.
    """

    path: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"error": "invented trouble"}'
    delay: float = 0.0
    drip: float = 0.0
    cut: bool = False
    location: str = ""
    times: int = 1_000_000
    method: str = ""
    after: bool = False

    def meets(self, method: str, path: str) -> bool:
        begins = re.escape(self.path.removesuffix("$")).replace(r"\*", "[^/]+")
        here = re.fullmatch(begins if self.path.endswith("$") else f"{begins}.*", path, re.DOTALL)
        return here is not None and self.method in ("", method)


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    at: float  # time.monotonic()


class _Server(uvicorn.Server):
    """Ends at once: most tests have a Hub of their own, and uvicorn takes a fifth of a second to look and to say goodbye."""

    async def main_loop(self) -> None:
        while not self.should_exit:
            await asyncio.sleep(0.005)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for listening in sockets or []:
            listening.close()


class FakeHub:
    """A Hub with a few repositories and papers. Use it as a context manager: it fails the test for an unknown route.

    repos["model"]["ada/tiny-bert"] and so on is its state; faults, people, tokens, sign_ins may be changed at any time.
    """

    def __init__(self, port: int = 0) -> None:
        self.repos: dict[str, dict[str, Json]] = {
            "model": {info["id"]: deepcopy(info) for info in MODELS},
            "dataset": {info["id"]: deepcopy(info) for info in DATASETS},
            "space": {info["id"]: deepcopy(info) for info in SPACES},
        }
        self.papers: dict[str, Json] = {info["id"]: deepcopy(info) for info in PAPERS}
        self.markdown: dict[str, str] = {}  # paper -> its text on Hugging Face Papers
        self.router_models: list[Json] = deepcopy(list(router_list.MODELS))
        self.arxiv_html = arxiv.html_papers()
        self.ar5iv_html: dict[str, str] = {}
        self.arxiv_pdf = arxiv.pdf_papers()
        self.people = {name: person(name) for name in ("ada", "bo")}
        self.tokens = {"hf_ada": "ada", "hf_bo": "bo"}  # token -> person
        self.billed: list[Json] = []  # sessions of model calls: {"id", "costCents", "requestCount"}
        self.sign_ins: list[str] = []  # who signs in next
        self.jobs = FakeJobs(self)
        self.buckets = FakeBuckets(self)
        self.sandboxes = SandboxServers(self)
        self.spaces = FakeSpaces(self)
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self.unknown: list[str] = []
        # With the protocol named, asyncio switches Nagle's algorithm off; else every answer takes 40 ms.
        self._socket = socket.socket(proto=socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.storage_url = self.url.replace("127.0.0.1", "localhost")  # the same server, and another host to a client
        config = uvicorn.Config(self._app(), log_level="error", lifespan="off", date_header=False)
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    # --- running ----------------------------------------------------------------------------------

    def __enter__(self) -> FakeHub:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        if kind is None and self.unknown:
            raise AssertionError(f"The fake Hub was asked for what it does not know: {self.unknown}")

    def start(self) -> None:
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            if time.monotonic() > deadline:
                raise RuntimeError("the fake Hub did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self.sandboxes.close()

    def places(self) -> Places:
        return Places.from_environ(self.environ())

    def environ(self) -> dict[str, str]:
        """The settings that send an app here. What this server does not play goes nowhere."""
        return {
            "HF_ENDPOINT": self.url,
            "ARXIV_URL": f"{self.url}/arxiv",
            "DATASET_VIEWER_URL": f"{self.url}/dataset-viewer",
            "SEMANTIC_SCHOLAR_URL": f"{self.url}/semantic-scholar",
            "GITHUB_API_URL": f"{self.url}/github",
            "HF_ROUTER_URL": f"{self.url}/router/v1",
            "OPENID_PROVIDER_URL": self.url,
        }

    # --- who asks ---------------------------------------------------------------------------------

    def who(self, request: Request) -> str | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return self.tokens.get(token)

    def may_see(self, request: Request, info: Json) -> bool:
        who = self.who(request)
        orgs = [org["name"] for org in self.people[who]["orgs"]] if who else []
        return not info["private"] or info["author"] in (who, *orgs)

    # --- answering --------------------------------------------------------------------------------

    def _app(self) -> ASGIApp:
        def unknown(request: Request) -> Response:
            self.unknown.append(f"{request.method} {request.url.path}")
            return JSONResponse({"error": "the fake Hub does not know this route"}, 501)

        everything = Route("/{path:path}", unknown, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
        known = [
            *self.jobs.routes(),
            *self.buckets.routes(),
            *self.sandboxes.routes(),
            *self.spaces.routes(),
            *api.routes(self),
            *arxiv.routes(self),
            *Provider(self).routes(),
        ]
        app = Starlette(routes=[*known, everything])

        async def noted(scope: Scope, receive: Receive, send: Send) -> None:
            headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
            query = scope["query_string"].decode()
            self.asked.append(Asked(scope["method"], scope["path"], query, headers, time.monotonic()))
            fault = self._fault_for(scope["method"], scope["path"])
            if fault and fault.delay:
                await asyncio.sleep(fault.delay)
            if fault and fault.after:
                await app(scope, receive, _to_nobody)
            if fault and (fault.status or fault.location or fault.after):
                await _answer(fault, send)
            else:
                await app(scope, receive, send)

        return noted

    def _fault_for(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fault.meets(method, path):
                fault.times -= 1
                return fault
        return None


async def _to_nobody(message: Message) -> None:
    """An answer that is lost."""


async def _answer(fault: Fault, send: Send) -> None:
    headers = {"content-type": "application/json", "content-length": str(len(fault.body)), **fault.headers}
    if fault.location:
        headers["location"] = fault.location
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    start: MutableMapping[str, Any] = {"type": "http.response.start", "status": fault.status or 302, "headers": pairs}
    await send(start)
    async for message in _body(fault):
        await send(message)


async def _body(fault: Fault) -> AsyncIterator[Message]:
    if fault.cut:
        yield {"type": "http.response.body", "body": fault.body[: len(fault.body) // 2], "more_body": False}
        return
    if fault.drip:
        for byte in re.findall(b".", fault.body, re.DOTALL):
            yield {"type": "http.response.body", "body": byte, "more_body": True}
            await asyncio.sleep(fault.drip)
        yield {"type": "http.response.body", "body": b""}
        return
    yield {"type": "http.response.body", "body": fault.body}
