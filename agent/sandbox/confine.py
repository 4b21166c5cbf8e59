"""What keeps generated code in, and an honest word on what does not. Standard library only: the child loads it too.

Landlock, seccomp and the levels above "plain" belong here.
"""

from __future__ import annotations

import ctypes
import resource
import signal
import sys

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_GET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 3, 38
_OPEN_FILES = 256

DIES_WITH_HOST = sys.platform == "linux"  # by PDEATHSIG; elsewhere the worker ends when its socket closes


def hide_host() -> bool:
    """Hide this process's memory and environment from others of the same user; True when that is in force.

    Without it a child reads the tokens from /proc/<parent>/environ, whatever its own environment says. Linux only.
    """
    return _prctl(_PR_SET_DUMPABLE, 0) == 0


def host_is_hidden() -> bool:
    return _prctl(_PR_GET_DUMPABLE, 0) == 0


def enforce_in_child(memory_bytes: int, file_bytes: int) -> dict[str, object]:
    """Put the limits on this process, before any generated code is in it; return those that are in force."""
    wanted = {
        "memory_bytes": (resource.RLIMIT_AS, memory_bytes),
        "file_bytes": (resource.RLIMIT_FSIZE, file_bytes),
        "open_files": (resource.RLIMIT_NOFILE, _OPEN_FILES),
        "core_bytes": (resource.RLIMIT_CORE, 0),
    }
    facts: dict[str, object] = {name: _lower(limit, value) for name, (limit, value) in wanted.items()}
    facts["no_new_privs"] = _prctl(_PR_SET_NO_NEW_PRIVS, 1) == 0
    facts["dies_with_host"] = _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) == 0
    return facts


def report() -> dict[str, object]:
    """What is in force for the operator and the journal, besides the facts of the child itself."""
    return {
        "level": "plain",
        "host_memory": "hidden" if host_is_hidden() else "readable by generated code",
        "environment": "scrubbed",
        "landlock": False,
        "seccomp": False,
        "network": "open",
        "files": "all that the app's user can read and write",
        "processes": "may start programs, and signal those of the app's user",
    }


def _lower(limit: int, value: int) -> int | None:
    """Set a resource limit, never above the one there is; None when the system does not take it."""
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    try:
        resource.setrlimit(limit, (value, value))
    except (ValueError, OSError):  # macOS does not know RLIMIT_AS; gVisor refuses some
        return None
    return value


def _prctl(option: int, value: int) -> int:
    if sys.platform != "linux":
        return -1
    return int(ctypes.CDLL(None).prctl(option, value, 0, 0, 0))
