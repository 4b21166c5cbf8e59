"""The jobs of one session: reserved, submitted once, followed to their end, settled; found again after a crash.

A job outlives the run and the process. Each open job has one follower thread that writes its log and its end into the
journal, whoever waits for it. The label of a job is known before it is submitted, so that after a crash between the
two the place can be asked whether the submission reached it. Where an answer was lost, the money stays held and the
place is asked until it can be known.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from agent.events import Entry, Event, MoneyReleased, MoneySettled, Noticed
from agent.job_events import JobSubmitted, JobSubmitting
from agent.jobs.bills import LATELY, PAUSES, JobBills
from agent.jobs.contract import JobContract
from agent.jobs.dry_runs import foreseen
from agent.jobs.follow import POLL_SECONDS, JobFollower
from agent.jobs.job import SessionJob
from agent.jobs.outputs import tell_left
from agent.jobs.records import Record, records
from agent.jobs.rows import row, searched_row, url
from agent.money.ledger import Ledger, over_budget
from tools.cards import Foreseen, PlaceWords, Spend
from tools.jobs import cron
from tools.jobs.metrics import MetricReader, Point
from tools.jobs.outputs import Outputs
from tools.jobs.place import JobPlace, JobRow, Machine
from tools.jobs.prices import Prices
from tools.problem import MaybeStarted, Problem, Refused

MACHINE = "machine"  # and a number: what a machine for generated code has for a call

_OLD_MACHINE = re.compile(r"machine-\d+")  # a hold for one, in journals from before they were jobs


class Jobs:
    """Also a Desk's JobsView. All methods may be called from any thread."""

    def __init__(
        self,
        session: str,
        places: Mapping[str, JobPlace],
        emit: Callable[[Event], None],
        *,
        reserve: Callable[[str, int], Ledger | None],
        prices: Prices | None = None,
        payers: Callable[[], tuple[str, ...]] = tuple,
        secrets: Callable[[], tuple[str, ...]] = tuple,
        past: Callable[[], Iterable[Entry]] = tuple,
        bill_pauses: Sequence[float] = PAUSES,
    ) -> None:
        """places: by the name in their words. reserve(hold, micro_usd): hold the money, or return the ledger it does not fit into.

        payers: in whose name jobs may run on Hugging Face; secrets: names of what the user keeps for jobs. past: all
        that the journal holds.
        """
        self._session, self._places, self._emit, self._reserve = session, dict(places), emit, reserve
        self.prices, self.payers, self.secrets, self._past = prices, payers, secrets, past
        self._jobs: dict[str, SessionJob] = {}  # all of the session, in order
        self._searched: dict[str, Spend] = {}  # by label: it may have started a job
        self._unwanted: set[str] = set()  # labels whose job is cancelled when it is found
        self._rented = 0  # machines for generated code so far
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._bills = JobBills(emit, bill_pauses)
        self._follower = JobFollower(emit, self._bills, self._closing)

    # --- starting ---

    def contract(self, call: str, request: Spend, stop: threading.Event) -> JobContract:
        return JobContract(request, stop, submit=lambda: self.submit(call, request), cancel=self._follower.cancel_told)

    def submit(self, call: str, request: Spend) -> SessionJob:
        """Reserve and start, once per call."""
        place, request = self._place(request), cron.planned(request, time.time())  # its dates as they are by now
        label = f"{self._session}-{call}"
        short = self._reserve(label, request.hold_micro_usd)
        if short is not None:
            raise Refused(f"This job was not started: {over_budget(request, short)}.", "Ask for less, or ask the user.")
        self._emit(JobSubmitting(label=label, call=call, request=request))
        try:
            job = place.start(label, request)
        except BaseException as error:
            sure = isinstance(error, Problem) and not isinstance(error, MaybeStarted)
            if sure or not place.settles_seconds:
                self._emit(MoneyReleased(hold=label))
            else:
                self._search(label, request, call, until=time.time() + place.settles_seconds)
            raise
        return self._follow(SessionJob(label, job, request, place), call)

    def _follow(self, job: SessionJob, call: str) -> SessionJob:
        request = job.request
        self._emit(
            JobSubmitted(
                label=job.label, job=job.job, call=call, where=request.where, title=request.title, url=url(job)
            )
        )
        self._take(job)
        return job

    def _take(self, job: SessionJob) -> None:
        with self._lock:
            self._jobs[job.job] = job
        self._follower.follow(job)

    def rent(self, request: Spend) -> SessionJob:
        """Start a machine for generated code, for who asked for it; whoever uses it releases it."""
        with self._lock:
            self._rented += 1
            call = f"{MACHINE}{self._rented}"
        return self.submit(call, request)

    def resume(self, entries: Iterable[Entry]) -> None:
        """Follow again what was open when the last process ended, and finish what it was in the middle of.

        A machine that ran that process's code serves nobody any more, so it is ended.
        """
        for label, known in records(entries := list(entries)).items():
            self._rented += label.startswith(f"{self._session}-{MACHINE}")
            if known.open and known.request is None:
                self._free(label, known.held)
            elif known.request is not None:
                try:
                    self._resume(label, known, known.request, entries=entries)
                except Problem as problem:
                    self._warn(f"“{known.request.title}” cannot be followed: {problem} Its money stays held.")

    def _resume(self, label: str, known: Record, request: Spend, *, entries: Sequence[Entry]) -> None:
        if known.job is not None:
            place = self._places.get(request.place.name)
            if place is None and known.open and not known.ended:
                self._place(request)
            if known.open and known.ended:
                known.settled = self._follower.settle(label, request, known.ended.seconds, status=known.ended.status)
            if place is not None:
                job = SessionJob.known(label, known.job, request, place=place, record=known)
                if known.open and not known.ended:
                    lost = job.watch.replay(entries)
                    self._take(job)
                    self._follower.tell(job, lost)
                    if job.runs_code:
                        self._follower.release(job)
                    return
                job.watch.sources.alerts += known.alerts
                job.watch.sources.keep(known.measured)
                job.done.set()
                self._jobs[known.job] = job
                if known.ended_at > time.time() - LATELY:
                    threading.Thread(target=tell_left, args=(job, self._emit), daemon=True).start()
                    if known.bill is None:
                        self._bills.expect(job)
        elif known.open:
            place = self._place(request)
            if place.settles_seconds:
                until = min(known.at, time.time()) + place.settles_seconds
                self._search(label, request, known.call, until=until)
            elif (found := place.find(label, request)) is not None:
                self._follow(SessionJob(label, found, request, place), known.call)
            else:
                self._not_started(label, request)

    def _search(self, label: str, request: Spend, call: str, *, until: float) -> None:
        """Ask for the label until there is an answer that counts: a job, or none after until (Unix time)."""
        with self._lock:
            self._searched[label] = request
            if request.purpose == "code":  # who wanted it has given up by then
                self._unwanted.add(label)
        threading.Thread(
            target=self._search_to_end,
            args=(label, request, call),
            kwargs={"until": until},
            name=f"search-{label}",
            daemon=True,
        ).start()

    def _search_to_end(self, label: str, request: Spend, call: str, *, until: float) -> None:
        place, wait, told = self._place(request), POLL_SECONDS, False
        while not self._closing.is_set():
            now = time.time()
            try:
                found = place.find(label, request)
            except Problem as problem:
                if not told:
                    told = True
                    self._warn(f"Whether “{request.title}” was started is not known: {problem} Its money stays held.")
            else:
                if found:
                    self._warn(f"“{request.title}” was started after all, as {found}.")
                    self._follow(SessionJob(label, found, request, place), call)
                elif now >= until:
                    self._not_started(label, request)
                if found or now >= until:
                    with self._lock:
                        del self._searched[label]  # only now: it was open all the time
                        cancel = label in self._unwanted
                    if found and cancel:
                        self.cancel_told(found)
                    return
            wait = min(wait * 1.5, 10.0)
            self._closing.wait(wait)

    def _free(self, label: str, held: int) -> None:
        """Money was reserved, and nothing more is known of what for."""
        if _OLD_MACHINE.fullmatch(label):
            self._emit(MoneySettled(hold=label, micro_usd=held, source="worst case: the app ended"))
        else:
            self._emit(MoneyReleased(hold=label))  # nothing was begun

    def _not_started(self, label: str, request: Spend) -> None:
        self._emit(MoneyReleased(hold=label))
        self._warn(f"“{request.title}” was never started. Its money is free again.")

    def _place(self, request: Spend) -> JobPlace:
        place = self._places.get(request.place.name)
        if place is None:
            there = ", ".join(self._places) or "nothing"
            raise Problem(f"This app cannot run jobs on {request.place.name!r}.", f"It can on {there}.")
        return place

    # --- ending ---

    def cancel_open(self) -> None:
        """Cancel what runs, but for the session's own code. What cannot be cancelled is told, and tried again."""
        with self._lock:
            self._unwanted |= set(self._searched)
            running = [job.job for job in self._jobs.values() if not job.done.is_set() and not job.runs_code]
        threads = [threading.Thread(target=self.cancel_told, args=(job,), daemon=True) for job in running]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def cancel_told(self, job: str) -> None:
        """Cancel one job, unless the app is closing: then it goes on without us. A failure is a notice."""
        self._follower.cancel_told(self._known(job))

    def cancel(self, job: str) -> None:
        self._follower.cancel(self._known(job))

    def release(self, job: SessionJob) -> None:
        """End a machine that was rented. It ends even while the app closes."""
        self._follower.release(job)

    @property
    def open(self) -> bool:
        with self._lock:
            return bool(self._searched) or any(not job.done.is_set() for job in self._jobs.values())

    def close(self) -> None:
        """Stop following; the jobs themselves go on, and what is rented is still ended by release."""
        self._closing.set()
        self._bills.close()
        self._follower.close()
        for place in self._places.values():
            place.close()

    # --- what tools see ---

    @property
    def places(self) -> tuple[PlaceWords, ...]:
        return tuple(place.words for place in self._places.values())

    def quote(self, place: PlaceWords, flavor: str) -> int:
        return self._places[place.name].quote(flavor)

    def list(self) -> list[JobRow]:
        with self._lock:
            known, searched = [*self._jobs], [*self._searched.values()]
        return [self.state(job) for job in known] + [searched_row(request) for request in searched]

    @property
    def open_labels(self) -> frozenset[str]:
        """What tools.jobs.remote.sandboxes.sweep must leave alone."""
        with self._lock:
            return frozenset(self._searched) | {job.label for job in self._jobs.values() if not job.done.is_set()}

    def state(self, job: str) -> JobRow:
        return row(self._known(job))

    def log(self, job: str) -> Iterator[str]:
        known, offset = self._known(job), 0
        while True:
            text, after = known.place.read(job, offset)
            if after == offset:
                return
            yield from text.splitlines()
            offset = after

    def points(self, job: str) -> tuple[Point, ...]:
        printed = MetricReader().read("\n".join(self.log(job))).points
        return self._known(job).watch.sources.printed(printed)

    def metrics(self, job: str) -> dict[str, float]:
        known = self._known(job)
        return {} if known.ended else known.place.metrics(job)

    def machine(self, job: str) -> Machine:
        known = self._known(job)
        if known.runs_code:
            raise Problem(f"Sandbox {job} runs this conversation's Python.", "Start another with sandbox_run.")
        return known.machine()

    def foresee(self, job: str, request: Spend) -> Foreseen:
        return foreseen(self._past(), job, self._known(job).request, request=request)

    def outputs(self, job: str) -> Outputs:
        known = self._known(job)
        return known.place.outputs(job, known.label, known.request)

    def wait(self, job: str, seconds: float) -> bool:
        return self._known(job).done.wait(seconds)

    def _known(self, job: str) -> SessionJob:
        with self._lock:
            known = self._jobs.get(job)
        if known is None:
            raise Problem(f"This session has no job {job[:80]!r}.", "Use an id that jobs_list shows.")
        return known

    def _warn(self, text: str) -> None:
        self._emit(Noticed(level="warning", text=text))
