"""The zygote as the host sees it: started once, asked for workers, started again when it has died."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from agent.sandbox.inside import confine
from agent.sandbox.inside.zygote import BOOT, FORK, FORK_BROKERED, REAP, REPLY, REQUEST, environment
from agent.sandbox.messages import WorkerBroken

_START_SECONDS = 60.0  # the first time, libraries compile and fonts are searched
_REPLY_SECONDS = 20.0  # a fork takes milliseconds; giving up ends all workers

_log = logging.getLogger(__name__)

# The kernel ends a child whose PDEATHSIG is set when the thread that started it ends. This thread outlives every run.
_births = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-births")


@dataclass(frozen=True)
class Fork:
    """A new process. handle: a descriptor that means it and no later process of that number; None where there are none."""

    pid: int
    handle: int | None
    zygote: Zygote

    def alive(self) -> bool:
        if self.handle is not None:
            return not select.select([self.handle], [], [], 0)[0]
        return self.zygote.alive()  # its socket tells the rest

    def signal(self, number: int) -> None:
        """Does nothing when it has ended. Until it is reaped, which is ours to ask for, its number is nobody else's."""
        with contextlib.suppress(ProcessLookupError):
            if self.handle is not None:
                signal.pidfd_send_signal(self.handle, number)  # type: ignore[attr-defined,unused-ignore]
            elif self.zygote.alive():
                os.kill(self.pid, number)

    def end(self, seconds: float) -> int:
        """Kill it, and return how it ended as of a Popen; -9 also when that takes longer than so many seconds."""
        self.signal(signal.SIGKILL)
        if self.handle is not None:
            select.select([self.handle], [], [], seconds)
            os.close(self.handle)
        return self.zygote.reap(self.pid)


class Process(Protocol):
    """A worker's process as a Fork is one, wherever it runs."""

    @property
    def pid(self) -> int: ...
    def alive(self) -> bool: ...
    def signal(self, number: int) -> None: ...
    def end(self, seconds: float) -> int: ...


class Origin(Protocol):
    """Where workers come from."""

    def fork(self, sock: int, out: int, brokered: bool) -> Process:
        """A new worker that has copies of these two descriptors. Raises WorkerBroken."""


class Zygote:
    """One zygote process. All methods may be called from any thread; forks are made one at a time."""

    def __init__(self, python: str = sys.executable) -> None:
        """python: the interpreter of the workers; 3.10 or newer, and the host's own unless a test says otherwise."""
        self._python = python
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None
        self.facts: dict[str, JsonValue] = {}

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def fork(self, sock: int, out: int, brokered: bool) -> Fork:
        """A new worker with these ends of ours. Raises WorkerBroken when there is no process to be had."""
        with self._lock:
            for _ in range(2):  # a dead one is followed by another, once
                try:
                    host = self._ready()
                    socket.send_fds(host, [REQUEST.pack(FORK_BROKERED if brokered else FORK, 0)], [sock, out])
                    reply, handles, _, _ = socket.recv_fds(host, REPLY.size, 1)
                    pid, wrong = REPLY.unpack(reply)
                except (OSError, ValueError, struct.error) as error:
                    problem = str(error)
                    self._stop()
                    continue
                if not pid:
                    raise WorkerBroken(f"no process: {os.strerror(wrong)}")
                for handle in handles:
                    os.set_inheritable(handle, False)
                return Fork(pid, handles[0] if handles else None, self)
        raise WorkerBroken(f"no process: {problem}")

    def reap(self, pid: int) -> int:
        with self._lock:
            if self._sock is None or not self.alive():  # then its children were killed with it
                return -signal.SIGKILL
            try:
                self._sock.sendall(REQUEST.pack(REAP, pid))
                _, status = REPLY.unpack(self._sock.recv(REPLY.size))
            except (OSError, struct.error):
                self._stop()
                return -signal.SIGKILL
        return int(status)

    def start(self) -> None:
        """Start it now rather than with the first worker. Raises WorkerBroken."""
        with self._lock:
            try:
                self._ready()
            except (OSError, ValueError) as error:
                raise WorkerBroken(f"no process: {error}") from None

    def close(self) -> None:
        with self._lock:
            self._stop()

    def _ready(self) -> socket.socket:
        if self._sock is None or not self.alive():
            self._stop()
            self._sock = self._start(preload=True)
            if self.facts.get("threads") != 1:
                _log.warning("a preloaded library starts threads (%s): workers load it themselves", self.facts)
                self._stop()
                self._sock = self._start(preload=False)
        return self._sock

    def _start(self, preload: bool) -> socket.socket:
        confine.hide_host()
        ours, theirs = socket.socketpair()
        scratch = tempfile.mkdtemp(prefix="sandbox-")
        here = str(Path(__file__).parent / "inside")
        arguments = [here, str(theirs.fileno()), str(os.getpid()), "preload" if preload else "bare"]
        try:
            process = _births.submit(
                subprocess.Popen,
                [self._python, "-I", "-X", "utf8", "-B", "-c", BOOT, *arguments],
                cwd="/",
                env=environment(scratch),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            ).result()
        except BaseException:
            ours.close()
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        finally:
            theirs.close()
        self._process = process
        ours.settimeout(_START_SECONDS)
        weakref.finalize(process, shutil.rmtree, scratch, ignore_errors=True)
        self.facts = json.loads(ours.recv(4096) or b"null") or {}
        ours.settimeout(_REPLY_SECONDS)
        return ours

    def _stop(self) -> None:
        if self._sock:
            self._sock.close()
            self._sock = None
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


_zygotes: dict[str, Zygote] = {}
_finding = threading.Lock()


def zygote(python: str = sys.executable) -> Zygote:
    """The zygote of this app: one for each interpreter."""
    with _finding:
        return _zygotes.setdefault(python, Zygote(python))
