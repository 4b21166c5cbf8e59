"""What a job on Hugging Face told Trackio, read back from its project's dashboard: a Tracker.

The dashboard is made by whoever reads it first: the job itself only needs the bucket, so it never waits for a Space to
be built, and trouble with the Space is no trouble of the job. Every step can be repeated, so a restart just begins anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tools.jobs import tracking
from tools.jobs.remote.trackio import DashboardHub, Lacking
from tools.jobs.tracking import TrackerReport
from tools.problem import Problem

SIGNED_SECONDS = 240.0  # that a signature is used
RUNS = 8  # of one name, where a script begins several
UP = frozenset({"RUNNING", "RUNNING_BUILDING", "RUNNING_APP_STARTING", "SLEEPING"})  # it wakes up when it is asked
BROKEN = frozenset({"BUILD_ERROR", "RUNTIME_ERROR", "CONFIG_ERROR", "NO_APP_FILE", "PAUSED", "STOPPED", "DELETING"})


class Dashboard:
    """One job's part of a dashboard."""

    def __init__(
        self,
        hub: Callable[[], DashboardHub],
        space: str,
        project: str,
        *,
        run: str,
        mounted: Callable[[], bool],
        why: str,
        hide: Callable[[str], str],
        pause: float,
        flush: float,
    ) -> None:
        """mounted: whether the job writes to the dashboard's bucket at all; why: why not, if that is known."""
        self._hub, self._space, self._project, self._run = hub, space, project, run
        self._mounted, self._why, self._hide = mounted, why, hide
        self.pause, self.flush = pause, flush
        self._made = False
        self._host = ""
        self._signature, self._signed = "", 0.0
        self._noted = ""

    def read(self, mark: str) -> TrackerReport:
        hub = self._hub()
        try:
            if not self._made:
                return self._make(hub, mark)
            if not self._host and (told := self._wait(hub, mark)) is not None:
                return told
            return self._read(hub, mark)
        except Lacking as problem:
            kept = f"What the job measures is kept in the bucket {self._space}." if not self._why else ""
            return TrackerReport(mark=mark, note=f"There is no live dashboard. {problem} {kept}".strip(), over=True)

    def _make(self, hub: DashboardHub, mark: str) -> TrackerReport:
        if self._why or not self._mounted():
            raise Lacking(self._why or "Its bucket could not be made when the job was started.")
        hub.keep_space(self._space, self._project)
        self._made = True
        return TrackerReport(mark=mark, url=hub.page(self._space))

    def _wait(self, hub: DashboardHub, mark: str) -> TrackerReport | None:
        """None: it can be asked now."""
        facts = hub.look(self._space)
        if facts is None:
            raise Lacking("It was deleted.")
        if not facts.private:
            raise Lacking("It was made public.")
        if facts.stage in UP:
            self._host = facts.host
            return None
        note = ""
        if facts.stage in BROKEN and facts.stage != self._noted:
            note = f"The dashboard does not run ({facts.stage}); what the job measures is kept in its bucket."
            self._noted = facts.stage
        return TrackerReport(mark=mark, note=note)

    def _read(self, hub: DashboardHub, mark: str) -> TrackerReport:
        if time.monotonic() > self._signed:
            self._signature, self._signed = hub.signature(self._space), time.monotonic() + SIGNED_SECONDS

        def asked(function: str, **arguments: Any) -> list[Mapping[str, Any]]:
            found = hub.ask(self._host, self._signature, function, project=self._project, **arguments)
            return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

        try:
            runs = [
                one["id"] for one in asked("get_runs_for_project") if one.get("name") == self._run and one.get("id")
            ]
            batches = asked("get_logs_batch", runs=[{"run_id": id} for id in runs[-RUNS:]]) if runs else []
            alerts = [one for id in runs[-RUNS:] or [None] for one in asked("get_alerts", run=self._run, run_id=id)]
        except Problem:
            self._host, self._signed = "", 0.0  # it may have moved, fallen asleep, or want a new signature
            raise
        rows = [
            row for one in batches if isinstance(logs := one.get("logs"), list) for row in logs if isinstance(row, dict)
        ]
        logged = ((row.pop("timestamp", None), row.pop("step", None), row) for row in rows)
        return tracking.report_of(logged, alerts, mark, hide=self._hide)
