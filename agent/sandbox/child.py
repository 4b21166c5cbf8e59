"""One worker process as the host sees it: started, spoken to, interrupted, killed. It is never trusted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agent.sandbox import confine
from agent.sandbox.messages import Broken, CallAsked, Done, Hello, Ready, Splitter
from agent.sandbox.protocol import TO_WORKER, pack

_BOOT = """
import sys, types
package = sys.modules["sandbox"] = types.ModuleType("sandbox")
package.__path__ = [sys.argv[1]]
from sandbox.worker import main
main(int(sys.argv[2]))
"""  # loads the worker's modules from their folder, and nothing else of the app

_PIPE_BYTES = 256 << 10
_CHUNK = 64 << 10

# The kernel ends a child whose PDEATHSIG is set when the thread that started it ends. This thread outlives every run.
_births = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-births")


class Child:
    """A worker in folder: work/ is its directory, tmp/ its home, state/ holds its variables."""

    def __init__(self, folder: Path) -> None:
        confine.hide_host()
        for name in ("work", "tmp", "state"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.frozen = False
        self._sending = threading.Lock()
        self._torn = False  # half a frame was sent: nothing can follow
        self._splitter = Splitter()
        self._printing = True  # someone may still print: the pipe is open at the other end
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._pipe, out = os.pipe()
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(OSError):  # over the user's share; the default does as well
                fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(self._pipe, False)
        here = str(Path(__file__).parent)
        try:
            self._process = _births.submit(
                subprocess.Popen,
                [sys.executable, "-I", "-X", "utf8", "-c", _BOOT, here, str(theirs.fileno())],
                cwd=folder / "work",
                env=_environment(folder / "tmp"),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            ).result()
        except OSError as error:
            self._sock.close()
            os.close(self._pipe)
            raise Broken(f"no process: {error.strerror}") from None
        finally:
            theirs.close()
            os.close(out)

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        """False once it has ended. It is reaped by kill alone: until then its number is nobody else's."""
        if not hasattr(os, "waitid"):  # macOS before Python 3.13: the closed socket tells
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    # --- talking ----------------------------------------------------------------------------------

    def send(self, message: dict[str, object], seconds: float) -> None:
        """Send from any thread. Raises Broken if the worker does not take it in time, ValueError if it is too large."""
        frame = memoryview(pack(message, TO_WORKER))
        until = time.monotonic() + seconds
        if not self._sending.acquire(timeout=seconds):
            raise Broken("the worker does not listen")
        try:
            if self._torn:
                raise Broken("the worker does not listen")
            size = len(frame)
            while frame:
                try:
                    frame = frame[self._sock.send(frame, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    if time.monotonic() > until:
                        self._torn = len(frame) < size
                        raise Broken("the worker does not listen") from None
                    poll = select.poll()
                    poll.register(self._sock, select.POLLOUT)
                    poll.poll(50)
                except OSError:
                    raise Broken("the worker is gone") from None
        finally:
            self._sending.release()

    def wait(self, seconds: float, messages: bool = True, output: bool = True) -> tuple[bool, bool]:
        """Wait until there is a message to receive, or output to read, at most so long. Says which of them."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN if messages else 0)
        if output and self._printing:
            poll.register(self._pipe, select.POLLIN)
        ready = dict(poll.poll(seconds * 1000))
        return self._sock.fileno() in ready, self._pipe in ready

    def receive(self) -> Iterator[Hello | Ready | CallAsked | Done]:
        """What has come. Raises Broken when the worker is gone or says what no worker says."""
        try:
            data = self._sock.recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            raise Broken("the worker is gone")
        yield from self._splitter.feed(data)

    def read_output(self) -> bytes:
        """What has been printed since; b"" when that is nothing."""
        try:
            data = os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return b""
        self._printing = bool(data)
        return data

    # --- force ------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        os.kill(self.pid, signal.SIGINT)

    def freeze(self) -> None:
        """Let nothing of it run until thaw: threads that a step has left burn no time while nobody watches."""
        if confine.DIES_WITH_HOST:  # else a frozen one would stay for ever when the host dies
            self.frozen = True
            os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self.frozen:
            self.frozen = False
            os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> str:
        """End it and all of its process group. Returns "SIGKILL", or how it had ended before by itself."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        try:
            code = self._process.wait(0.5)
        except subprocess.TimeoutExpired:  # dying takes a while; Popen reaps it later
            code = -signal.SIGKILL
        self._sock.close()
        os.close(self._pipe)
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _environment(home: Path) -> dict[str, str]:
    """All of the worker's environment. One thread each for the numeric libraries: the app runs beside it."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
