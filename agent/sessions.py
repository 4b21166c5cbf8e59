"""Which sessions exist and whose they are. Opens them from disk and closes what a crash left open."""

from __future__ import annotations

import logging
import re
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.events import Entry, RunEnded, UserSaid
from agent.jobs.bills import LATELY
from agent.jobs.sweeper import Renter, Sweeper
from agent.journal import Header, Journal, held_elsewhere, read_header
from agent.models.menu import Menu as Menu
from agent.models.picker import ModelFacts, Picker, selected
from agent.models.selection import Selection, Wish
from agent.notices import Notices
from agent.resources import Resources
from agent.sandbox.inside import confine
from agent.sandbox.seal import owner_key
from agent.session import Session
from agent.settings import Settings
from agent.undo import standing
from tools.hub.hub import Hub
from tools.jobs.here.jobs import LocalJobs
from tools.jobs.here.words import HERE
from tools.jobs.place import JobPlace
from tools.jobs.prices import Prices
from tools.jobs.remote.client import JobsHub
from tools.jobs.remote.jobs import HubJobs
from tools.jobs.remote.sandboxes import Sandboxes
from tools.jobs.remote.schedules import Schedules
from tools.problem import Problem
from tools.web import Web

log = logging.getLogger(__name__)

_ID = re.compile(r"[A-Za-z0-9_-]{6,64}\Z")
_TITLE = 80  # characters
OWN_MACHINE = "local"  # the owner of what is done by who sits at this machine


class Unknown(Problem):
    """No such session, or not this owner's: the same words for both."""


@dataclass(frozen=True)
class SessionSummary:
    id: str
    title: str
    state: str  # idle, running, waiting, done, failed, stopped
    at: float  # Unix time of the last entry
    entries: int


