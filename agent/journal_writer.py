"""Writes a session's events in order, and gathers text that comes in drops into lines worth writing."""

from __future__ import annotations

import threading
import time
from collections import deque

from agent.events import Event, OutputPrinted, ReasoningSaid, TextSaid
from agent.journal import Journal

GATHER_SECONDS = 0.04  # unseen by the eye, and a tenth of the events of one per token

Delta = TextSaid | ReasoningSaid | OutputPrinted


class JournalWriter:
    """The only writer of a journal. Deltas wait up to GATHER_SECONDS for more of their kind; all else is written at once."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._kind: type[Delta] | None = None
        self._step = 0
        self._pieces: list[str] = []
        self._armed = False  # at most one alarm at a time: it may ring early for a later gathering, never twice

    def emit(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, Delta):
                self._gather(event)
            else:
                self._write_gathered()
                self._journal.append(event)

    def flush(self) -> None:
        """Write what was gathered. Called when the alarm rings, and before the journal is closed."""
        with self._lock:
            self._armed = False
            self._write_gathered()

    def _gather(self, delta: Delta) -> None:
        if self._pieces and (type(delta) is not self._kind or delta.step != self._step):
            self._write_gathered()
        if not self._pieces:
            self._kind, self._step = type(delta), delta.step
            if not self._armed:
                self._armed = True
                _alarm.ring_for(self)
        self._pieces.append(delta.text)

    def _write_gathered(self) -> None:
        if self._pieces and self._kind:
            text, self._pieces = "".join(self._pieces), []
            self._journal.append(self._kind(step=self._step, text=text))


class _Alarm:
    """One thread for all scribes. Every wait is equally long, so who came first is due first."""

    def __init__(self) -> None:
        self._due: deque[tuple[float, JournalWriter]] = deque()
        self._came = threading.Condition()
        self._thread: threading.Thread | None = None

    def ring_for(self, writer: JournalWriter) -> None:
        with self._came:
            if self._thread is None:
                self._thread = threading.Thread(target=self._ring, name="writer-alarm", daemon=True)
                self._thread.start()
            self._due.append((time.monotonic() + GATHER_SECONDS, writer))
            self._came.notify()

    def _ring(self) -> None:
        while True:
            with self._came:
                while not self._due:
                    self._came.wait()
                at, writer = self._due.popleft()
            time.sleep(max(0.0, at - time.monotonic()))
            writer.flush()


_alarm = _Alarm()
