"""Workers in a rented machine, on the user's account: the same worker, the same frames, told through a relay there.

Asked for once, before anything is started, and again when the agreed time is over or the user has ended it. The session's files are taken
there and what changes is brought back after each step, so that nothing is lost with the machine. It is ended with the
session, when that has long done nothing, and at the end of the agreed time; and ends by itself when the app is gone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from queue import Empty, SimpleQueue
from urllib.parse import quote

from agent.sandbox.files import DiskUsage, safe_open
from agent.sandbox.inside.relay import ENDED, FRAME, MESSAGE, PRINTED, SIGNAL
from agent.sandbox.messages import WorkerBroken
from agent.sandbox.rental import Consent, RentedMachine
from tools.problem import Problem, Stopped

_OURS = Path(__file__).parent / "inside"
_START_SECONDS = 180.0  # for the machine
_READY_SECONDS = 180.0  # for the relay: libraries are installed, its zygote loads them
_LOOK_SECONDS = 0.2  # between two looks whether it has started
_CLOSING_SECONDS = 10.0
_ALIVE_SECONDS = 30.0  # between two signs of life, at most
_LARGEST_FRAME = 1 << 20
MOST = DiskUsage(bytes=64 << 20, entries=1_000)  # brought back after one step

_log = logging.getLogger(__name__)


class Remote:
    """The machine of one session. ask: gets the user's yes, and may take as long as the user does; raises Problem."""

    def __init__(self, folder: Path, ask: Callable[[], Consent]) -> None:
        self._local, self._ask = folder, ask
        self._lock = threading.Lock()
        self._consent: Consent | None = None
        self._until = 0.0
        self._machine: RentedMachine | None = None
        self._timer: threading.Timer | None = None
        self._there: dict[str, tuple[int, int]] = {}  # size and time of the local files that are there
        self._brought: dict[str, tuple[int, int]] = {}  # and of the remote ones that are here
        self._worker: _Far | None = None
        self._renting: threading.Thread | None = None
        self.level = ""  # of the worker in the machine

    @property
    def folder(self) -> str:
        """The session's, as the worker sees it."""
        return f"{self._rented().folder}/session"

    def ready(self, stop: Callable[[], bool]) -> None:
        """Have a machine with the session's files. Raises Problem, Refused, Stopped."""
        if self._machine and time.monotonic() < self._until and self._answers(self._machine):
            with contextlib.suppress(Problem):  # a machine that is lost shows when the worker is asked
                self._take_there(("uploads", "work/outputs"))  # what the host may have added
            return
        self.release()
        machine = self._machine = self._rent(stop)
        self._timer = threading.Timer(max(0.0, self._until - time.monotonic()), self.release)
        self._timer.daemon = True
        self._timer.start()
        try:
            self._settle(machine, stop)
        except BaseException:
            self.release()
            raise

    def _answers(self, machine: RentedMachine) -> bool:
        """Whether it is still there: the user may have ended it, or the Hub. A living worker shows it without asking."""
        if self._worker and self._worker.alive():
            return True
        try:
            return machine.ready()
        except Problem:
            return False

    def _rent(self, stop: Callable[[], bool]) -> RentedMachine:
        """A machine that comes when nobody waits any more is ended."""
        if self._consent is None or time.monotonic() >= self._until:
            self._consent = self._ask()
            self._until = time.monotonic() + self._consent.seconds
        start, came, wanted = self._consent.start, SimpleQueue[RentedMachine | Exception](), threading.Event()

        def work() -> None:
            try:
                machine = start()
            except Exception as error:
                came.put(error)
                return
            with self._lock:
                if not wanted.is_set():
                    came.put(machine)
                    return
            machine.kill()

        self._renting = threading.Thread(target=work, name="sandbox-rent", daemon=True)
        self._renting.start()
        while True:
            try:
                found = came.get(timeout=0.05)
                break
            except Empty:
                if not stop():
                    continue
            with self._lock:  # nobody waits for it any more
                wanted.set()
            with contextlib.suppress(Empty):
                if not isinstance(late := came.get_nowait(), Exception):
                    late.kill()
            raise Stopped
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        """As release; and wait a little for a machine that is on its way and that nobody wants any more."""
        self.release()
        if self._renting:
            self._renting.join(_CLOSING_SECONDS)

    def release(self) -> None:
        """End the machine, if there is one. May be called again, and from any thread."""
        with self._lock:
            machine, self._machine = self._machine, None
            if machine and machine.revoked:
                self._consent = None
            worker, self._worker = self._worker, None
            timer, self._timer = self._timer, None
            self._there, self._brought = {}, {}
        if timer:
            timer.cancel()
        if worker:
            worker.ended(-signal.SIGKILL)
        if machine:
            machine.kill()

    def fork(self, sock: int, out: int, brokered: bool) -> _Far:
        """As a Zygote's. Raises WorkerBroken."""
        machine = self._rented()
        try:
            machine.post(f"/fork?brokered={brokered:d}", b"")
        except Problem as problem:
            raise WorkerBroken(f"no process: {problem}") from None
        self._worker = _Far(machine, sock, out)
        return self._worker

    def _rented(self) -> RentedMachine:
        if self._machine is None:
            raise WorkerBroken("the rented machine has been given back")
        return self._machine

    def _settle(self, machine: RentedMachine, stop: Callable[[], bool]) -> None:
        """Wait for it, take the worker there, start the relay, choose the level, take the session's files there."""
        until = time.monotonic() + _START_SECONDS
        while not machine.ready():
            if stop():
                raise Stopped
            if time.monotonic() > until:
                raise Problem(
                    f"The rented machine did not start within {_START_SECONDS:.0f} s.", "Try again in a minute."
                )
            time.sleep(_LOOK_SECONDS)
        for module in sorted(_OURS.glob("*.py")):
            machine.put(f"{machine.folder}/code/sandbox/{module.name}", module.read_bytes())
        quiet = self._consent.quiet_seconds if self._consent else 0.0
        command = f"python3 -B -m sandbox.relay {machine.port} '{machine.folder}/session' {quiet}"
        machine.run(f"{machine.setup or ':'}; cd '{machine.folder}/code' && exec {command}")
        until = time.monotonic() + _READY_SECONDS
        while True:
            if stop():
                raise Stopped
            try:
                with machine.get("/facts") as body:
                    facts = json.loads(b"".join(body))
                break
            except (Problem, ValueError) as problem:
                if time.monotonic() > until or self._machine is not machine:  # its time was over, for example
                    raise Problem(f"The rented machine does not begin: {problem}.", "Try again in a minute.") from None
                time.sleep(0.1)
        self.level = "full" if facts["landlock"] else "brokered"
        if not facts["seccomp"]:
            raise Problem("The rented machine cannot shut the code in.", "Set SANDBOX=tools-only to go on without.")
        self._take_there(("work", "state", "uploads"))

    # --- files ------------------------------------------------------------------------------------

    def _take_there(self, tops: tuple[str, ...]) -> None:
        """Copy what has changed here. Raises Problem."""
        for top in tops:
            for path in sorted((self._local / top).rglob("*")):
                seen = path.lstat()
                name = path.relative_to(self._local).as_posix()
                mark = (seen.st_size, seen.st_mtime_ns)
                if stat.S_ISREG(seen.st_mode) and self._there.get(name) != mark:
                    self.put(path)
                    self._there[name] = mark

    def put(self, path: Path) -> str:
        """Copy one file of the session; returns where it is for the worker. Raises OSError, or Problem."""
        name = path.relative_to(self._local).as_posix()
        with safe_open(self._local, name) as file:
            self._rented().post(f"/file?path={_quoted(name)}", file.read())
        return f"{self.folder}/{name}"

    def bring_back(self) -> bool:
        """Copy what a step has changed there, up to MOST; what is more stays there, and ends with the machine.

        False when the machine is lost: the next step gets another, with what was brought before.
        """
        try:
            self._bring_back(self._rented())
        except (Problem, WorkerBroken, ValueError, OSError) as error:
            _log.warning("a rented machine was lost: %s", error)
            self.release()
            return False
        return True

    def _bring_back(self, machine: RentedMachine) -> None:
        with machine.get("/files") as body:
            listed = json.loads(b"".join(body))
        left, entries, seen = MOST.bytes, MOST.entries, set[str]()
        for name, size, changed in sorted(listed, key=lambda file: file[0].startswith("work")):  # variables first
            parts = PurePosixPath(name).parts
            if len(parts) < 2 or parts[0] not in ("work", "state") or ".." in parts or "\0" in name:
                continue
            seen.add(name)
            if self._brought.get(name) == (size, changed):
                continue
            left, entries = left - size, entries - 1
            if left < 0 or entries < 0:
                _log.warning("files of a rented machine are too large to be brought back, from %r on", name)
                break
            with machine.get(f"/file?path={_quoted(name)}") as body:
                _write(self._local, parts, body, most=size)
            self._brought[name] = (size, changed)
        for name in [name for name in self._brought if name not in seen and left >= 0 and entries >= 0]:
            del self._brought[name]
            (self._local / name).unlink(missing_ok=True)


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _write(folder: Path, parts: tuple[str, ...], body: Iterator[bytes], *, most: int) -> None:
    """Put a file into folder, in place of whatever has its name, and through no link."""
    here = folder
    for part in parts[:-1]:
        here = here / part
        if here.is_symlink() or (here.exists() and not here.is_dir()):
            here.unlink()
        here.mkdir(exist_ok=True)
    draft = folder / ".brought"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        for chunk in body:
            most -= len(chunk)
            if most < 0:
                raise WorkerBroken("the rented machine sends more than it said")
            file.write(chunk)
    os.replace(draft, here / parts[-1])


