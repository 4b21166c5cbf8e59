"""The server inside a sandbox, behind the Hub's proxy for job ports. It really runs commands, in a folder of its own.

What is started to run on is ended with the sandbox. Requests without the right two tokens are refused, and kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.doubles.hub.content import Json
from tests.doubles.hub.jobs import Job

if TYPE_CHECKING:
    from tests.doubles.hub.server import FakeHub


@dataclass
class SandboxServers:
    """All of them. boots: seconds from a job's run to the first answer. whole: none has a / of its own, but this machine's."""

    hub: FakeHub
    boots: float = 0.0
    whole: bool = False
    refused: list[str] = field(default_factory=list)
    processes: dict[str, list[subprocess.Popen[bytes]]] = field(default_factory=dict)
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
            Route(f"{at}/v1/processes", self._begin, methods=["POST"]),
            Route(f"{at}/v1/proxy/{{port:int}}/{{path:path}}", self._forward, methods=["GET", "POST"]),
        ]

    def close(self) -> None:
        for job in list(self.processes):
            self._kill(job)

    def root(self, job: str) -> Path:
        """What the sandbox takes for /."""
        if self.whole:
            return Path("/")
        if job not in self.folders:
            self.folders[job] = Path(tempfile.mkdtemp(prefix="sandbox-"))
        return self.folders[job]

    def _job(self, request: Request) -> Job | Response:
        job = self.hub.jobs.all.get(request.path_params["job"])
        if job is None or job.stage != "RUNNING" or self.hub.jobs.now() - (job.started or 0) < self.boots:
            return JSONResponse({"error": "no such job"}, 502)
        if self.hub.who(request) is None:
            self.refused.append(request.url.path)
            return JSONResponse({"error": "the proxy wants a token"}, 401)
        if request.headers.get("x-sandbox-token") != job.body["secrets"]["SBX_TOKEN"]:
            self.refused.append(request.url.path)
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

    async def _begin(self, request: Request) -> Response:
        job = self._job(request)
        if isinstance(job, Response):
            return job
        body = await request.json()
        environment = {"PATH": os.environ["PATH"], "HOME": "/home", "SBX_TOKEN": "of the sandbox"}
        process = subprocess.Popen(
            ["/bin/sh", "-c", body["cmd"]], env=environment, start_new_session=True, stdout=subprocess.DEVNULL
        )
        self.processes.setdefault(job.id, []).append(process)
        threading.Thread(target=self._end_with, args=(job,), daemon=True).start()
        return JSONResponse({"id": f"p{process.pid}", "pid": process.pid, "cmd": body["cmd"], "running": True})

    def _end_with(self, job: Job) -> None:
        while not job.over:
            time.sleep(0.02)
        self._kill(job.id)

    def _kill(self, job: str) -> None:
        for process in self.processes.pop(job, []):  # never twice: its number may be another's by then
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    async def _forward(self, request: Request) -> Response:
        """As the port proxy: the answer is passed on as it comes."""
        job = self._job(request)
        if isinstance(job, Response):
            return job
        port, path = request.path_params["port"], request.path_params["path"]
        client = httpx2.AsyncClient(timeout=None, trust_env=False)
        url = f"http://127.0.0.1:{port}/{path}?{request.url.query}"
        try:
            asked = client.build_request(request.method, url, content=await request.body())
            answer = await client.send(asked, stream=True)
        except httpx2.HTTPError:
            await client.aclose()
            return JSONResponse({"error": "nothing listens there"}, 502)
        return StreamingResponse(self._passed_on(client, answer, job), answer.status_code)

    @staticmethod
    async def _passed_on(client: httpx2.AsyncClient, answer: httpx2.Response, job: Job) -> AsyncIterator[bytes]:
        try:
            async for piece in answer.aiter_raw():
                yield piece
        except httpx2.HTTPError:
            if not job.over:
                raise
        finally:
            await client.aclose()

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
