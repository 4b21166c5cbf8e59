"""Buckets: their files listed in pages, and a file's address that leads on to a storage host of another name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.doubles.hub.content import Json

if TYPE_CHECKING:
    from tests.doubles.hub.server import FakeHub


@dataclass
class FakeBuckets:
    """made: by name, as they were asked for. files: by bucket and path. odd: entries of any shape in every listing.

    drip: seconds between the pieces of a file. cut: a file breaks off after its first half. told: whether its size is.
    """

    hub: FakeHub
    made: dict[str, Json] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    odd: list[object] = field(default_factory=list)
    page: int = 1000
    drip: float = 0.0
    cut: bool = False
    told: bool = True
    stored: list[dict[str, str]] = field(default_factory=list)  # headers of what the storage host was asked

    def routes(self) -> list[Route]:
        one = "/api/buckets/{namespace}/{name}"
        return [
            Route(one, self._make, methods=["POST"]),
            Route(one, self._facts),
            Route(f"{one}/tree", self._top),
            Route(f"{one}/tree/{{prefix:path}}", self._tree),
            Route("/buckets/{namespace}/{name}/resolve/{path:path}", self._resolve),
            Route("/storage/{namespace}/{name}/{path:path}", self._store),
        ]

    def put(self, bucket: str, path: str, data: bytes) -> None:
        """What a job does that writes into its folder."""
        self.files.setdefault(bucket, {})[path] = data

    async def _make(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        name = _name(request)
        if name in self.made:
            return JSONResponse({"error": "Bucket already exists"}, 409)
        self.made[name] = await request.json()
        return JSONResponse({"url": f"{self.hub.url}/buckets/{name}"})

    def _facts(self, request: Request) -> Response:
        name = _name(request)
        if refused := self._hidden(request):
            return refused
        files = self.files.get(name, {})
        private = self.made[name].get("visibility") == "private"
        facts = {"id": name, "private": private, "createdAt": "2026-11-20T10:00:00.000Z"}
        return JSONResponse(facts | {"size": sum(map(len, files.values())), "totalFiles": len(files)})

    def _top(self, request: Request) -> Response:
        if refused := self._hidden(request):
            return refused
        entries: dict[str, Json] = {}
        for path, data in sorted(self.files.get(_name(request), {}).items()):
            top, _, below = path.partition("/")
            entries[top] = {"type": "directory", "path": top} if below else _entry(path, data)
        return JSONResponse(list(entries.values()))

    def _hidden(self, request: Request) -> Response | None:
        """The Hub's answer to who may not know of this bucket: as for one that is not there."""
        if self.hub.who(request) is not None and (self._refused(request) or _name(request) not in self.made):
            return JSONResponse({"error": "Bucket not found"}, 404)
        return self._refused(request)

    def _tree(self, request: Request) -> Response:
        name = _name(request)
        if refused := self._refused(request):
            return refused
        if name not in self.made:
            return JSONResponse({"error": "Bucket not found"}, 404)
        prefix = request.path_params["prefix"]
        found: list[object] = [
            _entry(path, data) for path, data in sorted(self.files.get(name, {}).items()) if path.startswith(prefix)
        ]
        found += self.odd
        first = int(request.query_params.get("cursor", "0"))
        headers = {}
        if first + self.page < len(found):
            url = request.url.include_query_params(cursor=first + self.page)
            encoded = f"/api/buckets/{name}/tree/{quote(prefix, safe='')}"
            headers["link"] = f'<{self.hub.url}{encoded}?{url.query}>; rel="next"'
        return JSONResponse(found[first : first + self.page], headers=headers)

    def _resolve(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        name, path = _name(request), request.path_params["path"]
        if path not in self.files.get(name, {}):
            return JSONResponse({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        return RedirectResponse(f"{self.hub.storage_url}/storage/{name}/{quote(path)}?signature=s3cret", 302)

    def _store(self, request: Request) -> Response:
        """Another host: it goes by the signature in the address, and must never see a token."""
        self.stored.append(dict(request.headers))
        data = self.files[_name(request)][request.path_params["path"]]
        headers = {"content-length": str(len(data))} if self.told else {}
        return StreamingResponse(self._pieces(data), media_type="application/octet-stream", headers=headers)

    async def _pieces(self, data: bytes) -> AsyncIterator[bytes]:
        size = max(1, len(data) // 20) if self.drip else 65_536
        for at in range(0, len(data), size):
            if self.cut and at >= len(data) // 2:
                raise ConnectionAbortedError("the test cut this file")
            yield data[at : at + size]
            await asyncio.sleep(self.drip)

    def _refused(self, request: Request) -> Response | None:
        who, namespace = self.hub.who(request), request.path_params["namespace"]
        if who is None:
            return JSONResponse({"error": "Invalid username or password."}, 401)
        if namespace != who and namespace not in [org["name"] for org in self.hub.people[who]["orgs"]]:
            return JSONResponse({"error": f"You don't have the rights to use buckets of {namespace}"}, 403)
        return None


def _entry(path: str, data: bytes) -> Json:
    return {"type": "file", "path": path, "size": len(data), "xetHash": "0" * 64, "mtime": "2026-11-23T12:00:00.000Z"}


def _name(request: Request) -> str:
    return f"{request.path_params['namespace']}/{request.path_params['name']}"