class Sessions:
    """All sessions of this app. One per process and data folder is usual; a session itself is held by one process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._folder = settings.data_dir / "sessions"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise Problem(
                f"Conversations cannot be kept under {settings.data_dir}: {error.strerror}.",
                "Set DATA_DIR to a folder of yours.",
            ) from None
        self._web = Web(settings.places)
        self._renters: set[str] = set()  # owners who rented a machine once
        self._sweeper = Sweeper(self._who_rents)
        self._prices = Prices(Hub("", settings.places.hf_endpoint).hardware)
        self.picker = Picker(settings, self._web, self._token)
        choices = self.picker.choices
        self.menu = Menu(
            choices.listing, choices.own, choices.payers, self.thinks_with, self.think_with, self.picker.inside
        )
        webhook, web = settings.webhook_url, self._web
        self._notices = Notices((lambda said: web.tell(webhook, said)) if webhook else None, settings.page_url)
        self._open: dict[str, Session] = {}
        self._tokens: dict[str, str] = {}  # owner -> Hugging Face token; in memory only
        self._summaries: dict[str, tuple[tuple[int, int], SessionSummary]] = {}
        self._lock = threading.RLock()
        confine.hide_host()

    # --- sessions ---

    def create(self, owner: str, id: str = "") -> Session:
        id = id or secrets.token_urlsafe(12)
        header = Header(session=id, owner=owner, created=round(time.time(), 3))
        with self._lock:
            session = self._start(Journal(self._path(id), header))
        if self.settings.budget_micro_usd is not None:
            session.set_budget(self.settings.budget_micro_usd, "both")
        if self.settings.thinking_micro_usd is not None:
            session.set_budget(self.settings.thinking_micro_usd, "thinking")
        return session

    def open(self, id: str, owner: str) -> Session:
        """Raises Unknown for an id that does not exist or belongs to somebody else; Problem when it cannot be read."""
        with self._lock:
            session = self._open.get(id)
            if session is None:
                path = self._path(id)
                if not path.is_file() or read_header(path).owner != owner:
                    raise _unknown(id)
                session = self._start(Journal(path))
            if session.owner != owner:
                raise _unknown(id)
            return session

    def list(self, owner: str) -> list[SessionSummary]:
        """The owner's sessions, newest first. A journal that cannot be read is left out and logged."""
        found = []
        for path in self._folder.glob("*.jsonl"):
            try:
                if read_header(path).owner == owner:
                    found.append(self._summary(path))
            except (Problem, OSError) as error:
                log.warning("session %s left out: %s", path.stem, error)
        return sorted(found, key=lambda s: s.at, reverse=True)

    def recover(self) -> None:
        """Called once at start: end the runs that a crash left open, and follow again the jobs that outlived it."""
        for path in self._folder.glob("*.jsonl"):
            try:
                data = path.read_bytes()
                open_run = data.count(b'"kind":"user_said"') > data.count(b'"kind":"run_ended"')
                open_job = data.count(b'"kind":"job_submitting"') > data.count(b'"kind":"job_ended"')
                if re.search(rb'"idle_seconds":[1-9]', data):  # asked for a machine that is held open
                    self._renters.add(read_header(path).owner)
                if open_run or open_job or _awaits_bills(path, data):
                    self.open(path.stem, read_header(path).owner)
            except (Problem, OSError) as error:
                log.warning("session %s cannot be recovered: %s", path.stem, error)
        self._sweeper.start()

    def close(self) -> None:
        """Close all sessions. Runs are stopped; jobs go on and are found again at the next start."""
        self._sweeper.close()
        with self._lock:
            for session in self._open.values():
                session.close()
            self._open.clear()

    # --- tokens and the model ---

    def lend_token(self, owner: str, token: str, check: bool = True) -> str:
        """Use this Hugging Face token for the owner's calls, from memory, until it is withdrawn. Returns the user's name."""
        name = Hub(token, self.settings.places.hf_endpoint).whoami() if check else ""
        self._tokens[owner] = token
        self._sweeper.wake()
        return name

    def withdraw_token(self, owner: str) -> None:
        self._tokens.pop(owner, None)

    def model(self, owner: str) -> ModelFacts:
        return self.picker.facts(owner)

    def thinks_with(self, owner: str, id: str) -> Selection:
        """The model of a session, or of a new one where id is "". Raises Problem when there is none."""
        chosen = self.open(id, owner).chosen if id else None
        return selected(chosen or self.picker.choose(owner, Wish()), self.settings.places.router_url)

    def think_with(self, owner: str, id: str, wish: Wish) -> Selection:
        """Choose for a session; the next run thinks with it. Raises Problem for what is not offered."""
        chosen = self.open(id, owner).choose(wish)
        return selected(chosen, self.settings.places.router_url)

    def _token(self, owner: str) -> str:
        """The owner's own. HF_TOKEN is the machine's user's: neither a Space's visitors nor who comes over the network has it."""
        return self._tokens.get(owner) or (self.settings.hf_token if self._at_home(owner) else "")

    def _at_home(self, owner: str) -> bool:
        return owner == OWN_MACHINE and not self.settings.on_space

    # --- opening ---

    def _start(self, journal: Journal) -> Session:
        id, owner = journal.header.session, journal.header.owner
        folder = self._folder / id
        folder.mkdir(exist_ok=True, mode=0o700)
        resources = Resources(
            hub=lambda: Hub(self._token(owner), self.settings.places.hf_endpoint),
            choose=lambda wish: self.picker.choose(owner, wish),
            keep=lambda chosen: self.picker.keep(owner, chosen),
            thinker=lambda chosen: self.picker.thinker(owner, chosen, id),
            bill=lambda: Hub(self._token(owner), self.settings.places.hf_endpoint).inference_bill(id),
            web=self._web,
            notices=self._notices,
            key=owner_key(self.settings.data_dir, owner),
            places=self._places(owner, folder),
            prices=self._prices,
            payers=lambda: self._jobs_hub(owner).payers(),
            secrets=lambda: tuple(sorted(self.settings.job_secrets)) if self._at_home(owner) else (),
            approve=self.settings.approve,
            max_steps=self.settings.max_steps,
        )
        try:
            session = self._open[id] = Session(journal, folder, resources)
        except BaseException:
            journal.close()  # else nobody could open it until this process ends
            raise
        return session

    def _places(self, owner: str, folder: Path) -> dict[str, JobPlace]:
        hub = lambda: self._jobs_hub(owner)  # noqa: E731
        secret = self.settings.job_secrets.get if self._at_home(owner) else lambda _: None
        places: list[JobPlace] = [LocalJobs(folder)] if self._at_home(owner) else []
        places += [
            HubJobs(folder, hub, self._prices, secret=secret),
            Sandboxes(folder, hub, self._prices),
            Schedules(folder, hub, self._prices, secret=secret),
        ]
        return {place.words.name: place for place in places}

    def _who_rents(self) -> Sequence[Renter]:
        with self._lock:
            open_now = list(self._open.values())
            self._renters |= {session.owner for session in open_now if session.rents}
            owners = [owner for owner in self._renters if self._token(owner)]
        return [
            Renter(
                self._jobs_hub(owner),
                self._answers_for,
                frozenset().union(*(session.open_labels for session in open_now)),
            )
            for owner in owners
        ]

    def _answers_for(self, id: str) -> bool:
        """Whether it is a session of this app that no other process has open: that one looks after its machines itself."""
        path = self._folder / f"{id}.jsonl"
        return id in self._open or (_ID.match(id) is not None and path.is_file() and not held_elsewhere(path))

    def _jobs_hub(self, owner: str) -> JobsHub:
        instead = "" if self.settings.on_space else f'run it on {HERE.title} (where="{HERE.where}")'
        return JobsHub(self._token(owner), self.settings.places.hf_endpoint, instead)

    def _path(self, id: str) -> Path:
        if not _ID.match(id):
            raise _unknown(id)
        return self._folder / f"{id}.jsonl"

    def _summary(self, path: Path) -> SessionSummary:
        stat = path.stat()
        key = (stat.st_mtime_ns, stat.st_size)
        known = self._summaries.get(path.stem)
        summary = known[1] if known and known[0] == key else _summarised(path)
        self._summaries[path.stem] = (key, summary)
        session = self._open.get(path.stem)
        return replace(summary, state=session.state or summary.state) if session else summary


