"""The bill for Jobs of the current period, as each user sees it of what the user's own account paid."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.doubles.hub.content import Json

if TYPE_CHECKING:
    from tests.doubles.hub.jobs import FakeJobs, Job


@dataclass
class Bill:
    """lags: seconds after its end until a job's entry has its end. says: what an entry is instead; None leaves it out.

    prices: micro-dollars of a job by its id, instead of its minutes by its price. began: of the period, Unix time.
    """

    jobs: FakeJobs
    lags: float = 0.0
    access: bool = True
    says: Callable[[Json], Json | None] = lambda entry: entry
    prices: dict[str, float] = field(default_factory=dict)
    began: float = 0.0
    asked: int = 0

    def answer(self, request: Request) -> Response:
        who = self.jobs.hub.who(request)
        if who is None:
            return JSONResponse({"error": "Invalid username or password."}, 401)
        self.asked += 1
        if not self.access:
            return JSONResponse({"hasAccess": False})
        mine = [job for job in self.jobs.all.values() if job.namespace == who and job.started is not None]
        entries = [entry for job in mine if (entry := self.says(self._entry(job))) is not None]
        usage = {
            "jobDetails": entries,
            "periodStart": _iso(self.began),
            "periodEnd": _iso(self.jobs.now() + 86_400),
            "totalMinutes": sum(self._minutes(job) for job in mine),
            "usedMicroUsd": sum(self._cost(job) for job in mine),
        }
        said = json.dumps({"hasAccess": True, "usage": usage})  # also numbers that are none, which JSONResponse refuses
        return Response(said, media_type="application/json")

    def _entry(self, job: Job) -> Json:
        entry: Json = {
            "jobId": job.id,
            "hardwareFlavor": job.body["flavor"],
            "startedAt": _iso(job.started or 0.0),
            "totalCostMicroUsd": self._cost(job),
            "totalMinutes": self._minutes(job),
        }
        if job.finished is not None and self.jobs.now() - job.finished >= self.lags:
            entry["completedAt"] = _iso(job.finished)
        return entry

    def _minutes(self, job: Job) -> float:
        until = job.finished if job.finished is not None else self.jobs.now()
        return float(-(-(until - (job.started or until)) // 60))

    def _cost(self, job: Job) -> float:
        price = next(item["unitCostMicroUSD"] for item in self.jobs.hardware if item["name"] == job.body["flavor"])
        return self.prices.get(job.id, float(self._minutes(job) * price))


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
