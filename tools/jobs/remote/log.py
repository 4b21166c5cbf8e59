"""The log of a remote job, kept in a file of the session: each line once, however often the Hub tells it again.

The Hub replays a log from its start on every connection, and not always in the same order. So a line is known by time
stamp and text, and counted: what this connection has told more often than the file holds is new. Reading goes by the
file, so a mark into the log stays good over reconnects, restarts and the Hub's own forgetting.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO

from tools.jobs.remote.client import JobsHub
from tools.problem import Problem

log = logging.getLogger(__name__)

LOG_BYTES = 64 * 1024**2
READ_BYTES = 256 * 1024

_TOKEN = re.compile(r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[\w-]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|hf_oauth_[\w.-]{20,})")
_HIDDEN = "•••"


def hidden(text: str, values: Collection[str] = ()) -> str:
    """Without these secrets, and without what looks like one."""
    for value in values:
        if len(value) >= 4:
            text = text.replace(value, _HIDDEN)
    return _TOKEN.sub(_HIDDEN, text.encode("utf-8", "replace").decode())  # half a surrogate pair cannot be kept


class LogFile:
    """Lines of one job, all its machines. For any thread; one process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told: Counter[bytes] = Counter()
        self._lock = threading.Lock()
        self._size = 0
        self._file: BinaryIO | None = None
        if path.exists():
            self._load()

    def tell(self, node: int, stamp: str, text: str, *, seen: Counter[bytes]) -> bool:
        """Keep a line if it is new, and say so. seen: what this connection has told before; it is added to."""
        key = hashlib.blake2b(f"{node}\0{stamp}\0{text}".encode("utf-8", "replace"), digest_size=8).digest()
        seen[key] += 1
        with self._lock:
            if seen[key] <= self._told[key]:
                return False
            self._told[key] += 1
            if self._size >= LOG_BYTES:
                return False
            line = json.dumps([node, stamp, text]).encode() + b"\n"
            if self._size + len(line) >= LOG_BYTES:
                line = json.dumps([0, "", "[The log is longer than is kept here.]"]).encode() + b"\n"
                self._size = LOG_BYTES
            if self._file is None:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = self._path.open("ab")
            self._file.write(line)  # what is lost with the process is told again by the Hub
            self._size += len(line)
            return True

    def read(self, mark: int, several: bool) -> tuple[str, int]:
        """A piece of the log from the mark on, and the next mark. several: say which machine a line is of."""
        with self._lock:
            if self._file is not None:
                self._file.flush()
        try:
            with self._path.open("rb") as file:
                file.seek(max(mark, 0))
                data = file.read(READ_BYTES)
        except FileNotFoundError:
            return "", mark
        end = data.rfind(b"\n") + 1
        lines = (json.loads(line) for line in data[:end].splitlines())
        text = "".join(f"[node {node}] {said}\n" if several else f"{said}\n" for node, _, said in lines)
        return text, mark + end

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _load(self) -> None:
        with self._path.open("r+b") as file:
            data = file.read(LOG_BYTES * 2)
            whole = data.rfind(b"\n") + 1
            file.truncate(whole)  # the process may have ended in the middle of a line
        self._size = whole
        for line in data[:whole].splitlines():
            node, stamp, text = json.loads(line)
            key = f"{node}\0{stamp}\0{text}".encode("utf-8", "replace")
            self._told[hashlib.blake2b(key, digest_size=8).digest()] += 1


class Follower:
    """One machine's log, followed in a thread until it is told that the job is over and the Hub has no more."""

    def __init__(
        self,
        hub: Callable[[], JobsHub],
        namespace: str,
        job: str,
        *,
        node: int,
        log: LogFile,
        hide: Callable[[], Collection[str]],
        silence: float,
        reconnect: float,
    ) -> None:
        """hide: what must not be written down. silence: seconds without any byte. reconnect: seconds between tries."""
        self._hub, self._namespace, self._job, self._node = hub, namespace, job, node
        self._log, self._hide, self._silence, self._reconnect = log, hide, silence, reconnect
        self._stop = threading.Event()
        self._over = threading.Event()
        self.drained = False  # the job was over, and then the stream ended of itself
        self.failing = False  # the last connection broke off
        self.last = time.monotonic()  # when a line came, new or told again
        threading.Thread(target=self._follow, name=f"log-{job}", daemon=True).start()

    def job_over(self) -> None:
        """The job has ended: the next end of the stream is the end of the log."""
        self._over.set()

    def stop(self) -> None:
        self._stop.set()

    def _follow(self) -> None:
        failures = 0
        while not self._stop.is_set():
            over = self._over.is_set()
            try:
                self._read()
                self.failing, failures = False, 0
                self.drained = over
            except Problem:
                self.failing, failures = True, failures + 1
            except Exception:  # a full disk; the job goes on, and so does the watch over it
                log.exception("the log of job %s", self._job)
                self.failing, failures = True, failures + 1
            if self.drained:
                return
            self._pause(over, self._reconnect * min(2**failures, 8))

    def _pause(self, over: bool, seconds: float) -> None:
        """Wait before the next connection, but not when the job's end has just become known."""
        deadline = time.monotonic() + seconds
        while not self._stop.is_set() and time.monotonic() < deadline:
            if self._over.wait(min(0.02, seconds)) and not over and not self.failing:
                return

    def _read(self) -> None:
        hide = self._hide()
        seen: Counter[bytes] = Counter()
        for line in self._hub().log(self._namespace, self._job, self._silence, stop=self._stop):
            if self._stop.is_set():
                return
            if line is None:
                continue
            stamp, text = line
            text = hidden(text, hide).rstrip("\r\n").replace("\n", " ")
            self._log.tell(self._node, stamp, text, seen=seen)
            self.last = time.monotonic()