def _awaits_bills(path: Path, data: bytes) -> bool:
    """Whether a job on Hugging Face may have ended lately whose bill nobody has seen."""
    unbilled = data.count(b'"kind":"job_ended"') > data.count(b'"kind":"job_billed"')
    paid = re.search(rb'"price_micro_usd_per_hour":[1-9]', data) is not None
    return unbilled and paid and path.stat().st_mtime > time.time() - LATELY


def _summarised(path: Path) -> SessionSummary:
    """Title, state and size from the journal's bytes; only two lines of it are parsed, unless something was taken back."""
    lines = path.read_bytes().splitlines()[1:]
    said = [line for line in lines if b'"kind":"user_said"' in line]
    ends = [line for line in lines if b'"kind":"run_ended"' in line]
    if any(b'"kind":"rewound"' in line for line in lines):
        said, ends = _standing_lines(lines)
    title = state = ""
    if said:
        event = Entry.model_validate_json(said[0]).event
        title = event.text if isinstance(event, UserSaid) else ""
        state = "running"
    if len(ends) >= len(said) > 0:
        end = Entry.model_validate_json(ends[-1]).event
        why = end.why if isinstance(end, RunEnded) else ""
        state = {"answered": "done", "stopped": "stopped"}.get(why, "failed")
    at = Entry.model_validate_json(lines[-1]).at if lines else read_header(path).created
    title = " ".join(title.split())
    return SessionSummary(path.stem, title[:_TITLE], state or "idle", at, len(lines))


def _standing_lines(lines: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The messages and the ends of runs that were not taken back."""
    kinds = (b'"kind":"user_said"', b'"kind":"run_ended"', b'"kind":"rewound"')
    told = {
        (entry := Entry.model_validate_json(line)).seq: (entry, line) for line in lines if any(k in line for k in kinds)
    }
    stood = standing(entry for entry, _ in told.values())
    said = [told[entry.seq][1] for entry in stood if isinstance(entry.event, UserSaid)]
    return said, [told[entry.seq][1] for entry in stood if isinstance(entry.event, RunEnded)]


def _unknown(id: str) -> Unknown:
    return Unknown(f"There is no session {id[:64]!r} of yours.", "Pick one from the list, or start a new one.")
