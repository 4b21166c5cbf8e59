"""Making Spaces, what they are set to, and their own hosts behind a signature.

A Space of a test runs when it says so: run() with the address of a server, which its host then leads to. Nobody but the
holder of a signature gets through, and a token sent to a Space's host fails the test.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.doubles.hub.content import Json, space

if TYPE_CHECKING:
    from tests.doubles.hub.server import FakeHub

_PLAN = (
    "Static Spaces are free for everyone, but hosting Gradio and Docker Spaces on free cpu-basic requires a PRO "
    "subscription"
)


@dataclass
class FakeTrackio:
    """Trackio's server, as far as it is asked; tests/tools/jobs/remote/test_trackio_real.py asks the real one the same."""

    logs: list[Json] = field(default_factory=list)  # {"run", "timestamp", "step", and what was logged}
    alerts: list[Json] = field(default_factory=list)

    def log(self, run: str, step: int, **values: float | None) -> None:
        self.logs.append({"run": run, "timestamp": self._now(), "step": step, **values})

    def alert(self, run: str, level: str, title: str, text: str | None = None, step: int | None = None) -> None:
        at = self._now()
        self.alerts.append({"run": run, "timestamp": at, "title": title, "text": text, "level": level, "step": step})

    def ask(self, path: str, given: Json) -> Any:
        match path:
            case "api/get_runs_for_project":
                names = dict.fromkeys(one["run"] for one in self.logs)
                return [{"id": f"id-{name}", "name": name, "created_at": "2026-11-27T10:00:00+00:00"} for name in names]
            case "api/get_logs_batch":
                return [
                    {"run": None, "run_id": one["run_id"], "logs": self._of(one["run_id"])} for one in given["runs"]
                ]
            case "api/get_alerts":
                return [one for one in reversed(self.alerts) if one["run"] == given["run"]]
        raise AssertionError(path)

    def _of(self, id: str) -> list[Json]:
        rows = [one for one in self.logs if f"id-{one['run']}" == id]
        return [{name: value for name, value in one.items() if name != "run"} for one in rows]

    @staticmethod
    def _now() -> str:
        return datetime.now(UTC).isoformat()


