"""HF Jobs: hardware, run, list, inspect, cancel, log and metrics streams, schedules.

A test holds a job by its Job: say() a line, end() it, end its log, or cut who listens. plays, if set, does that by
itself for each new job. The server has a clock of its own (skew), in all that it tells.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.doubles.hub.bill import Bill
from tests.doubles.hub.content import Json

if TYPE_CHECKING:
    from tests.doubles.hub.server import FakeHub

TERMINAL = ("COMPLETED", "CANCELED", "ERROR", "DELETED")
DEFAULT_TIMEOUT = 1800  # seconds


def flavor(name: str, micro_usd_per_minute: float, gpus: int = 0, model: str = "", vram: int = 0) -> Json:
    """An entry of the hardware list. vram: GB of all its accelerators."""
    card = {
        "type": "gpu",
        "model": model,
        "quantity": str(gpus),
        "vram": f"{vram} GB",
        "manufacturer": "Nvidia",
    }
    return {
        "name": name,
        "prettyName": f"Nvidia {model}" if gpus else name.replace("-", " ").title(),
        "cpu": "8 vCPU",
        "ram": "30 GB",
        "ephemeralStorage": "100 GB",
        "accelerator": card if gpus else None,
        "unitCostMicroUSD": micro_usd_per_minute,
        "unitCostUSD": micro_usd_per_minute / 1e6,
        "unitLabel": "minute",
    }


HARDWARE = [
    flavor("cpu-basic", 167),
    flavor("t4-small", 6667, 1, "T4", 16),
    flavor("l4x1", 13333, 1, "L4", 24),
    flavor("a10g-small", 16667, 1, "A10G", 24),
    flavor("a10g-largex2", 50000, 2, "A10G", 48),
    flavor("a100-large", 41667, 1, "A100", 80),
    flavor("h200x8", 666667, 8, "H200", 1128),
]


@dataclass
class Job:
    """One job, as the server has it. body: what was asked for."""

    jobs: FakeJobs
    id: str
    namespace: str
    creator: str
    body: Json
    created: float
    stage: str = "SCHEDULING"
    message: str | None = None
    cancel_reason: str = ""
    started: float | None = None
    finished: float | None = None
    log: list[tuple[str, str]] = field(default_factory=list)  # (time stamp, line)
    log_ended: bool = False
    connections: int = 0
    cuts: int = 0
    hidden: bool = False  # from lists, as one that was only just made

    @property
    def over(self) -> bool:
        return self.stage in TERMINAL

    @property
    def script(self) -> str:
        env = self.body["environment"]
        pieces = (env[f"ML_INTERN_SCRIPT_{n}"] for n in range(int(env["ML_INTERN_SCRIPTS"])))
        return zlib.decompress(base64.b64decode("".join(pieces))).decode()

    def run(self) -> Job:
        self.stage, self.started = "RUNNING", self.jobs.now()
        return self

    def say(self, *lines: str, at: float | None = None) -> Job:
        """at: its time stamp in the server's time."""
        if self.stage == "SCHEDULING":
            self.run()
        for line in lines:
            self.log.append((_iso(self.jobs.now() if at is None else at), line))
        return self

    def end(
        self,
        stage: str = "COMPLETED",
        *,
        reason: str = "",
        message: str | None = None,
        log: bool = True,
        ran: float = -1,
    ) -> Job:
        """log: it ends too. ran: the run time in seconds that the server tells; -1: what it was."""
        if self.started is None and stage in ("COMPLETED", "ERROR"):
            self.run()
        self.finished = self.jobs.now()
        if ran >= 0:
            self.started = self.finished - ran
        self.stage, self.cancel_reason, self.message = stage, reason, message
        self.log_ended = self.log_ended or log
        return self

    def cut(self) -> None:
        """Break off every connection that listens to the log."""
        self.cuts += 1

    def as_json(self) -> Json:
        job: Json = {
            "id": self.id,
            "createdAt": _iso(self.created),
            "dockerImage": self.body["dockerImage"],
            "command": self.body["command"],
            "arguments": self.body["arguments"],
            "environment": self.body["environment"],
            "secrets": sorted(self.body.get("secrets", {})),
            "flavor": self.body["flavor"],
            "timeout": self.body.get("timeoutSeconds", DEFAULT_TIMEOUT),
            "labels": self.body.get("labels", {}),
            "volumes": self.body.get("volumes", []),
            "status": {"stage": self.stage, "message": self.message, "failureCount": 0},
            "owner": self.jobs.account(self.namespace),
            "createdBy": {"id": self.jobs.account(self.creator)["id"], "name": self.creator},
            "initiator": self.jobs.account(self.creator),
            "type": "job",
        }
        if self.cancel_reason:
            job["status"]["cancelReason"] = self.cancel_reason
        if ports := self.body.get("expose", {}).get("ports"):
            job["expose"] = self.body["expose"]
            job["status"]["exposeUrls"] = [f"{self.jobs.hub.url}/jobs-proxy/{self.id}--{port}.hf" for port in ports]
        if network := self.body.get("network"):
            job["network"] = network
        if self.started is not None:
            until = self.finished if self.finished is not None else self.jobs.now()
            job["startedAt"] = _iso(self.started)
            job["durations"] = {
                "schedulingSecs": int(self.started - self.created),
                "runningSecs": int(until - self.started),
                "totalSecs": int(until - self.created),
            }
        if self.finished is not None:
            job["finishedAt"] = _iso(self.finished)
        return job


