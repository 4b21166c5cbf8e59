"""Trackio in a job: what the job is told, and what it tells, as points and alerts. No token is needed for either.

With TRACKIO_STORAGE_MODE=jsonl a run only ever adds small files below TRACKIO_DIR/inbox. On Hugging Face that folder is
one of the dashboard's bucket, of this job alone, and the dashboard takes the files from there; on this machine they are
read where they lie. One private Space and one private bucket of the same name are the dashboard of one project.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from tools.cards import Spend
from tools.jobs.checks import TRACKED
from tools.jobs.metrics import POSITIONS, STEPS, TOTALS, VALUES, Alert, Point
from tools.problem import Problem

REQUIREMENT = "trackio==0.43.0"  # the job and the dashboard speak the same version
ASIDE = "/tmp/trackio"  # noqa: S108  # in a job whose dashboard could not be had: nobody reads it
FRAGMENT = 4_000_000  # bytes of one file that are read
FRAGMENTS = 500  # files that are read at once
READ = 16_000_000  # bytes of them, and what the last has above that
PAUSE = 1.0  # seconds between two looks at them
SHARE = 20  # times as long as a look took is the pause at least: a run leaves two files a second
LONGEST = 500  # characters of an alert

_PROJECT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_NAME = re.compile(r"[\w/.@ -]{1,64}")
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]{8,20}(?:Z|[+-]\d\d:\d\d)")
_LEVELS = {"info": "info", "warn": "warn", "error": "error"}


def project(text: str) -> str:
    """A project's name as it stands in the names of its Space and bucket. Raises Problem for one that leaves nothing."""
    name = re.sub(r"[^a-z0-9]+", "-", text.strip().lower()).strip("-")
    if not _PROJECT.fullmatch(name) or name.startswith("registry-"):  # Trackio keeps that for itself
        raise Problem(f"A project cannot be called {text[:60]!r}.", "Use up to 40 letters, digits and hyphens.")
    return name


def dashboard(namespace: str, project: str) -> str:
    """The Space, and the bucket, of a project."""
    return f"{namespace}/ml-intern-trackio-{project}"


def run_name(label: str, spec: Spend) -> str:
    """A run's name: readable, and no other job's."""
    title = re.sub(r"[^a-z0-9]+", "-", spec.title.lower()).strip("-")[:40].strip("-")
    return f"{title or 'run'}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def environment(label: str, spec: Spend, folder: str) -> dict[str, str]:
    """What a tracked job finds set. folder: TRACKIO_DIR."""
    if not spec.track:
        return {}
    return {
        "TRACKIO_DIR": folder,
        "TRACKIO_STORAGE_MODE": "jsonl",
        "TRACKIO_PROJECT": spec.track,
        "TRACKIO_RUN": run_name(label, spec),
    }


def volume(label: str, spec: Spend) -> dict[str, Any]:
    """The dashboard's bucket in a job on Hugging Face: the one folder that it writes to; of the rest it sees nothing."""
    folder = f"trackio/inbox/{label}"
    return {"type": "bucket", "source": spec.dashboard, "mount_path": TRACKED, "path": folder, "read_only": False}


@dataclass(frozen=True)
class TrackerReport:
    """What was read. mark: where the next reading begins. up: it was answered, so nothing that lay there is missing.

    url: where people look at it; note: why they cannot, in a sentence. Both are "" when there is nothing new to say.
    over: nothing will ever come.
    """

    points: tuple[Point, ...] = ()
    alerts: tuple[Alert, ...] = ()
    mark: str = ""
    up: bool = False
    url: str = ""
    note: str = ""
    over: bool = False


class Tracker(Protocol):
    """Reads what one job tells Trackio. For one thread."""

    pause: float
    """Seconds between two readings."""
    flush: float
    """Seconds after a job's end until all that it told can be read."""

    def read(self, mark: str) -> TrackerReport:
        """What was told after the mark; "" is the start. Raises Problem when it cannot be had at the moment."""
        ...


def point(values: Mapping[str, Any], step: Any = None) -> Point:
    """What was logged at once as a point, named as tools.jobs.metrics names: numbers only, positions recognised.

    A number that is none ("NaN", "Infinity", or null from a dashboard) is None.
    """
    found: Point = {}
    for name, value in [*values.items(), ("step", step)]:
        number = _number(value)
        if not isinstance(name, str) or not _NAME.fullmatch(name) or number is _NONE or len(found) >= VALUES:
            continue
        last = name.lower().rsplit("/", 1)[-1]
        if last in TOTALS or last in POSITIONS:
            if number is not None and 0 <= number < STEPS:
                found.setdefault("total_steps" if last in TOTALS else POSITIONS[last], number)
        else:
            found.setdefault(name.lower(), number)
    return found


