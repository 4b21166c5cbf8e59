"""A process that pays for one job, with its journal on the disk, so that a test can kill it at any moment.

python -m tests.agent.killable FOLDER HUB_URL start|resume: prints "settled" when nothing is open any more.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from agent.events import Event
from agent.journal import Header, Journal
from tests.doubles.jobs import Places, until

SETTLES = 1.0  # seconds in which a submission that reached the Hub shows in its list


class OnDisk(Places):
    def __init__(self, url: str, folder: Path, journal: Journal) -> None:
        self.journal = journal
        hub: Any = SimpleNamespace(url=url)
        super().__init__(hub, folder, list(journal.entries()), settles=SETTLES)

    def _write(self, event: Event) -> None:
        self.journal.append(event)


def main() -> None:
    folder, url, what = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    path = folder / "journal.jsonl"
    if what == "start":
        at = OnDisk(url, folder, Journal(path, Header(session="s1", owner="local", created=0.0)))
        at.contract().wait()
    else:
        at = OnDisk(url, folder, Journal(path))
    until(lambda: not at.jobs.open)
    print("settled")


if __name__ == "__main__":
    main()
