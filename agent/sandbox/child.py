"""One worker process as the host sees it: started, spoken to, interrupted, killed. It is never trusted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import JsonValue

from agent.sandbox.forks import Origin
from agent.sandbox.inside import confine
from agent.sandbox.inside.protocol import TO_WORKER, pack
from agent.sandbox.inside.zygote import environment
from agent.sandbox.messages import CallAsked, Hello, LostName, Ready, Splitter, StepDone, WorkerBroken
from agent.sandbox.seal import Slot

_PIPE_BYTES = 256 << 10
_CHUNK = 64 << 10
_DYING_SECONDS = 0.5
_START_SECONDS = 12.0  # to load the variables


@dataclass(frozen=True)
class Kind:
    """What a worker is told before anything else, and before its session is known."""

    level: str
    memory_bytes: int = 3 << 30  # of address space, beyond the zygote's
    file_bytes: int = 256 << 20


@dataclass(frozen=True)
class Start:
    """What a worker is told of its session. text_chars: of a value or an error."""

    folder: str
    restore: Slot | None = None  # which of the saved variables it begins with
    tools: tuple[dict[str, str], ...] = ()
    text_chars: int = 20_000


def make_folders(folder: Path) -> None:
    for name in ("work", "tmp", "state", "inbox", "uploads"):
        (folder / name).mkdir(parents=True, exist_ok=True)


class Child:
    """A worker: no session's until begin."""

    def __init__(self, origin: Origin, kind: Kind) -> None:
        """Raises WorkerBroken when no process can be had."""
        self.kind = kind
        self._force = threading.Lock()
        self._killed = False
        self._ended = ""  # how
        self._sending = threading.Lock()
        self._torn = False  # half a frame was sent: nothing can follow
        self.received = 0  # bytes of messages so far
        self._splitter = Splitter()
        self._printing = True  # someone may still print: the pipe is open at the other end
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._pipe, out = os.pipe()
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(OSError):  # over the user's share; the default does as well
                fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(self._pipe, False)
        try:
            self._fork = origin.fork(theirs.fileno(), out, brokered=kind.level == "brokered")
        except BaseException:
            self._sock.close()
            os.close(self._pipe)
            raise
        finally:
            theirs.close()
            os.close(out)
        try:
            self.send({"type": "prepare", **asdict(kind)}, seconds=5)
        except WorkerBroken:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        return self._fork.pid

    def alive(self) -> bool:
        """False once it has ended."""
        return not self._killed and self._fork.alive()

    def begin(self, start: Start, look: Callable[[], None]) -> tuple[dict[str, JsonValue], tuple[LostName, ...]]:
        """Let it shut itself in and load the variables, which runs code. Returns what is in force, and what is lost.

        In its folder work/ is its directory, tmp/ its home, state/ holds its variables, inbox/ what it is given. look is called every few milliseconds; what it raises is raised. Raises WorkerBroken when the worker does not become
        ready in time, or is less shut in than it should be.
        """
        home = os.path.join(start.folder, "tmp")
        self.send({"type": "start", **asdict(start), "environment": environment(home)}, seconds=5)
        until = time.monotonic() + _START_SECONDS
        facts: dict[str, JsonValue] = {}
        said = b""
        try:
            while time.monotonic() < until:
                look()
                said = (said + self.read_output())[:300]  # what loading prints is nobody's, unless it is the end
                if not self.wait(0.02, output=False)[0]:
                    continue
                for message in self.receive():
                    match message:
                        case Hello():
                            facts = message.facts
                        case Ready() if facts.get("level") == self.kind.level:
                            return facts, message.lost
                        case _:
                            raise WorkerBroken(f"the message {message.type!r} out of turn")
        except WorkerBroken as broken:
            said += self.read_output()
            raise WorkerBroken(
                f"{broken}: {said.decode('utf-8', 'replace').strip()}" if said else str(broken)
            ) from None
        raise WorkerBroken(f"it took longer than {_START_SECONDS:g} s")

    # --- talking ----------------------------------------------------------------------------------

    def send(self, message: dict[str, object], seconds: float) -> None:
        """Send from any thread. Raises WorkerBroken if the worker does not take it in time, ValueError if it is too large."""
        frame = memoryview(pack(message, TO_WORKER))
        until = time.monotonic() + seconds
        if not self._sending.acquire(timeout=seconds):
            raise WorkerBroken("the worker does not listen")
        try:
            if self._torn:
                raise WorkerBroken("the worker does not listen")
            size = len(frame)
            while frame:
                try:
                    frame = frame[self._sock.send(frame, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    if time.monotonic() > until:
                        self._torn = len(frame) < size
                        raise WorkerBroken("the worker does not listen") from None
                    poll = select.poll()
                    poll.register(self._sock, select.POLLOUT)
                    poll.poll(50)
                except OSError:
                    raise WorkerBroken("the worker is gone") from None
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

    def receive(self) -> Iterator[Hello | Ready | CallAsked | StepDone]:
        """What has come. Raises WorkerBroken when the worker is gone or says what no worker says."""
        try:
            data = self._sock.recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            raise WorkerBroken("the worker is gone")
        self.received += len(data)
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
        self._signal(signal.SIGINT)

    def freeze(self) -> None:
        """Let nothing of it run until thaw: threads that a step has left burn no time while nobody watches."""
        if confine.DIES_WITH_HOST:  # else a frozen one would stay for ever when the host dies
            self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> str:
        """End it and all of its process group. Returns "SIGKILL", or how it had ended before by itself."""
        with self._force:
            self._killed, already = True, self._killed
        if not already:  # dying may take a while, and others must not wait for it in _signal
            code = self._fork.end(_DYING_SECONDS)
            self._sock.close()
            os.close(self._pipe)
            self._ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return self._ended

    def _signal(self, number: int) -> None:
        with self._force:
            if not self._killed:
                self._fork.signal(number)
