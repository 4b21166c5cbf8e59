"""The journal of a session that an earlier version of this app wrote; how it came about stands in README.md beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agent.events import Entry
from agent.journal import Journal

_JOURNAL = Path(__file__).parent / "before-the-house.jsonl"
LINES = _JOURNAL.read_text("utf-8").splitlines()
ID, OWNER = _JOURNAL.stem, "local"
ROUTER, HUB = "https://router.invalid/v1", "https://hub.invalid"  # where its services were


def written(data: Path, lines: Sequence[str] = LINES) -> Path:
    """A data folder with that session, or the beginning of it, as the app that wrote it left it. Returns its journal."""
    path = data / "sessions" / _JOURNAL.name
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def entries(data: Path) -> list[Entry]:
    """As today's code reads them."""
    journal = Journal(written(data))
    read = list(journal.entries())
    journal.close()
    return read
