"""Attacks a worker of ours as hostile code would, at the start of the app. Each check says what must not happen.

Code in the worker tries; where an attack would leave a trace, the host looks for it, since what the code says of
itself proves nothing.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from agent.sandbox.child import Child, Kind, Start, make_folders
from agent.sandbox.files import DiskUsage
from agent.sandbox.forks import Zygote
from agent.sandbox.inside import syscalls
from agent.sandbox.inside.zygote import environment
from agent.sandbox.messages import StepDone, WorkerBroken
from agent.sandbox.watch import Ceiling, UsageWatch

_SECONDS = 5.0  # for one check; all together take a fraction of one
_CANARY = "a canary that no code may see"

_ENVIRONMENT = {*environment(""), "LC_CTYPE"}
_TOOLS = """
import ctypes, os, resource, signal, socket, sys, threading
def refused(act, *given):
    try: act(*given)
    except (OSError, ValueError): return True
    return False
def call(number, *given): return ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *given) == -1
"""


@dataclass(frozen=True)
class Check:
    name: str  # what does not happen, or what works
    passed: bool


@dataclass(frozen=True)
class Report:
    checks: tuple[Check, ...]
    facts: dict[str, JsonValue]  # of the worker: what is in force
    seconds: float

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(check.name for check in self.checks if not check.passed)


@dataclass(frozen=True)
class _Place:
    """What is around the worker: it must see and change none of it."""

    secret: Path
    tcp: socket.socket
    abstract: socket.socket

    def untouched(self) -> bool:
        mode = self.secret.stat().st_mode & 0o777
        return self.secret.read_text() == _CANARY and mode == 0o644 and len(os.listdir(self.secret.parent)) == 1

    def unvisited(self) -> bool:
        return not any(_visited(listener) for listener in (self.tcp, self.abstract))


def attack(level: str, zygote: Zygote, take: Callable[[Zygote, Kind], Child] = Child) -> Report:
    """take: gives the worker. Raises WorkerBroken when none can be had at this level."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="sandbox-check-"))
    try:
        with _place(folder) as place:
            child = take(zygote, Kind(level))
            try:
                make_folders(folder / "session")
                facts = child.begin(Start(str(folder / "session")), lambda: None)[0]
                _run(child, _TOOLS)
                checks = [Check(name, _run(child, code) == "True") for name, code in _attempts(place)]
                seen = UsageWatch(child.pid, [], Ceiling(1, 1, 1, DiskUsage())).sees()
            finally:
                child.kill()
            checks.append(Check("what it uses is seen from outside", seen))
            checks.append(Check("nothing outside its folders was changed", place.untouched()))
            checks.append(Check("nobody outside was reached", place.unvisited()))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Report(tuple(checks), facts, time.monotonic() - began)


def _attempts(place: _Place) -> Iterator[tuple[str, str]]:
    """Names of checks, with an expression that is True when the attack fails."""
    file, port, name = str(place.secret), place.tcp.getsockname()[1], place.abstract.getsockname().decode()
    host, folder = os.getpid(), str(place.secret.parent)
    yield "no file of others is read", f"refused(open, {file!r})"
    yield "no folder of others is listed", f"refused(os.listdir, {folder!r})"
    yield "no file of others is written", f"refused(open, {file!r}, 'a')"
    yield "no file of others is removed", f"refused(os.unlink, {file!r})"
    yield "no file of others is renamed", f"refused(os.rename, {file!r}, 'mine')"
    yield "no file is made elsewhere", f"refused(open, {folder + '/new'!r}, 'w') and refused(open, '/tmp/new', 'w')"
    yield "no mode of others is changed", f"os.chmod({file!r}, 0) is None"
    yield "no file that is only to be read is emptied", "refused(os.open, os.__file__, os.O_RDONLY | os.O_TRUNC)"
    yield "no link is made", f"refused(os.symlink, {file!r}, 'link') and refused(os.link, {file!r}, 'link')"
    yield "its parent's folder is closed", "refused(os.listdir, '..')"
    yield "the process table is closed", f"refused(open, '/proc/self/environ') and refused(open, '/proc/{host}/mem')"
    yield "no TCP", f"refused(socket.create_connection, ('127.0.0.1', {port}), 1)"
    yield "no UDP", "refused(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)"
    yield "no abstract socket", f"refused(lambda: socket.socket(socket.AF_UNIX).connect({name!r}))"
    yield "no fork", "refused(os.fork)"
    yield "no program", "refused(os.execv, sys.executable, ['python', '-c', ''])"
    yield "no signal to the app", f"refused(os.kill, {host}, 0)"
    yield "no signal to all", "refused(os.kill, -1, 0) and refused(os.killpg, os.getpgid(0), 0)"
    yield "no tracing of the app", f"ctypes.CDLL(None).ptrace(16, {host}, 0, 0) == -1"
    for what, calls in _REFUSED.items():
        yield f"no {what}", " and ".join(f"call({syscalls.number(each)}, 0, 0, 0, 0)" for each in calls)
    yield "no limit is raised", "refused(resource.setrlimit, resource.RLIMIT_NOFILE, (64, 64))"
    yield "no other CPU is taken", "refused(os.sched_setaffinity, 0, range(os.sysconf('SC_NPROCESSORS_CONF')))"
    yield "nothing of the app's environment is there", f"set(os.environ) <= {_ENVIRONMENT!r}"
    yield "no descriptor of the app is open", "all(refused(os.fstat, n) for n in range(4, 128))"
    yield (
        "its own folder works",
        "open('a', 'w').write('b') == 1 and open('a').read() == 'b' and os.remove('a') is None",
    )
    yield "threads work", "(t := threading.Thread(target=int)).start() or t.join() or not t.is_alive()"


_REFUSED = {
    "namespace": ("unshare", "setns"),
    "mount": ("mount", "chroot"),
    "io_uring": ("io_uring_setup",),
    "memory of others": ("process_vm_readv", "pidfd_getfd"),
    "hidden memory": ("memfd_create", "shmget"),
    "kernel program or key": ("bpf", "keyctl"),
}


def _run(child: Child, code: str) -> str:
    """Run a step; its value, or how it failed."""
    child.send({"type": "run", "code": code}, seconds=_SECONDS)
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        child.read_output()
        if child.wait(0.05, output=False)[0]:
            for message in child.receive():
                if isinstance(message, StepDone):
                    return message.value or message.error
    raise WorkerBroken(f"a check took longer than {_SECONDS:g} s")


@contextmanager
def _place(folder: Path) -> Iterator[_Place]:
    outside = folder / "outside"
    outside.mkdir()
    secret = outside / "secret"
    secret.write_text(_CANARY)
    secret.chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("")  # Linux then finds an abstract name
        abstract.listen()
        yield _Place(secret, tcp, abstract)


def _visited(listener: socket.socket) -> bool:
    listener.setblocking(False)
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True