class FakeJobs:
    """All jobs of the server. plays: called in a thread of its own with each new job."""

    def __init__(self, hub: FakeHub) -> None:
        self.hub = hub
        self.all: dict[str, Job] = {}
        self.hardware: list[Json] = [dict(item) for item in HARDWARE]
        self.schedules: dict[str, Json] = {}
        self.plays: Callable[[Job], object] | None = None
        self.skew = 0.0  # seconds that the server's clock is ahead
        self.cancels_take: float | None = 0.0  # seconds from the cancel to the end; None: it never ends
        self.cancels_end_log = True
        self.lists_after = 0.0  # seconds until a new job is listed
        self.replays: Callable[[Sequence[tuple[str, str]]], Sequence[tuple[str, str]]] = list  # order of a replay
        self.sample: Json | None = None  # what the metrics stream tells
        self.page = 100  # jobs of a list's page
        self.bill = Bill(self)
        self._ids = (f"6a{n:022x}" for n in itertools.count(1))

    def now(self) -> float:
        return time.time() + self.skew

    def wait_for(self, count: int = 1, seconds: float = 60.0) -> list[Job]:
        """All jobs, once there are so many."""
        deadline = time.monotonic() + seconds
        while len(self.all) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(self.all)} jobs came, not {count}")
            time.sleep(0.005)
        return list(self.all.values())

    def account(self, name: str) -> Json:
        person = self.hub.people.get(name)
        id = person["id"] if person else f"0rg{name}"
        return {"id": id, "name": name, "type": "user" if person else "org", "avatarUrl": f"/avatars/{name}.svg"}

    def routes(self) -> list[Route]:
        one = "/api/jobs/{namespace}/{job}"
        schedules = "/api/scheduled-jobs/{namespace}"
        return [
            Route("/api/settings/billing/usage/jobs", self.bill.answer),
            Route("/api/jobs/hardware", lambda _: self._json(self.hardware)),
            Route("/api/jobs/{namespace}", self._run, methods=["POST"]),
            Route("/api/jobs/{namespace}", self._list),
            Route(one, self._inspect),
            Route(f"{one}/cancel", self._cancel, methods=["POST"]),
            Route(f"{one}/logs", self._logs),
            Route(f"{one}/metrics", self._metrics),
            Route(schedules, self._schedule, methods=["POST"]),
            Route(schedules, self._schedules),
            Route(f"{schedules}/{{id}}", self._unschedule, methods=["DELETE"]),
        ]

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        return JSONResponse(value, status, {"date": formatdate(self.now(), usegmt=True), **(headers or {})})

    def _refused(self, request: Request) -> Response | None:
        """The Hub's answer to who may not use this namespace; None to who may."""
        who, namespace = self.hub.who(request), request.path_params["namespace"]
        if who is None:
            return self._json({"error": "Invalid username or password."}, 401)
        if namespace != who and namespace not in [org["name"] for org in self.hub.people[who]["orgs"]]:
            return self._json({"error": f"You don't have the rights to use Jobs in {namespace}"}, 403)
        return None

    def _found(self, request: Request) -> Job | Response:
        job = self.all.get(request.path_params["job"])
        refused = self._refused(request)
        if refused is not None:
            return refused
        if job is None or job.namespace != request.path_params["namespace"]:
            return self._json({"error": "Job not found"}, 404)
        return job

    async def _run(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        body = await request.json()
        if body["flavor"] not in [item["name"] for item in self.hardware]:
            return self._json({"error": "Invalid flavor"}, 400)
        who = self.hub.who(request) or ""
        job = Job(self, next(self._ids), request.path_params["namespace"], who, body, self.now())
        self.all[job.id] = job
        if self.plays:
            threading.Thread(target=self.plays, args=(job,), daemon=True).start()
        return self._json(job.as_json())

    def _list(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        wanted = [text.split("=", 1) for text in request.query_params.getlist("label")]
        stages = request.query_params.getlist("stage")
        listed = [
            job.as_json()
            for job in reversed(list(self.all.values()))
            if job.namespace == request.path_params["namespace"]
            and not job.hidden
            and self.now() - job.created >= self.lists_after
            and all(job.body.get("labels", {}).get(name) == value for name, value in wanted)
            and (not stages or job.stage in stages)
        ]
        first = int(request.query_params.get("cursor", "0"))
        headers = {}
        if first + self.page < len(listed):
            url = request.url.include_query_params(cursor=first + self.page)
            headers["link"] = f'<{self.hub.url}{url.path}?{url.query}>; rel="next"'
        return self._json(listed[first : first + self.page], headers=headers)

    def _inspect(self, request: Request) -> Response:
        job = self._found(request)
        return job if isinstance(job, Response) else self._json(job.as_json())

    def _cancel(self, request: Request) -> Response:
        job = self._found(request)
        if isinstance(job, Response):
            return job
        if job.over:
            return self._json({"error": "Job is already finished"}, 400)
        if self.cancels_take == 0:
            job.end("CANCELED", log=self.cancels_end_log)
        elif self.cancels_take is not None:
            threading.Timer(self.cancels_take, job.end, ("CANCELED",), {"log": self.cancels_end_log}).start()
        return self._json(job.as_json())

    def _logs(self, request: Request) -> Response:
        job = self._found(request)
        if isinstance(job, Response):
            return job
        job.connections += 1
        headers = {"date": formatdate(self.now(), usegmt=True)}
        return StreamingResponse(self._told(job), media_type="text/event-stream", headers=headers)

    async def _told(self, job: Job) -> AsyncIterator[bytes]:
        cuts, told = job.cuts, len(job.log)
        started = (_iso(job.started or job.created), "===== Job started at 2026-11-23 12:00:00 =====")
        for line in (started, *self.replays(job.log[:told])):
            yield _event({"timestamp": line[0], "data": line[1]})
        while True:
            if job.cuts != cuts:
                raise ConnectionAbortedError("the test cut this stream")
            for stamp, text in job.log[told:]:
                yield _event({"timestamp": stamp, "data": text})
                told += 1
            if job.log_ended and told == len(job.log):
                return
            await asyncio.sleep(0.005)

    def _metrics(self, request: Request) -> Response:
        job = self._found(request)
        if isinstance(job, Response):
            return job
        if job.over:
            return self._json({"error": "Job is not running"}, 406)
        sample = self.sample or {}

        async def told() -> AsyncIterator[bytes]:
            while not job.over:
                yield b"event: metric\n" + _event(sample)
                await asyncio.sleep(0.05)

        return StreamingResponse(told(), media_type="text/event-stream")

    def copy(self, job: Job) -> Job:
        """Somebody runs the job again on the Hub's page."""
        again = Job(self, next(self._ids), job.namespace, job.creator, job.body, self.now())
        self.all[again.id] = again
        return again

    def fire(self, schedule: str) -> Job:
        """The time of a schedule has come."""
        plan = self.schedules[schedule]
        owner = plan["owner"]["name"]
        job = Job(self, next(self._ids), owner, owner, plan["jobSpec"], self.now())
        self.all[job.id] = job
        plan["status"]["lastJob"] = {"id": job.id, "at": _iso(self.now())}
        return job

    async def _schedule(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        body = await request.json()
        id = next(self._ids)
        owner = self.account(request.path_params["namespace"])
        self.schedules[id] = {
            "id": id,
            "createdAt": _iso(self.now()),
            "jobSpec": body["jobSpec"],
            "schedule": body["schedule"],
            "suspend": False,
            "concurrency": body.get("concurrency", False),
            "status": {"lastJob": None, "nextJobRunAt": _iso(self.now() + 3600)},
            "owner": owner,
        }
        return self._json(self.schedules[id])

    def _schedules(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        name = request.path_params["namespace"]
        wanted = request.query_params.get("label", "").split("=", 1)
        mine = [item for item in self.schedules.values() if item["owner"]["name"] == name]
        return self._json(
            [i for i in mine if wanted == [""] or i["jobSpec"].get("labels", {}).get(wanted[0]) == wanted[1]]
        )

    def _unschedule(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        found = self.schedules.pop(request.path_params["id"], None)
        return self._json({}) if found else self._json({"error": "Scheduled job not found"}, 404)


def _event(value: Json) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
