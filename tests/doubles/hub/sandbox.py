"""The server inside a sandbox, behind the Hub's proxy for job ports. It really runs commands, in a folder of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.doubles.hub.content import Json
from tests.doubles.hub.jobs import Job

if TYPE_CHECKING:
    from tests.doubles.hub.server import FakeHub


@dataclass
class SandboxServers:
    """All of them. boots: seconds from a job's run to the first answer."""

    hub: FakeHub
    boots: float = 0.0
    commands: list[str] = field(default_factory=list)
    folders: dict[str, Path] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        at = "/jobs-proxy/{job}--49983.hf"
        return [
            Route(f"{at}/health", self._health),
            Route(f"{at}/v1/exec", self._exec, methods=["POST"]),
            Route(f"{at}/v1/files/read", self._read),
            Route(f"{at}/v1/files/write", self._write, methods=["PUT"]),
            Route(f"{at}/v1/files/stat", self._stat),
            Route(f"{at}/v1/files/list", self._list),
        ]

    def root(self, job: str) -> Path:
        """What the sandbox takes for /."""
        if job not in self.folders:
            self.folders[job] = Path(tempfile.mkdtemp(prefix="sandbox-"))
        return self.folders[job]

    def _job(self, request: Request) -> Job | Response:
        job = self.hub.jobs.all.get(request.path_params["job"])
        if job is None or job.stage != "RUNNING" or self.hub.jobs.now() - (job.started or 0) < self.boots:
            return JSONResponse({"error": "no such job"}, 502)
        if self.hub.who(request) is None:
            return JSONResponse({"error": "the proxy wants a token"}, 401)
        if request.headers.get("x-sandbox-token") != job.body["secrets"]["SBX_TOKEN"]:
            return JSONResponse({"error": "wrong sandbox token"}, 403)
        return job

    def _health(self, request: Request) -> Response:
        job = self._job(request)
        return job if isinstance(job, Response) else JSONResponse({"protocol": 3, "version": "0.7.0"})

    async def _exec(self, request: Request) -> Response:
        job = self._job(request)
        if isinstance(job, Response):
            return job
        body = await request.json()
        self.commands.append(body["cmd"])
        return StreamingResponse(self._ran(job, body), media_type="application/x-ndjson")

    async def _ran(self, job: Job, body: Json) -> AsyncIterator[bytes]:
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115  # a pipe could fill up
        process = subprocess.Popen(
            ["/bin/sh", "-c", body["cmd"]], cwd=self.root(job.id), stdout=out, stderr=err, start_new_session=True
        )
        deadline, timed_out = time.monotonic() + body.get("timeout", 3600), False
        while process.poll() is None:
            if job.over or time.monotonic() > deadline:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                timed_out = not job.over
                break
            await asyncio.sleep(0.01)
        if job.over:
            raise ConnectionAbortedError("the sandbox has ended")
        for name, file in (("stdout", out), ("stderr", err)):
            file.seek(0)
            while data := file.read(65_536):
                yield _line({"event": name, "data": data.decode("utf-8", "replace")})
        code = None if timed_out else process.returncode
        yield _line({"event": "exit", "exit_code": code, "timed_out": timed_out, "duration_ms": 1})

    def _path(self, request: Request) -> Path | Response:
        job = self._job(request)
        if isinstance(job, Response):
            return job
        path = self.root(job.id) / request.query_params["path"].lstrip("/")
        if request.method == "GET" and not path.exists():
            return JSONResponse({"error": "no such file or directory"}, 404)
        return path

    def _read(self, request: Request) -> Response:
        path = self._path(request)
        if isinstance(path, Response):
            return path
        data = path.read_bytes()
        first = int(request.query_params.get("offset", "0"))
        return Response(data[first : first + int(request.query_params.get("length", str(len(data))))])

    async def _write(self, request: Request) -> Response:
        path = self._path(request)
        if isinstance(path, Response):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(await request.body())
        return JSONResponse({})

    def _stat(self, request: Request) -> Response:
        path = self._path(request)
        return path if isinstance(path, Response) else JSONResponse(_entry(path))

    def _list(self, request: Request) -> Response:
        path = self._path(request)
        if isinstance(path, Response):
            return path
        return JSONResponse({"entries": [_entry(one) for one in sorted(path.iterdir())], "next": None})


def _entry(path: Path) -> Json:
    kind = "dir" if path.is_dir() else "file"
    return {"name": path.name, "path": str(path), "type": kind, "size": path.stat().st_size, "mtime_ms": 0, "mode": ""}


def _line(event: Json) -> bytes:
    return json.dumps(event).encode() + b"\n"
