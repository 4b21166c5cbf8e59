"""The process from which workers are forked: no secret was ever in its memory. Standard library only.

Started once, with an empty environment. It loads the large libraries, then has one thread and waits: a fork of it is
ready in milliseconds and shares their memory. It forks, reaps, and says nothing else.
"""

from __future__ import annotations

import array
import contextlib
import gc
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from typing import NoReturn

from . import confine, worker
from .broker import serve_one_worker

BOOT = """
import sys, types
package = sys.modules["sandbox"] = types.ModuleType("sandbox")
package.__path__ = [sys.argv[1]]
from sandbox.zygote import main
main(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "preload")
"""  # loads the worker's modules from their folder, and nothing else of the app

REQUEST = struct.Struct("=ci")  # F: fork; B: fork, with a broker; R: kill and reap the pid
REPLY = struct.Struct("=ii")  # pid, and the status as of a Popen; or 0, and what was wrong with the fork
FORK, FORK_BROKERED, REAP = b"F", b"B", b"R"

_PRELOADED = ("numpy", "pandas", "matplotlib.pyplot")
_SOCKET, _BROKER = 3, 4  # where a worker finds its ends


def environment(home: str) -> dict[str, str]:
    """All of a worker's environment. One thread each for the numeric libraries: the app runs beside it."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "TMPDIR": home,
        "MPLCONFIGDIR": home,
        "MPLBACKEND": "Agg",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
    }


def main(fd: int, parent: int, preload: bool) -> NoReturn:
    confine.die_with(parent)
    host = socket.socket(fileno=fd)
    host.set_inheritable(False)
    loaded = list(_preload()) if preload else []
    host.sendall(json.dumps({"loaded": loaded, "threads": _threads(), "python": sys.version.split()[0]}).encode())
    confine.readable()  # searched for once
    gc.collect()
    gc.freeze()  # else each worker's first collection copies every page
    workers: set[int] = set()  # that nobody has asked to reap yet
    ending: set[int] = set()  # brokers, and workers that take a while to die
    while True:
        data, fds = _receive(host)
        if len(data) < REQUEST.size:
            os._exit(0)
        do, pid = REQUEST.unpack(data)
        ending -= {each for each in ending if os.waitpid(each, os.WNOHANG)[0]}
        if do == REAP:
            # Of a zygote that was before this one: it is dead, and its number may be another process's by now.
            status = _reap(pid) if pid in workers else -signal.SIGKILL
            workers.discard(pid)
            if status is None:
                ending.add(pid)
            host.sendall(REPLY.pack(pid, -signal.SIGKILL if status is None else status))
            continue
        try:
            pid, broker = _fork(fds, brokered=do == FORK_BROKERED)
        except OSError as error:  # too many processes, or too little memory: for this one only
            host.sendall(REPLY.pack(0, error.errno or 0))
        else:
            workers.add(pid)
            ending |= {broker} - {0}
            _reply(host, pid)
        for each in fds:
            os.close(each)


def _preload() -> Iterator[str]:
    """Load what is installed; say which. Each at most one thread: a fork would copy a lock and not its holder."""
    for name in _PRELOADED if sys.platform == "linux" else ():
        with contextlib.suppress(Exception):  # a library that cannot be loaded fails in the code that asks for it
            __import__(name)
            if name == "matplotlib.pyplot":
                _plot()
            yield name


def _plot() -> None:
    """Draw once, so that fonts are found and cached now."""
    import io

    pyplot = sys.modules["matplotlib.pyplot"]
    pyplot.figure().text(0, 0, "x")
    pyplot.savefig(io.BytesIO())
    pyplot.close("all")


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def _receive(host: socket.socket) -> tuple[bytes, list[int]]:
    fds = array.array("i")
    try:
        data, extra, _, _ = host.recvmsg(REQUEST.size, socket.CMSG_SPACE(2 * fds.itemsize))
    except OSError:
        return b"", []
    for _, _, body in extra:
        fds.frombytes(body[: len(body) - len(body) % fds.itemsize])
    return data, list(fds)


def _fork(fds: list[int], brokered: bool) -> tuple[int, int]:
    """Returns the pids of the worker and of its broker, if it has one."""
    me = os.getpid()
    ours, theirs = socket.socketpair() if brokered else (None, None)
    pid = os.fork()
    if pid == 0:
        _settle(me, [*fds, *([theirs.fileno()] if theirs else [])])
        worker.main(_SOCKET, _BROKER if brokered else None)
    broker = 0
    if ours and theirs:
        with ours, theirs:
            try:
                broker = os.fork()
            except OSError:
                _reap(pid)
                raise
            if broker == 0:
                _settle(me, [ours.fileno()])
                serve_one_worker(_SOCKET)
    return pid, broker


def _settle(parent: int, fds: list[int]) -> None:
    """In a new process: its own session, these descriptors from 3 on, and no others.

    The second of them takes what is printed and becomes 1 and 2; what comes after it moves down by one.
    """
    try:
        os.setsid()
        confine.die_with(parent)
        null = os.open(os.devnull, os.O_RDWR)
        sock, out, *more = [*fds, null] if len(fds) == 1 else fds
        high = [os.dup2(fd, 100 + n, inheritable=False) for n, fd in enumerate([null, out, out, sock, *more])]
        for n, fd in enumerate(high):
            os.dup2(fd, n, inheritable=n <= 2)
        os.closerange(len(high), 4096)
    except BaseException:
        os._exit(1)


def _reap(pid: int) -> int | None:
    """End it and all of its process group, which is its own. Its status; None when dying takes a while."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return -signal.SIGKILL
    return os.waitstatus_to_exitcode(status) if done else None


def _reply(host: socket.socket, pid: int) -> None:
    """Say who the new worker is, with a descriptor that means it and no later process of the same number."""
    message = REPLY.pack(pid, 0)
    try:
        handle = os.pidfd_open(pid)  # type: ignore[attr-defined,unused-ignore]
    except (AttributeError, OSError):  # macOS, gVisor
        host.sendall(message)
        return
    socket.send_fds(host, [message], [handle])
    os.close(handle)
