"""GradioUI, spoken to as its page in a browser speaks to it: Gradio's queue protocol, without a browser's own costs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.listener import Listener
from bench.process import App, running
from bench.task import Task
from bench.wire import ask

END = b'"msg":"process_completed"'
_API = "/gradio_api"


@contextmanager
def peer_app(model_url: str, folder: Path) -> Iterator[App]:
    with running(["-m", "bench.peer_app", model_url], "/config", folder) as app:
        yield app


class PeerSession:
    """One page of GradioUI."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._hash = secrets.token_hex(6)
        self._functions: dict[str, int] = {}

    async def open(self) -> None:
        config = await ask(self._app.port, "/config")
        self._functions = {function["api_name"]: function["id"] for function in config["dependencies"]}

    async def run(self, task: Task) -> tuple[float, Listener]:
        """Send the task and listen to its end, in the three calls that pressing Enter makes. Returns when it was sent."""
        listener = Listener(self._app.port, END)
        asked = time.monotonic()
        await self._call("run/predict", "_clear_and_save_textbox", [task.message])
        await self._call("run/predict", "_append_message_to_history", [None, []])
        await self._call("queue/join", "_submit_fn", [None, None])
        await listener.follow(f"{_API}/queue/data?session_hash={self._hash}")
        return asked, listener

    async def _call(self, path: str, function: str, data: list[Any]) -> None:
        form = {"data": data, "fn_index": self._functions[function], "session_hash": self._hash}
        await ask(self._app.port, f"{_API}/{path}", form)
