"""An app under measurement: a process of its own, started as a user starts it, with its CPU time and memory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import psutil

ROOT = Path(__file__).parent.parent
START_SECONDS = 90.0
SAMPLE_SECONDS = 0.5
_KEPT_OUT = ("HF_", "MODEL_", "SPACE_", "OAUTH_", "GRADIO_")  # of the environment: what would change the app


class App:
    """A running app: its port, what it used so far."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = psutil.Process(process.pid)
        self.port = port

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """User and system time of the process and of all it started, those that ended included."""
        total = 0.0
        for process in self._tree():
            try:
                total += sum(process.cpu_times()[:4])  # its own, and what it waited for
            except psutil.NoSuchProcess:
                continue
        return total

    def resident_mb(self) -> tuple[float, float]:
        """Resident memory of the process, and of its children together, in MB. Shared pages count in each."""
        own, *children = self._tree()
        sizes = []
        for child in children:
            try:
                sizes.append(child.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        return own.memory_info().rss / 1e6, sum(sizes) / 1e6

    def _tree(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]


@contextmanager
def running(
    command: Sequence[str], ready: str, folder: Path, *, environ: Mapping[str, str] | None = None
) -> Iterator[App]:
    """Run `python *command` with a free PORT until the with block ends. ready: a path it answers when it is up."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(_KEPT_OUT)}
    log = folder / "app.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**plain, **(environ or {}), "PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"},
            stdout=out,
            stderr=out,
        )
        app = App(process, port)
        try:
            _wait(process, app.address + ready)
            yield app
        except BaseException:
            print(log.read_text("utf-8", errors="replace")[-3000:], file=sys.stderr)
            raise
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx2.get(url, timeout=5.0).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} did not start.")


def _end(process: subprocess.Popen[bytes]) -> None:
    started = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    process.kill()
    for child in psutil.wait_procs(started, timeout=3)[1]:
        child.kill()


class CpuRecord:
    """The CPU seconds of an app over time, taken in a thread within a with block."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._done = threading.Event()
        self._points: list[tuple[float, float]] = []

    def __enter__(self) -> CpuRecord:
        self._take()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._take()

    @property
    def total(self) -> float:
        return self._points[-1][1] - self._points[0][1]

    def between(self, start: float, end: float) -> float:
        """CPU seconds used between two moments of time.monotonic()."""
        return self._at(end) - self._at(start)

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self._take()

    def _take(self) -> None:
        self._points.append((time.monotonic(), self._app.cpu_seconds()))

    def _at(self, moment: float) -> float:
        n = min(max(bisect_right(self._points, (moment, 0.0)), 1), len(self._points) - 1)
        (before, low), (after, high) = self._points[n - 1], self._points[n]
        share = (moment - before) / (after - before)
        return low + (high - low) * min(max(share, 0.0), 1.0)
