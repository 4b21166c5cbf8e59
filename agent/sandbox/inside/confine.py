"""What keeps generated code in. Standard library only: host, zygote and worker load it.

"full": limits, Landlock for files, a system call filter. "brokered": a broker process in the place of Landlock.
"unsafe": limits alone. Whatever cannot be put in force raises; nothing here settles for less.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import resource
import signal
import sys
import sysconfig
from typing import Any

from . import landlock, seccomp, syscalls
from .broker import Link

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_GET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 3, 38
_PR_SET_PTRACER = 0x59616D61
_OPEN_FILES = {"full": 128, "brokered": 128, "unsafe": 256}
_LOCKED_BYTES = 64 << 10
_CAPABILITIES_3 = 0x20080522

DIES_WITH_HOST = sys.platform == "linux"  # by PDEATHSIG; elsewhere the worker ends when its socket closes


def hide_host() -> bool:
    """Hide this process's memory and environment from others of the same user; True when that is in force.

    Without it a child reads the tokens from /proc/<parent>/environ, whatever its own environment says. Linux only.
    """
    return _prctl(_PR_SET_DUMPABLE, 0) == 0


def host_is_hidden() -> bool:
    return _prctl(_PR_GET_DUMPABLE, 0) == 0


def die_with(parent: int) -> bool:
    """Be killed when the parent ends, or at once when it has ended already. Linux only."""
    done = _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) == 0
    if done and os.getppid() != parent:
        os._exit(0)
    return done


@functools.cache
def readable() -> tuple[str, ...]:
    """What Python itself needs to read: its libraries and the system's, time zones, fonts."""
    paths = {path for scheme in ("stdlib", "platstdlib", "purelib", "platlib") if (path := sysconfig.get_path(scheme))}
    paths |= {os.path.join(sys.base_prefix, "lib"), os.path.join(sys.base_exec_prefix, "lib")}
    system = (
        "/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/usr/share/fonts",
        "/usr/share/fontconfig", "/etc/fonts", "/etc/localtime", "/etc/ld.so.cache", "/etc/mime.types",
        "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
    )  # fmt: skip
    real = {os.path.realpath(path) for path in paths.union(system) if os.path.exists(path)}
    return tuple(sorted(path for path in real if not any(path.startswith(other + "/") for other in real)))


def folders(folder: str) -> tuple[list[str], list[str]]:
    """A session's own: those to read, and those to change."""
    read = [os.path.join(folder, name) for name in ("inbox", "uploads")]
    change = [os.path.join(folder, name) for name in ("work", "tmp", "state")]
    return read, [*change, "/dev/null"]


# --- in the worker --------------------------------------------------------------------------------


def limit(level: str, memory_bytes: int, file_bytes: int) -> dict[str, Any]:
    """Put the resource limits on this process, before any generated code is in it; return those that are in force.

    memory_bytes: address space beyond what the zygote had already.
    """
    wanted = {
        "memory_bytes": (resource.RLIMIT_AS, memory_bytes),
        "file_bytes": (resource.RLIMIT_FSIZE, file_bytes),
        "open_files": (resource.RLIMIT_NOFILE, _OPEN_FILES[level]),
        "core_bytes": (resource.RLIMIT_CORE, 0),
    }
    if hasattr(resource, "RLIMIT_MEMLOCK"):
        wanted["locked_bytes"] = (resource.RLIMIT_MEMLOCK, _LOCKED_BYTES)
    inherited = _mapped_bytes()
    facts: dict[str, Any] = {}
    for name, (which, value) in wanted.items():
        more = inherited if which == resource.RLIMIT_AS else 0
        facts[name] = value if _lower(which, value + more) else None
    facts["no_new_privs"] = _prctl(_PR_SET_NO_NEW_PRIVS, 1) == 0
    return facts


class Walls:
    """What shuts this process in: made ready before its session is known, closed before any generated code is there."""

    def __init__(self, level: str, broker: Link | None) -> None:
        """broker: the link to it, at the level "brokered". Raises OSError when they cannot be had here."""
        self._level, self._broker = level, broker
        self._rules: landlock.Rules | None = None
        self._program: list[seccomp.Instruction] = []
        if level == "unsafe":
            return
        if sys.platform != "linux" or not syscalls.known_machine():
            raise OSError(f"no system call filter for {sys.platform} on {platform.machine()}")
        _give_up_capabilities()
        if level == "full":
            self._rules = landlock.Rules()
            self._rules.add(read=readable())
        elif not broker:
            raise OSError(f"no broker for the level {level}")
        self._program = seccomp.worker_filter(os.getpid(), truncate=not self._rules or self._rules.version >= 3)

    def close(self, folder: str) -> dict[str, Any]:
        """Shut this process in, with the session's folder. Returns what is in force; raises OSError else."""
        facts: dict[str, Any] = {"level": self._level, "landlock": 0, "seccomp": len(self._program)}
        if not self._program:
            return facts
        read, change = folders(folder)
        if self._rules:
            self._rules.add(read, change)
            facts["landlock"] = self._rules.enforce()
        elif self._broker:
            _prctl(_PR_SET_PTRACER, self._broker.pid)  # the broker reads its memory; fails where nobody minds
            reads = [*readable(), *read]
            self._broker.give(seccomp.install(seccomp.path_filter(), listener=True), read=reads, change=change)
        os.sched_setaffinity(0, {ctypes.CDLL(None).sched_getcpu()})  # the one it is on: moving takes milliseconds
        facts["cpus"] = 1
        seccomp.install(self._program)
        return facts


def step_back() -> None:
    """Leave the CPU to the app whenever it wants it. The last thing: getting ready should not wait for others."""
    os.setpriority(os.PRIO_PROCESS, 0, 19)


def _give_up_capabilities() -> None:
    """An app that runs as root has workers without root's rights."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0)
    none = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be given up")


def _mapped_bytes() -> int:
    with contextlib.suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
    return 0


def _lower(which: int, value: int) -> bool:
    """Set a resource limit, never above the one there is; False when the system does not take it."""
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    try:
        resource.setrlimit(which, (value, value))
    except (ValueError, OSError):  # macOS does not know RLIMIT_AS; gVisor refuses some
        return False
    return True


def _prctl(option: int, value: int) -> int:
    if sys.platform != "linux":
        return -1
    return int(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0))
