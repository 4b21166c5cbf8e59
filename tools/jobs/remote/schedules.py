"""Scheduled jobs with an end: a JobPlace whose job is the schedule and all that it starts.

The Hub's schedules go on for ever. So each carries how often it may fire; when it has, it is deleted. Should nobody be
there to delete it, its jobs themselves end at once from the date on which one run too many is due: such a run costs a
minute.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from tools.cards import Spend
from tools.hub.values import JobBill
from tools.jobs import cron
from tools.jobs.place import JobState
from tools.jobs.remote import schedules_client
from tools.jobs.remote.bills import bill_of
from tools.jobs.remote.client import JobFacts, JobsHub
from tools.jobs.remote.ends import run_seconds, running_seconds
from tools.jobs.remote.jobs import HubJobs
from tools.jobs.remote.launch import LABEL, submissions
from tools.jobs.remote.log import LogFile
from tools.jobs.remote.words import SCHEDULE
from tools.money import billed_minutes
from tools.problem import MaybeStarted, NotThere, Problem

_ID = re.compile(r"([\w.-]+)/schedule\.([\w-]+)\.(\d{1,3})\.([\w-]+)")
_RUN = re.compile(r"^Run \d+ was started: (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class _Schedule:
    namespace: str
    schedule: str
    runs: int
    label: str


class Schedules(HubJobs):
    """For Spends with a schedule. Its job's log tells of the runs; each run has its own page and log on the Hub."""

    words = SCHEDULE

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._states: dict[str, tuple[float, JobState]] = {}  # job -> (not to be asked before, how it stood)
        self._logs: dict[str, LogFile] = {}
        self._missed: Counter[str] = Counter()  # job -> looks in a row in which its schedule was not listed

    @property
    def measures_seconds(self) -> float:
        return 0.0

    def start(self, label: str, spec: Spend) -> str:
        if not spec.schedule or spec.nodes != 1 or not spec.namespace or not spec.flavor:
            raise Problem("This is no schedule of single machines.", "Name a schedule, a namespace and a flavor.")
        hub = self._hub()
        (part,) = submissions(label, spec, self._secrets(hub, spec))
        until = cron.too_many(spec.schedule, spec.runs, hub.now(spec.namespace) or time.time())
        part = replace(part, env={**part.env, "ML_INTERN_UNTIL": str(until)})
        with self._starting:
            if job := self.find(label, spec):
                return job
            self._check_price(spec)
            if spec.outputs:
                hub.make_bucket(spec.outputs)
            try:
                id = schedules_client.create(hub, part, cron.line(spec.schedule))
            except MaybeStarted as lost:
                for wait in self._pace.lookups:
                    time.sleep(wait)
                    if job := self._seen(label, spec):
                        return job
                raise MaybeStarted(lost.message, "Its money stays held while it is looked for.") from None
        return _id(_Schedule(spec.namespace, id, spec.runs, label))

    def find(self, label: str, spec: Spend) -> str | None:
        found = schedules_client.labelled(self._hub(), spec.namespace, label)
        return _id(_Schedule(spec.namespace, found[0].id, spec.runs, label)) if found else None

    def _seen(self, label: str, spec: Spend) -> str | None:
        try:
            return self.find(label, spec)
        except Problem:
            return None

    def read(self, job: str, offset: int) -> tuple[str, int]:
        _known(job)
        return self._log_of(job).read(offset, several=False)

    def state(self, job: str) -> JobState:
        known, now = _known(job), time.monotonic()
        with self._lock:
            last = self._states.get(job)
            if last and (last[1].status != "running" or now < last[0]):
                return last[1]
        state = self._progress(job, known)
        with self._lock:
            self._states[job] = (time.monotonic() + self._pace.poll, state)
        return state

    def _progress(self, job: str, known: _Schedule) -> JobState:
        hub = self._hub()
        schedules = schedules_client.labelled(hub, known.namespace, known.label)
        runs = self._runs(hub, known, [one.last_job for one in schedules if one.last_job])
        self._tell(job, runs)
        for extra in runs[known.runs :]:  # it fired again before it was deleted
            if not extra.over:
                hub.cancel(known.namespace, extra.id)
        self._missed[job] = 0 if schedules else self._missed[job] + 1  # a list may lag behind what was just made
        if len(runs) >= known.runs or self._missed[job] >= 3:
            for one in schedules:
                schedules_client.delete(hub, known.namespace, one.id)
            if all(run.over for run in runs):
                return _ended(runs, known.runs)
        return JobState("running", seconds=sum(running_seconds(run) for run in runs))

    def _runs(self, hub: JobsHub, known: _Schedule, last: list[str]) -> list[JobFacts]:
        """All that it started, the first first."""
        found = {job.id: job for job in hub.labelled(known.namespace, LABEL, known.label)}
        for id in last:
            if id not in found:
                try:
                    found[id] = hub.inspect(known.namespace, id)
                except NotThere:
                    continue
        return sorted(found.values(), key=lambda job: (job.created or 0.0, job.id))

    def _tell(self, job: str, runs: list[JobFacts]) -> None:
        log, seen = self._log_of(job), Counter[bytes]()
        for number, run in enumerate(runs, 1):
            log.tell(0, run.id, f"Run {number} was started: {run.id}", seen=seen)
        for number, run in enumerate(runs, 1):
            if run.over:
                log.tell(0, run.id, f"Run {number} ended after {run_seconds(run):.0f} s: {run.stage}", seen=seen)

    def _log_of(self, job: str) -> LogFile:
        with self._lock:
            if job not in self._logs:
                self._logs[job] = LogFile(self._folder / f"{re.sub(r'[^a-zA-Z0-9_.-]', '_', job)[:200]}.jsonl")
            return self._logs[job]

    def cancel(self, job: str) -> None:
        known, hub = _known(job), self._hub()
        for one in schedules_client.labelled(hub, known.namespace, known.label):
            schedules_client.delete(hub, known.namespace, one.id)
        for run in hub.labelled(known.namespace, LABEL, known.label):
            if not run.over:
                hub.cancel(known.namespace, run.id)
        with self._lock:
            self._states.pop(job, None)

    def url(self, job: str) -> str:
        return f"{self._hub().endpoint}/jobs/{_known(job).namespace}"

    def bill(self, job: str) -> JobBill | None:
        """Of all runs that its log tells of: what the Hub lists now may lack one that was deleted since."""
        ids, offset = list[str](), 0
        while (piece := self.read(job, offset))[1] != offset:
            text, offset = piece
            ids += _RUN.findall(text)
        return bill_of(self._hub(), _known(job).namespace, ids)

    def metrics(self, job: str) -> dict[str, float]:
        _known(job)
        return {}


def _ended(runs: list[JobFacts], wanted: int) -> JobState:
    """seconds: whole minutes of each run, as they are billed."""
    seconds = 60.0 * sum(billed_minutes(run_seconds(run)) for run in runs)
    failed = sum(run.stage not in ("COMPLETED", "CANCELED") for run in runs)
    if failed:
        return JobState("failed", None, seconds, f"{failed} of {len(runs)} runs failed.")
    if len(runs) < wanted or any(run.stage == "CANCELED" for run in runs[:wanted]):
        return JobState("cancelled", None, seconds, f"It was ended after {len(runs)} of {wanted} runs.")
    return JobState("completed", 0, seconds)


def _id(known: _Schedule) -> str:
    return f"{known.namespace}/schedule.{known.schedule}.{known.runs}.{known.label}"


def _known(job: str) -> _Schedule:
    match = _ID.fullmatch(job)
    if not match:
        raise Problem(f"There is no schedule {job[:80]!r}.", "Use an id that jobs_list shows.")
    return _Schedule(match[1], match[2], int(match[3]), match[4])
