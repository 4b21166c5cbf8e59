"""What huggingface_hub's Sandbox talks to: the Jobs API and the server inside a machine. Commands run on this machine.

A rented machine is a job with processes; cancelling it kills them. Requests without the right two tokens are refused.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_of_ada"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that is gone is no news."""


class RentedMachines:
    """All machines that were rented. jobs: by id, with spec, stage and processes."""

    def __init__(self, slow_seconds: float = 0.0) -> None:
        """slow_seconds: how long a machine takes to start."""
        self.jobs: dict[str, dict[str, Any]] = {}
        self.unknown: list[str] = []
        self.refused: list[str] = []
        self.slow = threading.Event()
        self.slow_seconds = slow_seconds
        self._server = _Server(("127.0.0.1", 0), type("_Bound", (_Handler,), {"machines": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for job in self.jobs.values():
            self.end(job, "CANCELED")
        self._server.shutdown()
        self._server.server_close()

    def running(self) -> list[str]:
        return [id for id, job in self.jobs.items() if job["stage"] == "RUNNING"]

    def end(self, job: dict[str, Any], stage: str) -> None:
        if job["stage"] == "RUNNING":
            job["stage"] = stage
        for process in job["processes"]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    machines: RentedMachines

    def log_message(self, *_: object) -> None:
        """The tests look at the machines, not at a log."""

    def do_GET(self) -> None:
        self._do("GET")

    def do_POST(self) -> None:
        self._do("POST")

    def do_PUT(self) -> None:
        self._do("PUT")

    def _do(self, method: str) -> None:
        url = urlsplit(self.path)
        self._query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if url.path == "/api/agent-harnesses":  # the library's own question, asked without a token
            self._json({"standardEnvVars": [], "harnesses": {}})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.machines.refused.append(self.path)
            self._json({"error": "unauthorized"}, 401)
        elif found := re.fullmatch(r"/machine/(\w+)--49983\.hf\.jobs(/.*)", url.path):
            job = self.machines.jobs[found[1]]
            if job["stage"] != "RUNNING":
                self._json({"error": "no such machine"}, 502)
            elif found[2] == "/health":
                self._json({"protocol": 3, "version": "0.7.0"})
            elif self.headers.get("X-Sandbox-Token") != job["spec"]["secrets"]["SBX_TOKEN"]:
                self.machines.refused.append(self.path)
                self._json({"error": "forbidden"}, 403)
            else:
                self._inside(method, job, found[2])
        else:
            self._hub(method, url.path)

    def _hub(self, method: str, path: str) -> None:
        jobs = self.machines.jobs
        if (method, path) == ("GET", "/api/whoami-v2"):
            self._json({"type": "user", "id": "1", "name": "ada"})
        elif (method, path) == ("POST", "/api/jobs/ada"):
            id = f"{len(jobs) + 1:024x}"
            jobs[id] = {"id": id, "spec": json.loads(self._body), "stage": "RUNNING", "processes": []}
            self.machines.slow.wait(self.machines.slow_seconds)
            self._json(self._told(jobs[id]))
        elif found := re.fullmatch(r"/api/jobs/ada/(\w+)(/cancel)?", path):
            if found[2]:
                self.machines.end(jobs[found[1]], "CANCELED")
            self._json(self._told(jobs[found[1]]))
        else:
            self._unknown(method, path)

    def _told(self, job: dict[str, Any]) -> dict[str, Any]:
        url = f"{self.machines.url}/machine/{job['id']}--49983.hf.jobs"
        return {
            "id": job["id"],
            "dockerImage": job["spec"].get("dockerImage"),
            "flavor": job["spec"].get("flavor"),
            "labels": job["spec"].get("labels"),
            "owner": {"id": "1", "name": "ada", "type": "user"},
            "status": {"stage": job["stage"], "message": None, "exposeUrls": [url]},
        }

    def _inside(self, method: str, job: dict[str, Any], path: str) -> None:
        """What the server in a machine does."""
        if (method, path) == ("PUT", "/v1/files/write"):
            file = Path(self._query["path"])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self._body)
            self._json({})
        elif (method, path) == ("POST", "/v1/processes"):
            asked = json.loads(self._body)
            environment = {"PATH": os.environ["PATH"], "HOME": "/root", "SBX_TOKEN": "of the machine"}
            process = subprocess.Popen(
                asked["cmd"], shell=True, env=environment, start_new_session=True, stdout=subprocess.DEVNULL
            )
            job["processes"].append(process)
            self._json({"id": f"p{process.pid}", "pid": process.pid, "cmd": asked["cmd"], "running": True})
        elif found := re.fullmatch(r"/v1/proxy/(\d+)(/.*)", path):
            self._forward(method, int(found[1]), unquote(found[2]))
        else:
            self._unknown(method, path)

    def _forward(self, method: str, port: int, path: str) -> None:
        """As the port proxy: the answer is passed on as it comes."""
        query = urlsplit(self.path).query
        inner = http.client.HTTPConnection("127.0.0.1", port)
        try:
            inner.request(method, f"{path}?{query}", self._body)
            answer = inner.getresponse()
        except OSError:
            self._json({"error": "nothing listens there"}, 502)
            return
        self.send_response(answer.status)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while data := answer.read1(65536):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except (OSError, http.client.HTTPException):
            self.close_connection = True
        finally:
            inner.close()

    def _unknown(self, method: str, path: str) -> None:
        self.machines.unknown.append(f"{method} {path}")
        self._json({"error": "unknown"}, 404)

    def _json(self, value: object, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
