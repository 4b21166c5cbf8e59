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

from tests import ROOT
from tests.sandbox.keeper import Verdict

_SECONDS = 60.0  # to set up and take down a place, and for what follows each case
_AT_ONCE = 2


class Impossible(Exception):
    """No such place can be made here."""


@dataclass(frozen=True)
class Case:
    """An attack: steps of one session with placeholders such as @APP_PID@, judged after the last one."""

    name: str
    category: str
    steps: tuple[str, ...]
    must_not: str
    wall: float = 2.0  # limit of each step
    recovers: bool = False  # enough if a later step works: the code has harmed its own session only


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
    """Many cases one after the other against one app, each in a session of its own: quicker. Raises Impossible."""

    def part(cases: Sequence[Case]) -> dict[str, Verdict]:
        verdicts: dict[str, Verdict] = {}
        while left := [case for case in cases if case.name not in verdicts]:
            verdicts |= {verdict.name: verdict for verdict in _place(left, level, python)}
        return verdicts

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        parts = pool.map(part, [cases[n::_AT_ONCE] for n in range(_AT_ONCE)])
        return {name: verdict for verdicts in parts for name, verdict in verdicts.items()}


def work(cases: Sequence[Honest], level: str, python: str = sys.executable) -> dict[str, list[str]]:
    """Each honest session in one app; what differs from what it must give, by name. Raises Impossible."""
    order = {"level": level, "cases": [{"name": c.name, "steps": c.steps, "expected": True} for c in cases]}
    found = {
        line["name"]: line["answers"] for line in _keeper(order, python, _SECONDS + 5 * len(cases)) if "name" in line
    }
    return {case.name: differences(case, found[case.name]) for case in cases}


def differences(case: Honest, answers: Sequence[dict[str, Any]]) -> list[str]:
    """Where the answers are not to the character what they must be. Of an error, its last line must be as given."""
    found = []
    for number, (wanted, answer) in enumerate(zip(case.expected, answers, strict=True), 1):
        error = str(answer["error"]).strip()
        if wanted["err"] and wanted["err"] in error.rpartition("\n")[2]:
            error = wanted["err"]
        given = {
            "out": answer["output"],
            "value": answer["value"] or None,
            "err": error or None,
            "final": answer["final"],
        }
        found += [
            f"step {number}: {key} {given[key]!r}, not {wanted[key]!r}" for key in given if given[key] != wanted[key]
        ]
    return found


def inside(module: str, argument: object, seconds: float, python: str = sys.executable) -> list[dict[str, Any]]:
    """What a module of ours prints when it runs as the app in a place of its own. Raises Impossible."""
    return _keeper({"module": module, "argument": argument}, python, seconds)


def _place(cases: Sequence[Case], level: str, python: str) -> list[Verdict]:
    """The verdicts up to the first with a breach: what comes after one proves nothing."""
    listed = [{"name": case.name, "steps": case.steps, "wall": case.wall, "recovers": case.recovers} for case in cases]
    verdicts, left = [], ["the keeper ended early"]
    seconds = _SECONDS + sum((case.wall + 20) * len(case.steps) for case in cases)
    try:
        lines = _keeper({"level": level, "cases": listed}, python, seconds)
    except (RuntimeError, subprocess.TimeoutExpired) as error:  # as bad as a breach, and the others go on
        return [Verdict(cases[0].name, [f"no verdict: {error}"], False, "", "", 0.0, judged=False)]
    for line in lines:
        if "left" in line:
            left = line["left"]
        else:
            verdicts.append(Verdict(**line))
    if not verdicts[-1].breaches:
        verdicts[-1].breaches.extend(left)
    return verdicts


def _keeper(order: dict[str, Any], python: str, seconds: float) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.sandbox.keeper"],
        input=json.dumps(order | {"python": python}),
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    lines = [dict(json.loads(line)) for line in done.stdout.splitlines()]
    for line in lines:
        if "impossible" in line:
            raise Impossible(line["impossible"])
        if "failed" in line:
            raise RuntimeError(line["failed"])
    if done.stderr or not lines:
        raise RuntimeError(f"the keeper failed: {done.stderr[-2000:]}")
    return lines


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
