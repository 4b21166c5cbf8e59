"""Nobody's rented machine runs on: at start and every few minutes, sandboxes that no session holds are ended by label."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from tools.jobs.remote.client import JobsHub
from tools.jobs.remote.sandboxes import sweep
from tools.problem import Problem

log = logging.getLogger(__name__)

EVERY_SECONDS = 240.0


@dataclass(frozen=True)
class Renter:
    """One user who rented machines here: how to reach them, which sessions are answered for here, the labels these hold open."""

    hub: JobsHub
    ours: Callable[[str], bool]
    open_labels: Collection[str]


class Sweeper:
    def __init__(self, renters: Callable[[], Iterable[Renter]], seconds: float = EVERY_SECONDS) -> None:
        self._renters, self._seconds = renters, seconds
        self._woken, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Sweep now and then every few minutes, in a thread of its own."""
        self._thread = threading.Thread(target=self._sweep_for_ever, name="sweeper", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Sweep now: somebody's token has just come, for example."""
        self._woken.set()

    def close(self) -> None:
        self._ended.set()
        self._woken.set()

    def sweep(self) -> list[str]:
        """Look once; returns the ids of what was ended. What cannot be looked at now is logged and looked at again."""
        gone: list[str] = []
        for renter in self._renters():
            try:
                for namespace in renter.hub.payers():
                    gone += sweep(renter.hub, namespace, renter.ours, open_labels=renter.open_labels)
            except Problem as problem:
                log.warning("rented machines could not be looked at: %s", problem)
        for id in gone:
            log.warning("sandbox %s was ended: no session held it any more", id)
        return gone

    def _sweep_for_ever(self) -> None:
        while not self._ended.is_set():
            self._woken.clear()
            try:
                self.sweep()
            except Exception:
                log.exception("a sweep failed")
            self._woken.wait(self._seconds)
