"""The app as a user runs it: a process of its own that can be killed and started again."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests import ROOT


class App:
    """`python app.py` on a free port, with nothing of this process's environment that matters to it."""

    def __init__(self, data: Path, **environ: str) -> None:
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(data),
            "DATA_DIR": str(data / "sessions"),
            "PORT": str(free_port()),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            **environ,
        }
        self._log = data / "app.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._environ['PORT']}"

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", errors="replace")

    @property
    def runs(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "app.py"], cwd=ROOT, env=self._environ, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"{self.url}/gradio_api/agent/sessions", timeout=5).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError(f"the app did not start:\n{self.log[-3000:]}")

    def kill(self) -> None:
        """kill -9: nothing gets to say goodbye."""
        self._end(signal.SIGKILL)

    def _end(self, sign: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(sign)
            self._process.wait(20)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(signal.SIGTERM)


def free_port() -> int:
    """A port that nobody has, below those that the system gives to whoever connects to something in the meantime."""
    for port in random.SystemRandom().sample(range(15_000, 32_000), 100):
        with socket.socket() as taken, suppress(OSError):
            taken.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
