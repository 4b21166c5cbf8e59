"""The two corpora of snippets, where they are at hand: attacks that must be stopped, honest code that must work."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests import ROOT
from tests.sandbox.harness import Case, Honest

FOLDER = Path(os.environ.get("ML_INTERN_CORPUS") or ROOT.parent / "shared" / "sandbox-corpus")
MISSING = f"no corpus in {FOLDER}; ML_INTERN_CORPUS names another folder"


def attacks() -> list[Case]:
    return [Case(a["name"], a["category"], (a["code"],), a["must_not"], a["wall"]) for a in _load("attacks.json")]


def honest() -> list[Honest]:
    return [Honest(h["name"], tuple(h["steps"]), tuple(h["expected"])) for h in _load("honest.json")]


def _load(name: str) -> list[dict[str, Any]]:
    path = FOLDER / name
    return list(json.loads(path.read_text("utf-8"))) if path.is_file() else []
