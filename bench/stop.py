"""How long Stop takes, from the button to the event that says the run has ended."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.agent.living import code, done, ended, living
from tests.agent.situations import SITUATIONS, Situation

TIMES = 5


def measure_stops() -> dict[str, float]:
    """Milliseconds, the longest of several, by situation."""
    return {name: max(_milliseconds(situation) for _ in range(TIMES)) for name, situation in SITUATIONS.items()}


def _milliseconds(situation: Situation) -> float:
    script = [code("final_answer('ready')"), situation.reply]
    with TemporaryDirectory(prefix="ml-intern-bench-") as folder, living(Path(folder), script) as (session, server):
        done(session, "Get ready")
        run = situation.reached(session, server)
        pressed = time.monotonic()
        session.stop()
        ended(session, run)
        return (time.monotonic() - pressed) * 1000