_NONE = object()


def _number(value: Any) -> Any:
    """A finite float, None for a number that is not finite, _NONE for what is no number."""
    if value is None or value in ("NaN", "Infinity", "-Infinity"):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _NONE
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def alert(record: Mapping[str, Any], hide: Callable[[str], str]) -> Alert | None:
    """An alert as Trackio prints it: "title: text". hide: takes out what must not be kept."""
    title, text, step = record.get("title"), record.get("text"), record.get("step")
    said = ": ".join(part for part in (title, text) if isinstance(part, str) and part)
    if not said:
        return None
    whole = isinstance(step, int) and not isinstance(step, bool) and 0 <= step < STEPS
    level = _LEVELS.get(str(record.get("level")).lower(), "warn")
    return Alert(level, hide(said[: 4 * LONGEST])[:LONGEST], step if whole else None)  # type: ignore[arg-type]


def report_of(
    logged: Iterable[tuple[Any, Any, Any]], alerts: Iterable[Any], mark: str, *, hide: Callable[[str], str]
) -> TrackerReport:
    """Records of Trackio, in any order, as what they tell. logged: (time stamp, step, values) of each trackio.log.

    All of a file carry the moment it was written, and a run writes one after the other, so the newest is the mark.
    """
    found: list[tuple[str, Point]] = []
    is_open = functools.cache(lambda name: hide(name) == name)  # a name with a secret in it is no name
    for stamp, step, values in logged:
        if isinstance(stamp, str) and _STAMP.fullmatch(stamp) and stamp > mark and isinstance(values, dict):
            found.append((stamp, point({name: value for name, value in values.items() if is_open(name)}, step)))
    found.sort(key=lambda one: one[0])
    records = sorted((one for one in alerts if isinstance(one, dict)), key=lambda one: str(one.get("timestamp")))
    said = [alert(record, hide) for record in records]  # a dashboard tells the newest first
    return TrackerReport(
        tuple(one for _, one in found if one),
        tuple(one for one in said if one is not None),
        found[-1][0] if found else mark,
        up=True,
    )


class Inbox:
    """The Tracker of a job on this machine: the files that it leaves in its own folder, whatever wrote them."""

    flush = 0.0

    def __init__(self, folder: Path, hide: Callable[[str], str]) -> None:
        """folder: its TRACKIO_DIR."""
        self._folder, self._hide = folder / "inbox", hide
        self.pause = PAUSE
        self._known: set[str] = set()  # files that were read
        self._began: str | None = None  # the mark of the first reading: what came before was told

    def read(self, mark: str) -> TrackerReport:
        self._began = mark if self._began is None else self._began
        since = time.monotonic()
        records, all_read = self._records()
        logged = ((one.get("timestamp"), one.get("step"), one.get("metrics")) for one in records if _is(one, "metric"))
        found = report_of(logged, (one for one in records if _is(one, "alert")), self._began, hide=self._hide)
        self.pause = max(PAUSE, SHARE * (time.monotonic() - since))
        return replace(found, mark=max(mark, found.mark), up=all_read)

    def _records(self) -> tuple[list[dict[str, Any]], bool]:
        """What new files hold, the first first, within bounds; and whether these were all."""
        new, records, read = sorted(self._new()), list[dict[str, Any]](), 0
        for number, name in enumerate(new):
            if number >= FRAGMENTS or read >= READ:
                return records, False
            self._known.add(name)
            data = _content(self._folder / name)
            read += len(data)
            records += _parsed(data)
        return records, True

    def _new(self) -> Iterator[str]:
        """Names below the folder. A run of a day leaves over a hundred thousand, so nothing is made of those that are known."""
        try:
            writers = [name for name in os.listdir(self._folder) if not (self._folder / name).is_symlink()]
        except OSError:
            return
        for writer in writers:
            with contextlib.suppress(OSError):
                for name in os.listdir(self._folder / writer):
                    if name.endswith(".jsonl") and (path := f"{writer}/{name}") not in self._known:
                        yield path


def _is(record: Mapping[str, Any], kind: str) -> bool:
    return record.get("kind") == kind


def _content(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with open(descriptor, "rb") as file:
        return file.read(FRAGMENT) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""


def _parsed(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record
