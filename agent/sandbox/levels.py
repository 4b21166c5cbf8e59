"""Which confinement is in force: found out once, by attacking a worker of ours, and never better than the truth.

full: Landlock and a system call filter. brokered: the filter, and a broker that opens files. remote: a rented machine.
tools-only: no code runs, the agent calls tools by name. unsafe: limits only, for a developer's own machine.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from pydantic import JsonValue

from agent.sandbox import selftest
from agent.sandbox.forks import Zygote, zygote
from agent.sandbox.inside import confine, landlock, syscalls
from agent.sandbox.messages import WorkerBroken
from tools.problem import Problem

Level = Literal["full", "brokered", "remote", "tools-only", "unsafe"]
LEVELS: tuple[Level, ...] = get_args(Level)
CONFINED: tuple[Level, ...] = ("full", "brokered")  # the best first
RUNS_CODE: tuple[Level, ...] = ("full", "brokered", "remote", "unsafe")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """The level in force and how it was found."""

    level: Level
    wanted: str  # a level, or "best"
    kernel: dict[str, JsonValue]
    checks: tuple[selftest.Check, ...] = ()  # of the level in force
    seconds: float = 0.0  # that the checks took
    worker: dict[str, JsonValue] = field(default_factory=dict)  # what a worker has found in force
    why_not: dict[str, str] = field(default_factory=dict)  # of each level that was tried before, what is wrong with it

    @property
    def line(self) -> str:
        """For the log and the operator's page."""
        parts = [f"Landlock ABI {self.kernel['landlock_abi']}"] if self.level == "full" else []
        if self.worker:
            parts.append(f"seccomp {self.worker.get('seccomp')}")
        if self.checks:
            passed = sum(check.passed for check in self.checks)
            parts.append(f"self-test {passed}/{len(self.checks)} in {self.seconds:.2f} s")
        parts += [f"{level}: {why}" for level, why in self.why_not.items()]
        return f"sandbox: {self.level}" + (f" ({'; '.join(parts)})" if parts else "")

    def report(self) -> dict[str, JsonValue]:
        """All of it as plain data, for the journal and the operator's page."""
        return {
            "level": self.level,
            "wanted": self.wanted,
            "kernel": self.kernel,
            "worker": self.worker,
            "self_test": {
                "passed": sum(check.passed for check in self.checks),
                "failed": [check.name for check in self.checks if not check.passed],
                "seconds": round(self.seconds, 3),
            },
            "why_not": dict(self.why_not),
        }


def kernel() -> dict[str, JsonValue]:
    """What this machine has for confinement."""
    return {
        "system": sys.platform,
        "machine": platform.machine(),
        "release": platform.release(),
        "python": platform.python_version(),
        "user": os.getuid(),
        "landlock_abi": landlock.abi() if sys.platform == "linux" else 0,
        "seccomp": os.path.exists("/proc/sys/kernel/seccomp") and syscalls.known_machine(),
        "pidfd": hasattr(os, "pidfd_open"),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "host_memory": "hidden" if confine.host_is_hidden() else "readable",
    }


def establish(wanted: str, on_space: bool, zygote: Zygote) -> Standing:
    """Try the level that is wanted, or from the best on. What is not in force, and proven, is not used.

    Raises Problem for a word that is no level.
    """
    if wanted not in (*LEVELS, "best"):
        raise Problem(f"SANDBOX is {wanted!r}.", f"Set it to best or one of {', '.join(LEVELS)}.")
    confine.hide_host()
    facts = kernel()
    why_not: dict[str, str] = {}
    for level in CONFINED:
        if wanted in (level, "best"):
            try:
                found = selftest.attack(level, zygote)
            except WorkerBroken as broken:
                why_not[level] = str(broken)
                continue
            if not found.failed:
                return Standing(level, wanted, facts, found.checks, found.seconds, found.facts, why_not)
            why_not[level] = f"the self-test failed: {', '.join(found.failed)}"
    if wanted == "unsafe" and not on_space:
        return Standing("unsafe", wanted, facts)
    if wanted == "remote":  # proven there, when a session rents a machine
        return Standing("remote", wanted, facts)
    if wanted == "unsafe":
        why_not[wanted] = "never on a Space"
    return Standing("tools-only", wanted, facts, why_not=why_not)


_standings: dict[tuple[str, bool], Standing] = {}
_finding = threading.Lock()


def standing(environ: Mapping[str, str] = os.environ) -> Standing:
    """The standing of this process, as SANDBOX names it or the best; found out at the first call, in a second or two."""
    key = (environ.get("SANDBOX", "").strip().lower() or "best", "SPACE_ID" in environ)
    with _finding:
        if key not in _standings:
            found = _standings[key] = establish(*key, zygote())
            _log.log(logging.INFO if found.level in CONFINED else logging.WARNING, "%s", found.line)
        return _standings[key]
