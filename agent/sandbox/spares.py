"""A worker forked ahead, while nothing else happens: the next session need not wait for a process.

A spare has its limits, and all that shuts it in lies ready; it has seen no code and knows no session. It is told of one
as any worker is, and shuts itself in with that session's folder before any code comes. It is never used a second time.
"""

from __future__ import annotations

import contextlib
import threading
import time

from agent.sandbox.child import Child, Kind
from agent.sandbox.forks import Zygote
from agent.sandbox.messages import WorkerBroken

_LATER = 0.05  # seconds: who has just taken one is to have the machine for its first step


class Spares:
    """At most one spare: of the kind that was asked for last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spare: tuple[Zygote, Child] | None = None
        self._wanted: tuple[Zygote, Kind] | None = None
        self._filler: threading.Thread | None = None

    def take(self, zygote: Zygote, kind: Kind) -> Child:
        """The spare, if it is of that kind and lives, else a new child; another spare will follow. Raises WorkerBroken."""
        with self._lock:
            found = None
            if self._spare and self._spare[0] is zygote and self._spare[1].kind == kind and self._spare[1].alive():
                _, found = self._spare
                self._spare = None
            self._wanted = (zygote, kind)
            if self._filler is None:
                filler = threading.Thread(target=self._fill, name="sandbox-spare", daemon=True)
                with contextlib.suppress(RuntimeError):  # no thread left: then no spare
                    filler.start()
                    self._filler = filler
        return found or Child(zygote, kind)

    @property
    def pid(self) -> int | None:
        """Of the spare, when there is one."""
        with self._lock:
            return self._spare[1].pid if self._spare else None

    def _fill(self) -> None:
        """Make the spare that is wanted, then end."""
        while True:
            time.sleep(_LATER)
            with self._lock:
                if not (wanted := self._wanted):
                    self._filler = None
                    return
                self._wanted = None
            with contextlib.suppress(WorkerBroken):  # who needs one will see for himself
                zygote, kind = wanted
                spare = Child(zygote, kind)
                with self._lock:
                    old, self._spare = self._spare, (zygote, spare)
                if old:
                    old[1].kill()


spares = Spares()
