"""Consent to one Spend, and the power to do it once."""

from __future__ import annotations

import threading
from collections.abc import Callable

from agent.jobs.job import SessionJob
from tools.cards import Spend
from tools.desk import JobEnd
from tools.problem import Stopped


class JobContract:
    """Consent to one Spend: what tools.desk.Contract promises."""

    def __init__(
        self,
        request: Spend,
        stop: threading.Event,
        *,
        submit: Callable[[], SessionJob],
        cancel: Callable[[SessionJob], None],
    ) -> None:
        """submit: reserves and starts. cancel: ends a job that was stopped, and tells when that fails."""
        self.request = request
        self._stop, self._submit, self._cancel = stop, submit, cancel
        self._job: SessionJob | None = None
        self._once = threading.Lock()

    def submit(self) -> str:
        with self._once:
            if self._stop.is_set():
                raise Stopped
            if self._job is None:
                self._job = self._submit()
            return self._job.job

    def wait(self) -> JobEnd:
        self.submit()
        job = self._job
        assert job is not None  # noqa: S101  # submit has set it
        while not job.done.wait(0.05):
            if self._stop.is_set():
                self._cancel(job)  # Stop may have come while it was being submitted
                raise Stopped
        end = job.ended
        assert end is not None  # noqa: S101  # done is set after it
        left, outputs = job.left.files if job.left else (), job.state.outputs
        return JobEnd(job.job, end.status, end.exit_code, end.seconds, job.tail, end.files, end.message, outputs, left)
