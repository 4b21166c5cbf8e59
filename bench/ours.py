"""This app as its users have it: `python app.py`, spoken to as its page speaks to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.listener import Listener
from bench.process import App, running
from bench.task import Task
from bench.wire import ask
from ui.routes import PREFIX

END = b'"kind":"run_ended"'


@contextmanager
def our_app(model_url: str, folder: Path) -> Iterator[App]:
    """The app with its data in the folder. What lies there as journals are its sessions."""
    environ = {"DATA_DIR": str(folder), "MODEL_BASE_URL": model_url, "MODEL_ID": "scripted"}
    with running(["app.py"], f"{PREFIX}/sessions", folder, environ=environ) as app:
        yield app


class OurSession:
    """One conversation. id and after: of one that exists, and the last seq it has."""

    def __init__(self, app: App, id: str = "", after: int = 0) -> None:
        self._app, self._after, self.id = app, after, id

    async def open(self) -> None:
        self.id = (await self._post("new", {}))["session"]

    async def run(self, task: Task) -> tuple[float, Listener]:
        """Send the task and listen to its end. Returns when it was sent."""
        listener, opened = Listener(self._app.port, END), asyncio.Event()
        listening = asyncio.create_task(listener.follow(self._events(self._after), opened))
        await opened.wait()
        asked = time.monotonic()
        await self._post("send", {"session": self.id, "text": task.message})
        await listening
        return asked, listener

    async def replay(self) -> Listener:
        """Read a finished session from its beginning."""
        listener = Listener(self._app.port, END)
        await listener.follow(self._events(0))
        return listener

    def _events(self, after: int) -> str:
        return f"{PREFIX}/events?session={self.id}&after={after}"

    async def _post(self, path: str, form: dict[str, str]) -> Any:
        return await ask(self._app.port, f"{PREFIX}/{path}", form)