class _Far:
    """A worker in the machine, as a Fork is one here: two threads pass on what is said."""

    pid = 0  # none of this machine's

    def __init__(self, machine: RentedMachine, sock: int, out: int) -> None:
        self._machine = machine
        self._sock, self._out = socket.socket(fileno=os.dup(sock)), os.dup(out)
        self._bell, self._rung = os.pipe()
        self._signals: SimpleQueue[int] = SimpleQueue()
        self._end = threading.Event()
        self._status = -signal.SIGKILL
        for work in (self._hear, self._say):
            threading.Thread(target=work, name=f"sandbox-{work.__name__[1:]}", daemon=True).start()

    def alive(self) -> bool:
        return not self._end.is_set()

    def signal(self, number: int) -> None:
        """In its place between what is sent: before what comes after."""
        if not self._end.is_set():
            self._signals.put(number)
            os.write(self._rung, b"!")

    def end(self, seconds: float) -> int:
        self.signal(signal.SIGKILL)
        self._end.wait(seconds)
        self.ended(self._status)
        return self._status

    def ended(self, status: int) -> None:
        if not self._end.is_set():
            self._status = status
            self._end.set()
            os.write(self._rung, b"!")
            with contextlib.suppress(OSError):  # who reads the other end learns of it
                self._sock.shutdown(socket.SHUT_RDWR)

    def _hear(self) -> None:
        """Pass on what comes from the worker."""
        status, held = -signal.SIGKILL, bytearray()
        try:
            with self._machine.get("/out") as body, os.fdopen(self._out, "wb", buffering=0) as out:
                for chunk in body:
                    held += chunk
                    for kind, data in _frames(held):
                        if kind == MESSAGE:
                            self._sock.sendall(data)
                        elif kind == PRINTED:
                            out.write(data)
                        elif kind == ENDED:
                            status = int.from_bytes(data, "big", signed=True)
                    if self._end.is_set():
                        break
        except (Problem, OSError, WorkerBroken) as error:
            _log.info("a rented machine was lost: %s", error)
        self.ended(status)

    def _say(self) -> None:
        """Pass on what goes to the worker."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        ending = False
        try:
            while not ending:
                ready = dict(poll.poll(_ALIVE_SECONDS * 1000))
                frames, ending = b"", self._end.is_set()
                if self._bell in ready:
                    os.read(self._bell, 1000)
                with contextlib.suppress(Empty):
                    while True:
                        frames += FRAME.pack(SIGNAL, 1) + bytes([self._signals.get_nowait()])
                if self._sock.fileno() in ready and not ending:
                    if data := self._sock.recv(_LARGEST_FRAME):
                        frames += FRAME.pack(MESSAGE, len(data)) + data
                    else:
                        poll.unregister(self._sock)
                if frames or not ending:
                    self._machine.post("/in", frames)
        except (Problem, OSError) as error:
            _log.info("a rented machine was lost: %s", error)
        self.ended(-signal.SIGKILL)
        self._sock.close()


def _frames(held: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """Take the whole frames out of what was heard. Raises WorkerBroken for one that no relay sends."""
    while len(held) >= FRAME.size:
        kind, length = FRAME.unpack_from(held)
        if length > _LARGEST_FRAME:
            raise WorkerBroken(f"a frame of {length:,} bytes from the relay")
        end = FRAME.size + length
        if len(held) < end:
            return
        data = bytes(held[FRAME.size : end])
        del held[:end]
        yield kind, data
