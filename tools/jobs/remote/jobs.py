"""Jobs on Hugging Face: a JobPlace over HF Jobs. The platform schedules, bills and remembers; we ask, and never twice.

A job's id here is "namespace/id", and "namespace/id+id" on several machines, so that it says who pays. A label starts
at most one job: it is asked for before every submit, and again after an answer that was lost. Run times are the Hub's
own, from its start and finish times; this machine's clock only paces the asking.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.cards import Spend
from tools.hub.values import JobBill
from tools.jobs.place import JobState
from tools.jobs.prices import Prices
from tools.jobs.remote.bills import bill_of
from tools.jobs.remote.buckets import BucketFolder
from tools.jobs.remote.client import JobFacts, JobsHub, Submission
from tools.jobs.remote.dashboards import Dashboard
from tools.jobs.remote.ends import ended_state, running_seconds
from tools.jobs.remote.launch import LABEL, NODE, submissions
from tools.jobs.remote.log import Follower, LogFile, hidden
from tools.jobs.remote.trackio import DashboardHub
from tools.jobs.remote.usage import numbers
from tools.jobs.remote.words import JOBS
from tools.jobs.tracking import Tracker, run_name
from tools.money import usd_exact
from tools.problem import MaybeStarted, NotThere, Problem

_ID = re.compile(r"([\w.-]+)/([\w-]+(?:\+[\w-]+)*)")


@dataclass(frozen=True)
class Pace:
    """Seconds. Tests are faster."""

    poll: float = 2.0  # between two looks at one job
    reconnect: float = 1.0  # of the log, doubled up to eight times while it fails
    silence: float = 120.0  # of the log; the Hub gives a sign of life every 30
    quiet: float = (
        1.5  # after the job's end without a line: the log is told (stage and log differ by 1.3); half when cancelled
    )
    drain: float = 15.0  # after the job's end, of a log that cannot be had; eight times that of one that never stops
    lookups: tuple[float, ...] = (0.0, 0.5, 1.5, 3.0)  # before each question for a label whose answer was lost
    patience: float = 10.0  # for a cancelled job to end
    usage: float = 10.0  # between two looks at what a job uses
    track: float = 15.0  # between two looks at a dashboard, which takes in what is new as often
    flush: float = 40.0  # after the job's end until its dashboard has taken in the last


@dataclass
class _Watch:
    """A job that is looked at. ids: one per machine, the leader first."""

    namespace: str
    ids: tuple[str, ...]
    log: LogFile
    followers: list[Follower] = field(default_factory=list)
    facts: Sequence[JobFacts] = ()
    state: JobState = field(default_factory=lambda: JobState("running"))
    look: float = 0.0  # not before this moment
    over_since: float | None = None
    missed: int = 0  # in a row, the Hub did not know it
    told: str = ""  # why we ended it ourselves
    lock: threading.Lock = field(default_factory=threading.Lock)


class HubJobs:
    """A JobPlace. Namespaces are always explicit; nothing is switched by itself."""

    words = JOBS
    settles_seconds = 60.0
    keeping = "Use outputs=True"  # what to do so that something is kept
    extra_micro_usd_per_hour = 0  # on top of the machine's price

    def __init__(
        self,
        folder: Path,
        hub: Callable[[], JobsHub],
        prices: Prices,
        *,
        secret: Callable[[str], str | None] = lambda _: None,
        pace: Pace | None = None,
    ) -> None:
        """folder: the session's; logs lie in its logs/. hub: as the user of the moment. secret: a value by its name."""
        self._folder, self._hub, self._prices, self._secret = folder / "logs", hub, prices, secret
        self._pace = pace or Pace()
        self._watches: dict[str, _Watch] = {}
        self._untracked: dict[str, str] = {}  # label -> why its dashboard's bucket could not be had
        self._reasons: dict[str, str] = {}  # job -> why it was ended while being started
        self._lock = threading.Lock()
        self._starting = threading.RLock()

    @property
    def measures_seconds(self) -> float:
        return self._pace.usage

    # --- starting ---

    def quote(self, flavor: str, fresh: bool = False) -> int:
        return self._prices.quote(flavor, fresh=fresh).micro_usd_per_hour + self.extra_micro_usd_per_hour

    def start(self, label: str, spec: Spend) -> str:
        if spec.place.name != self.words.name or not spec.namespace or not spec.flavor:
            raise Problem("This job does not say who pays and what it runs on.", "Name a namespace and a flavor.")
        hub = self._hub()
        parts = self._submissions(hub, label, spec, secrets=self._secrets(hub, spec))
        with self._starting:
            if job := self.find(label, spec):
                return job
            self._check_price(spec)
            if spec.outputs:
                hub.make_bucket(spec.outputs)
            if spec.dashboard and not self._bucket_kept(hub, label, spec):
                untracked = spec.model_copy(update={"dashboard": ""})
                parts = self._submissions(hub, label, untracked, secrets=self._secrets(hub, spec))
            ids: list[str] = []
            for part in parts:
                try:
                    ids.append(self._submit(hub, part))
                except MaybeStarted:
                    raise
                except Problem as problem:
                    if not ids:
                        raise
                    job = _joined(spec.namespace, ids)
                    self._give_up(hub, job, f"Machine {len(ids)} could not be started: {problem.message}")
                    return job
        return _joined(spec.namespace, ids)

    def find(self, label: str, spec: Spend) -> str | None:
        with self._starting:
            hub = self._hub()
            nodes: dict[int, JobFacts] = {}
            for job in sorted(hub.labelled(spec.namespace, LABEL, label), key=lambda job: job.created or 0.0):
                node = int(text) if (text := job.labels.get(NODE, "0")).isdigit() else 0
                nodes.setdefault(
                    node, job
                )  # a later one is the user's: the Hub's page can run a job again, labels and all
            if not nodes:
                return None
            job_id = _joined(spec.namespace, [nodes[node].id for node in sorted(nodes)])
            if len(nodes) < spec.nodes and any(not job.over for job in nodes.values()):
                self._give_up(hub, job_id, "Only some of its machines could be started; those were cancelled.")
            return job_id

    def _submissions(self, hub: JobsHub, label: str, spec: Spend, *, secrets: dict[str, str]) -> list[Submission]:  # noqa: ARG002
        return submissions(label, spec, secrets)

    def _submit(self, hub: JobsHub, part: Submission) -> str:
        try:
            return hub.submit(part)
        except MaybeStarted as lost:
            unseen = False
            for wait in self._pace.lookups:
                time.sleep(wait)
                try:
                    found = hub.labelled(part.namespace, LABEL, part.labels[LABEL])
                except Problem:
                    continue
                unseen = True
                if same := [job for job in found if job.labels.get(NODE) == part.labels[NODE]]:
                    return same[0].id
            said = "it is not to be seen yet" if unseen else "it cannot be looked up either"
            raise MaybeStarted(
                f"{lost.message} Its label was looked for: {said}.",
                "Its money stays held while it is looked for further. Do not start another; look at jobs_list.",
            ) from None

    def _bucket_kept(self, hub: JobsHub, label: str, spec: Spend) -> bool:
        """Whether the dashboard's bucket is there. The job does without where it is not: that is no reason not to run."""
        try:
            DashboardHub(hub.token, hub.endpoint).keep_bucket(spec.dashboard)
        except Problem as problem:
            self._untracked[label] = str(problem)
            return False
        return True

    def _check_price(self, spec: Spend) -> None:
        now = self.quote(spec.flavor, fresh=True)
        if now > spec.price_micro_usd_per_hour:
            raise Problem(
                f"{spec.flavor} costs {usd_exact(now)} an hour now; {usd_exact(spec.price_micro_usd_per_hour)} was agreed.",
                "Nothing was started. Ask again at the new price.",
            )

    def _secrets(self, hub: JobsHub, spec: Spend) -> dict[str, str]:
        """Values by name. The user's own token only when the card said so."""
        values = {}
        for name in spec.secrets:
            value = hub.token if name == "HF_TOKEN" and spec.token == "own" else self._secret(name)  # noqa: S105
            if not value:
                raise Problem(f"There is no secret {name}.", "Ask the user to add it to the app, or do without.")
            if name == "HF_TOKEN" and spec.token == "none":  # noqa: S105
                raise Problem("The card said that the job gets no token.", "Ask again, with the token named.")
            values[name] = value
        return values

    def _give_up(self, hub: JobsHub, job: str, reason: str) -> None:
        """Cancel what was started of a job that cannot be whole. What cannot be cancelled is followed like any other."""
        namespace, ids = parted(job)
        self._reasons[job] = reason
        for id in ids:
            try:
                hub.cancel(namespace, id)
            except Problem as problem:
                self._reasons[job] = f"{reason} {problem.message}"

    # --- watching ---

    def read(self, job: str, offset: int) -> tuple[str, int]:
        watch = self._watched(job)
        return watch.log.read(offset, several=len(watch.ids) > 1)

    def state(self, job: str) -> JobState:
        watch = self._watched(job)
        with watch.lock:
            now = time.monotonic()
            if watch.state.status != "running":
                return watch.state
            if now >= watch.look:
                self._look(watch)
                watch.look = now + self._pace.poll
            if watch.state.status == "running" and watch.over_since is not None and self._log_is_told(watch, now):
                reason = watch.told or self._reasons.get(job, "")
                watch.state = ended_state(watch.facts, self._hub().endpoint, watch.namespace, reason=reason)
            if watch.state.status != "running":
                for follower in watch.followers:
                    follower.stop()
                watch.log.close()
            return watch.state

    def _look(self, watch: _Watch) -> None:
        hub = self._hub()
        try:
            watch.facts = [hub.inspect(watch.namespace, id) for id in watch.ids]
        except NotThere:
            watch.missed += 1
            if watch.missed < 3 or not hub.visible(watch.namespace):
                raise
            watch.state = JobState("lost", message="The Hub does not know this job any more.")
            return
        watch.missed = 0
        if not watch.followers:
            watch.followers = [self._follower(watch, node) for node in range(len(watch.ids))]
        going = [facts for facts in watch.facts if not facts.over]
        if not going:
            watch.over_since = watch.over_since or time.monotonic()
            for follower in watch.followers:
                follower.job_over()
            return
        if (failed := [f for f in watch.facts if f.over and f.stage != "COMPLETED"]) and len(watch.ids) > 1:
            watch.told = watch.told or f"Machine {watch.facts.index(failed[0])} ended first; the others were cancelled."
            for facts in going:  # they would wait for it, and cost money
                hub.cancel(watch.namespace, facts.id)
        watch.state = JobState("running", seconds=max(running_seconds(facts) for facts in watch.facts))

    def _log_is_told(self, watch: _Watch, now: float) -> bool:
        if all(follower.drained for follower in watch.followers):
            return True
        since = now - (watch.over_since or now)
        waiting = [follower for follower in watch.followers if not follower.drained]
        if any(follower.failing for follower in waiting):
            return since > self._pace.drain
        quiet = self._pace.quiet * (0.5 if any(facts.stage == "CANCELED" for facts in watch.facts) else 1.0)
        silent = all(now - follower.last > quiet for follower in waiting)
        return since > (quiet if silent else 8 * self._pace.drain)

    def _follower(self, watch: _Watch, node: int) -> Follower:
        names, pace = watch.facts[node].secrets, self._pace
        return Follower(
            self._hub,
            watch.namespace,
            watch.ids[node],
            node=node,
            log=watch.log,
            hide=lambda: self._to_hide(names),
            silence=pace.silence,
            reconnect=pace.reconnect,
        )

    def _to_hide(self, names: Iterable[str]) -> tuple[str, ...]:
        """What must not be written down of what a job with these secrets says: their values, and the user's token."""
        return tuple(value for value in (self._hub().token, *map(self._secret, names)) if value)

    def _watched(self, job: str) -> _Watch:
        namespace, ids = parted(job)
        with self._lock:
            if job not in self._watches:
                name = re.sub(r"[^\w.-]", "_", job)[:200]
                self._watches[job] = _Watch(namespace, ids, LogFile(self._folder / f"{name}.jsonl"))
            return self._watches[job]

    def tracker(self, job: str, label: str, spec: Spend) -> Tracker | None:
        if not spec.dashboard:
            return None
        namespace, ids = parted(job)

        def hub() -> DashboardHub:
            return DashboardHub(self._hub().token, self._hub().endpoint)

        return Dashboard(
            hub,
            spec.dashboard,
            spec.track,
            run=run_name(label, spec),
            mounted=lambda: self._hub().inspect(namespace, ids[0]).tracked == spec.dashboard,
            why=self._untracked.get(label, ""),
            hide=lambda text: hidden(text, self._to_hide(spec.secrets)),
            pause=self._pace.track,
            flush=self._pace.flush,
        )

    # --- ending ---

    def cancel(self, job: str) -> None:
        namespace, ids = parted(job)
        hub = self._hub()
        refused: Problem | None = None
        for id in ids:
            try:
                hub.cancel(namespace, id)
            except Problem as problem:
                refused = problem  # it may have ended before; that is asked next
        deadline = time.monotonic() + (0.0 if refused else self._pace.patience)
        while True:
            try:
                if all(hub.inspect(namespace, id).over for id in ids):
                    break
            except Problem as problem:
                refused = refused or problem
            if time.monotonic() >= deadline:
                why = refused.message if refused else "it was accepted, but the job still runs."
                raise Problem(f"Job {job} could not be cancelled: {why}", f"Cancel it at {self.url(job)}.")
            time.sleep(min(self._pace.poll, 0.5))
        self._watched(job).look = 0.0

    def url(self, job: str) -> str:
        namespace, ids = parted(job)
        return f"{self._hub().endpoint}/jobs/{namespace}/{ids[0]}"

    def metrics(self, job: str) -> dict[str, float]:
        """What the first machine uses now, as numbers with units in their names; {} when it does not run."""
        namespace, ids = parted(job)
        return numbers(self._hub().metrics(namespace, ids[0], threading.Event()) or {})

    def outputs(self, job: str, label: str, spec: Spend) -> BucketFolder:
        if not spec.outputs:
            raise Problem(f"Nothing is kept of job {job[:80]}.", f"{self.keeping}, next time.")
        return BucketFolder(self._hub(), spec.outputs, label, self._to_hide(spec.secrets))

    def bill(self, job: str) -> JobBill | None:
        return bill_of(self._hub(), *parted(job))

    def close(self) -> None:
        with self._lock:
            for watch in self._watches.values():
                for follower in watch.followers:
                    follower.stop()
                watch.log.close()


def _joined(namespace: str, ids: Sequence[str]) -> str:
    return f"{namespace}/{'+'.join(ids)}"


def parted(job: str) -> tuple[str, tuple[str, ...]]:
    match = _ID.fullmatch(job)
    if not match:
        raise Problem(f"There is no job {job[:80]!r}.", "Use an id that jobs_list shows.")
    return match[1], tuple(match[2].split("+"))
