"""Runs attacks and honest code against the sandbox, each in a place of its own (keeper.py), and gives the verdicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.sandbox.keeper import REPO, Verdict

_SECONDS = 60.0  # to set up and take down a place, and for what follows each case
_AT_ONCE = 2


class Impossible(Exception):
    """No such place can be made here, or the app does not start in it."""


@dataclass(frozen=True)
class Case:
    """An attack: steps of one session with placeholders such as @APP_PID@, judged after the last one."""

    name: str
    category: str
    steps: tuple[str, ...]
    must_not: str
    wall: float = 2.0  # limit of each step


@dataclass(frozen=True)
class Honest:
    """Steps of one session, and what each must give: out, value, err, final."""

    name: str
    steps: tuple[str, ...]
    expected: tuple[dict[str, Any], ...]


def attack(cases: Iterable[Case], level: str, python: str = sys.executable) -> dict[str, Verdict]:
    """Each case against a fresh app; python: the interpreter of its workers. Raises Impossible."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        rounds = list(pool.map(lambda case: _place([case], level, python), cases))
    return {verdict.name: verdict for verdicts in rounds for verdict in verdicts}


def attack_together(cases: Sequence[Case], level: str, python: str = sys.executable) -> dict[str, Verdict]:
    """The cases one after the other against one app, each in a session of its own: quicker. Raises Impossible."""
    verdicts: dict[str, Verdict] = {}
    while left := [case for case in cases if case.name not in verdicts]:
        verdicts |= {verdict.name: verdict for verdict in _place(left, level, python)}
    return verdicts


def _place(cases: Sequence[Case], level: str, python: str) -> list[Verdict]:
    """The verdicts up to the first with a breach: what comes after one proves nothing."""
    order = {
        "level": level,
        "python": python,
        "cases": [{"name": case.name, "steps": list(case.steps), "wall": case.wall} for case in cases],
    }
    verdicts, left = [], ["the keeper ended early"]
    for line in _keeper(order, _SECONDS + sum((case.wall + 5) * len(case.steps) for case in cases)):
        if "impossible" in line:
            raise Impossible(line["impossible"])
        if "left" in line:
            left = line["left"]
        else:
            verdicts.append(Verdict(**line))
    if not verdicts:
        raise Impossible("the keeper gave no verdict")
    if not verdicts[-1].breaches:
        verdicts[-1].breaches.extend(left)
    return verdicts


def _keeper(order: dict[str, Any], seconds: float) -> list[dict[str, Any]]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.sandbox.keeper"],
        input=json.dumps(order),
        cwd=REPO,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    if done.stderr:
        raise Impossible(f"the keeper failed: {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def table(verdicts: dict[str, Verdict], cases: Iterable[Case]) -> str:
    """Stopped of all, by category, and each breach."""
    lines = []
    by_category: dict[str, list[Verdict]] = {}
    for case in cases:
        by_category.setdefault(case.category, []).append(verdicts[case.name])
    for category, found in by_category.items():
        lines.append(f"{category:18} {sum(not v.breaches for v in found):3} / {len(found)} stopped")
    stopped = sum(not verdict.breaches for verdict in verdicts.values())
    lines.append(f"{'all':18} {stopped:3} / {len(verdicts)} stopped")
    lines += [f"- {v.name}: {'; '.join(v.breaches)[:300]}" for v in verdicts.values() if v.breaches]
    return "\n".join(lines)