class FakeSpaces:
    """files, variables, servers: by the Space's id."""

    def __init__(self, hub: FakeHub) -> None:
        self.hub = hub
        self.files: dict[str, dict[str, bytes]] = {}
        self.commits: list[tuple[str, str]] = []  # (Space, sha)
        self.created: list[Json] = []  # what was asked for
        self.variables: dict[str, dict[str, Json]] = {}
        self.servers: dict[str, str | FakeTrackio] = {}
        self.signs: dict[str, str] = {}  # signatures that are good, and the host they are good for
        self._numbers = itertools.count(1)

    def routes(self) -> list[Route]:
        one = "/api/spaces/{owner}/{name}"
        return [
            Route("/api/repos/create", self._create, methods=["POST"]),
            Route("/api/validate-yaml", self._validate, methods=["POST"]),
            Route(f"{one}/preupload/{{rev}}", self._preupload, methods=["POST"]),
            Route(f"{one}/commit/{{rev}}", self._commit, methods=["POST"]),
            Route(f"{one}/variables", self._variables),
            Route(f"{one}/variables", self._set_variable, methods=["POST"]),
            Route(f"{one}/volumes", self._set_volumes, methods=["PUT"]),
            Route(f"{one}/jwt", self._jwt),
            Route("/space-host/{domain}/{path:path}", self._proxy, methods=["GET", "POST"]),
        ]

    def run(self, id: str, server: str | FakeTrackio) -> None:
        """It is built and runs; its host leads to that server, or that server is it."""
        self.servers[id.replace("/", "-")] = server
        self.hub.repos["space"][id]["runtime"]["stage"] = "RUNNING"

    def _may(self, request: Request) -> tuple[str, Json] | Response:
        """The Space, for who may change it."""
        who = self.hub.who(request)
        id = f"{request.path_params['owner']}/{request.path_params['name']}"
        if who is None:
            return JSONResponse({"error": "Invalid username or password."}, 401)
        info = self.hub.repos["space"].get(id)
        if info is None or not self._owns(who, info["author"]):
            return JSONResponse({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        return id, info

    def _owns(self, who: str, owner: str) -> bool:
        return owner == who or owner in [org["name"] for org in self.hub.people[who]["orgs"]]

    async def _create(self, request: Request) -> Response:
        asked = await request.json()
        who = self.hub.who(request)
        if who is None:
            return JSONResponse({"error": "Invalid username or password."}, 401)
        owner = asked.get("organization") or who
        id = f"{owner}/{asked['name']}"
        url = f"{self.hub.url}/spaces/{id}"
        if not self._owns(who, owner):
            return JSONResponse({"error": f"You don't have the rights to create a space under {owner}"}, 403)
        if id in self.hub.repos["space"]:
            return JSONResponse({"error": "You already created this space repo", "url": url}, 409)
        if asked["sdk"] != "static" and not self.hub.people[who]["isPro"]:
            return JSONResponse({"error": _PLAN}, 402)
        self.created.append(asked)
        info = space(id, private=asked.get("visibility") == "private" or asked.get("private") is True, siblings=[])
        info["runtime"] |= {"stage": "NO_APP_FILE", "volumes": asked.get("volumes", [])}
        info |= {"sha": self._sha(id), "host": f"{self.hub.url}/space-host/{id.replace('/', '-')}"}
        self.hub.repos["space"][id] = info
        self.files[id] = {}
        self.variables[id] = {one["key"]: {"value": one["value"]} for one in asked.get("variables", [])}
        return JSONResponse({"url": url, "name": id, "id": info["_id"]})

    async def _validate(self, request: Request) -> Response:
        asked = await request.json()
        ok = asked["content"].startswith("---\n") and "\nsdk: " in asked["content"]
        return JSONResponse({"errors": [] if ok else [{"message": "no sdk"}], "warnings": []}, 200 if ok else 400)

    async def _preupload(self, request: Request) -> Response:
        found = self._may(request)
        if isinstance(found, Response):
            return found
        files = [
            {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
            for one in (await request.json())["files"]
        ]
        return JSONResponse({"files": files, "commitOid": found[1]["sha"]})

    async def _commit(self, request: Request) -> Response:
        found = self._may(request)
        if isinstance(found, Response):
            return found
        id, info = found
        lines = [json.loads(line) for line in (await request.body()).splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit") not in (None, info["sha"]):
            return JSONResponse({"error": "A commit has happened since. Please refresh and try again."}, 412)
        for line in lines:
            if line["key"] == "file":
                self.files[id][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        info["sha"] = self._sha(id)
        info["siblings"] = [{"rfilename": name} for name in self.files[id]]
        info["runtime"]["stage"] = "BUILDING"
        self.commits.append((id, info["sha"]))
        url = f"{self.hub.url}/spaces/{id}/commit/{info['sha']}"
        return JSONResponse({"success": True, "commitOid": info["sha"], "commitUrl": url, "hookOutput": ""})

    def _variables(self, request: Request) -> Response:
        found = self._may(request)
        return found if isinstance(found, Response) else JSONResponse(self.variables.get(found[0], {}))

    async def _set_variable(self, request: Request) -> Response:
        found = self._may(request)
        if isinstance(found, Response):
            return found
        asked = await request.json()
        self.variables.setdefault(found[0], {})[asked["key"]] = {"value": asked["value"]}
        return JSONResponse(self.variables[found[0]])

    async def _set_volumes(self, request: Request) -> Response:
        found = self._may(request)
        if isinstance(found, Response):
            return found
        found[1]["runtime"]["volumes"] = (await request.json())["volumes"]
        return JSONResponse(found[1]["runtime"])

    def _jwt(self, request: Request) -> Response:
        found = self._may(request)
        if isinstance(found, Response):
            return found
        sign = f"eyJ.secret.{next(self._numbers)}"
        self.signs[sign] = found[0].replace("/", "-")
        return JSONResponse({"token": sign})

    async def _proxy(self, request: Request) -> Response:
        if "authorization" in request.headers:
            self.hub.unknown.append("a token was sent to a Space's host")
        domain = request.path_params["domain"]
        if self.signs.get(request.query_params.get("__sign", "")) != domain:
            return JSONResponse({"error": "Unauthorized"}, 401)
        if domain not in self.servers:
            return JSONResponse({"error": "the Space does not run"}, 503)
        body, server = await request.body(), self.servers[domain]
        if isinstance(server, FakeTrackio):
            return JSONResponse({"data": server.ask(request.path_params["path"], json.loads(body)["kwargs"])})
        url = f"{server}/{request.path_params['path']}"
        answer = await run_in_threadpool(httpx2.request, request.method, url, content=body)
        return Response(answer.content, answer.status_code, {"content-type": answer.headers.get("content-type", "")})

    def _sha(self, id: str) -> str:
        return hashlib.sha1(f"{id}{next(self._numbers)}".encode()).hexdigest()  # as git names commits
