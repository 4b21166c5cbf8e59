"""What ended jobs were billed: asked for when there can be a bill, again and again, and in nobody's way.

A bill comes late, and not everybody may read one. A job is settled without it, from its run time and the price; when
its bill is whole, that counts instead. Nothing is lost with the process: what has no bill yet is asked for again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.events import Event, Noticed
from agent.job_events import JobBilled
from agent.jobs.job import SessionJob
from agent.jobs.rows import url
from tools.hub.values import JobBill
from tools.money import usd_exact
from tools.problem import NoBill, NotAllowed, Problem

log = logging.getLogger(__name__)

PAUSES = (20.0, 60.0, 300.0, 1200.0, 3600.0, 4 * 3600.0, 6 * 3600.0, 8 * 3600.0)  # seconds before each question
LATELY = 24 * 3600.0  # seconds; of a job that ended before that, nobody asks any more


@dataclass
class _Due:
    job: SessionJob
    at: float  # time.monotonic()
    asked: int = 0


class JobBills:
    """Of one session. All methods may be called from any thread."""

    def __init__(self, emit: Callable[[Event], None], pauses: Sequence[float] = PAUSES) -> None:
        self._emit, self._pauses = emit, pauses
        self._due: dict[str, _Due] = {}  # by label
        self._changed = threading.Condition()
        self._asking = False  # whether there is a thread
        self._closed = False

    def expect(self, job: SessionJob) -> None:
        """Ask for the bill of a job that is settled. What runs for nothing has none."""
        if not job.request.price_micro_usd_per_hour or job.billed is not None:
            return
        with self._changed:
            if self._closed:
                return
            self._due.setdefault(job.label, _Due(job, time.monotonic() + self._pauses[0]))
            self._changed.notify()
            if not self._asking:
                self._asking = True
                threading.Thread(target=self._ask_to_end, name=f"bill-{job.label}", daemon=True).start()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._due.clear()
            self._changed.notify()

    def _ask_to_end(self) -> None:
        while due := self._next():
            try:
                self._ask(due)
            except Exception:  # a full disk, or nobody foresaw it; the job is settled anyhow
                if not self._closed:
                    log.exception("the bill of job %s", due.job.job)
                self._later(due)

    def _next(self) -> _Due | None:
        """What is due, once it is; None when nothing is expected any more: then the thread ends."""
        with self._changed:
            while self._due:
                due = min(self._due.values(), key=lambda one: one.at)
                wait = due.at - time.monotonic()
                if wait <= 0:
                    return due
                self._changed.wait(wait)
            self._asking = False
            return None

    def _ask(self, due: _Due) -> None:
        job = due.job
        try:
            bill = job.place.bill(job.job)
        except NoBill as never:
            self._emit(JobBilled(job=job.job, label=job.label, micro_usd=None, message=never.message))
            self._done(due)
        except NotAllowed as refused:
            log.info("bills are not asked for any more: %s", refused)
            self.close()
        except Problem as problem:
            log.info("the bill of job %s cannot be read now: %s", job.job, problem)
            self._later(due)
        else:
            if bill is None or (bill.micro_usd == 0 and job.settled):  # it ran, so that is no bill yet
                self._later(due)
            elif not self._closed:
                self._take(job, bill)
                self._done(due)

    def _take(self, job: SessionJob, bill: JobBill) -> None:
        held = job.request.hold_micro_usd
        if bill.micro_usd > held:  # told first: after a crash between the two it is told again, and never not at all
            said = (
                f"“{job.request.title}” was billed at {usd_exact(bill.micro_usd)}; {usd_exact(held)} were held for it."
            )
            text = f"{said} The bill counts against the budget. Look at it on Hugging Face: {url(job) or job.job}."
            self._emit(Noticed(level="warning", text=text))
        self._emit(JobBilled(job=job.job, label=job.label, micro_usd=bill.micro_usd, minutes=bill.minutes))
        job.billed = bill.micro_usd

    def _later(self, due: _Due) -> None:
        with self._changed:
            due.asked += 1
            if due.asked < len(self._pauses):
                due.at = time.monotonic() + self._pauses[due.asked]
            else:
                self._due.pop(due.job.label, None)

    def _done(self, due: _Due) -> None:
        with self._changed:
            self._due.pop(due.job.label, None)
