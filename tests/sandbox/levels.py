"""How the tests choose the level of the sandbox: the few places that know the Executor's ways with it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from agent.sandbox import forks
from agent.sandbox.files import DiskUsage, safe_open
from agent.sandbox.host import Limits
from agent.sandbox.levels import Level

_NONE = 1 << 40  # no limit that anything here reaches
LATE = 6.0  # seconds after its limit when a step ends even without confinement, so that the next can be run


def limits(level: Level, wall: float) -> Limits:
    """The usual ones with another wall limit; none at all where the confinement is switched off."""
    usual = replace(Limits(), wall_seconds=wall)
    if level != "unsafe":
        return usual
    return replace(
        usual,
        wall_seconds=wall + LATE,
        cpu_seconds=_NONE,
        memory_bytes=_NONE,
        resident_bytes=_NONE,
        file_bytes=_NONE,
        disk=DiskUsage(bytes=_NONE, entries=_NONE, depth=_NONE),
        threads=_NONE,
        output_chars=_NONE,
        output_bytes=_NONE,
        sent_bytes=_NONE,
        calls=_NONE,
    )


def before_login(python: str = sys.executable) -> None:
    """What an app does first: start the zygote, before any secret is in this process."""
    forks.zygote(python).start()


def after_all(python: str = sys.executable) -> None:
    """What an app does last."""
    forks.zygote(python).close()


def read(folder: Path, path: str) -> str:
    """A file of a session as the host reads it for a tool."""
    with safe_open(folder, path) as file:
        return file.read(100_000).decode(errors="replace")
