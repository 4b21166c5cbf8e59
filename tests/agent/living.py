"""A living session for tests: the real one, thinking with the scripted model."""

from __future__ import annotations

import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from agent.events import Entry, Event, RunEnded
from agent.session import Session
from agent.sessions import Sessions
from agent.settings import Settings
from tests.doubles.model_server import ModelServer, Reply, Script
from tools.services import Places

PATIENCE = 60.0  # seconds; what takes longer hangs

E = TypeVar("E")


@contextmanager
def living(folder: Path, script: Script | Sequence[Reply], **settings: Any) -> Iterator[tuple[Session, ModelServer]]:
    """One session of an app of its own. settings override agent.settings.Settings."""
    with ModelServer(script) as server:
        sessions = Sessions(Settings(data_dir=folder, model_id="scripted", model_base_url=server.base_url, **settings))
        try:
            yield sessions.create("local"), server
        finally:
            sessions.close()


LISTED = {
    "id": "ada/thinker",
    "providers": [
        {"provider": "small", "status": "live", "context_length": 8_000, "pricing": {"input": 0.1, "output": 0.1}},
        {"provider": "swift", "status": "live", "context_length": 200_000, "pricing": {"input": 3, "output": 15}},
    ],
}
"""A model of the router: $3 and $15 per million tokens at the provider that reads enough."""


@contextmanager
def paid(folder: Path, script: Script | Sequence[Reply], **settings: Any) -> Iterator[tuple[Session, ModelServer]]:
    """As living, with a model that costs money and a user whose token pays for it."""
    with ModelServer(script, models=[LISTED]) as server:
        defaults: dict[str, Any] = {
            "model_id": "ada/thinker",
            "hf_token": "hf_" + "x" * 30,
            "places": Places(router_url=server.base_url, hf_endpoint=server.base_url),
        }
        sessions = Sessions(Settings(data_dir=folder, **(defaults | settings)))
        try:
            yield sessions.create("local"), server
        finally:
            sessions.close()


def tell(session: Session, *events: Event) -> None:
    """Write events as the session's own threads do: into its books and its journal, so that its readers wake."""
    for event in events:
        session._emit(event)  # no tool and no model can be made to say just this


def emptied(sessions: Sessions) -> Sessions:
    """The same app without any session, as its next user finds it."""
    sessions.close()
    shutil.rmtree(sessions.settings.data_dir / "sessions")
    (sessions.settings.data_dir / "sessions").mkdir()
    return sessions


def only(sessions: Sessions, owner: str = "local") -> Session:
    """The owner's one session."""
    [summary] = sessions.list(owner)
    return sessions.open(summary.id, owner)


def code(text: str) -> Reply:
    return Reply(f"I do it.\n<code>\n{text}\n</code>")


def events(session: Session, kind: type[E]) -> list[E]:
    return [event for event in everything(session) if isinstance(event, kind)]


def everything(session: Session, after: int = 0) -> list[Event]:
    return [Entry.model_validate_json(line).event for _, line in session.read(after, 100_000)]


def ended(session: Session, run: str) -> RunEnded:
    """Wait for the run's end."""
    return wait_for(session, RunEnded, lambda event: event.run == run)


def wait_for(session: Session, kind: type[E], when: Callable[[E], bool] = lambda _: True) -> E:
    woken = threading.Event()
    unsubscribe = session.subscribe(woken.set)
    deadline = time.monotonic() + PATIENCE
    read = 0
    kinds: deque[str] = deque(maxlen=30)
    try:
        while time.monotonic() < deadline:
            woken.clear()
            for seq, line in session.read(read, 100_000):
                read = seq
                event = Entry.model_validate_json(line).event
                kinds.append(event.kind)
                if isinstance(event, kind) and when(event):
                    return event
            woken.wait(0.2)
    finally:
        unsubscribe()
    raise AssertionError(f"no {kind.__name__} came; the last events were {list(kinds)}")


def done(session: Session, text: str) -> RunEnded:
    """Send and wait for the end."""
    return ended(session, session.send(text))
