"""A host that talks to rogue workers, measured. Reads {"frames", "seed"} from standard input, prints one line of JSON.

Runs in a process of its own, so that a crash is an exit status and the memory is its own.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

from tests.sandbox import app, levels, rogue

WALL = 2.0
_EACH = 40  # frames of a step, at most


def main() -> None:
    order = json.loads(sys.stdin.read())
    logging.disable()  # rogue calls fail by the thousand
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        python = _interpreter(Path(folder))
        session = app.Session(Path(folder) / "session", "full", python, WALL)
        before, started = _resident("VmRSS"), time.monotonic()
        counter = stack.enter_context(ProcessPoolExecutor(1, get_context("spawn")))  # not in this memory
        steps = sent = 0
        slowest, ends = 0.0, Counter[str]()
        for seed in itertools.count(order["seed"]):
            if sent >= order["frames"]:
                break
            answer = session.run(json.dumps({"seed": seed, "frames": _EACH}))
            steps += 1
            sent += counter.submit(_sent, seed).result()
            slowest = max(slowest, float(str(answer["seconds"])))
            ends[
                re.sub(r"[^a-z ]+", " ", str(answer["error"])[:100].splitlines()[0]) if answer["error"] else "ended"
            ] += 1
        session.code.close()
        levels.after_all(python)
        facts = session.facts()
        print(
            json.dumps(
                {
                    "frames": sent,
                    "steps": steps,
                    "seconds": round(time.monotonic() - started, 1),
                    "slowest": round(slowest, 2),
                    "grown_mb": (_resident("VmHWM") - before) >> 20,
                    "threads": threading.active_count(),
                    "tools": facts["calls"],
                    "asked_to_push": facts["asked_to_push"],
                    "questions": facts["questions"],
                    "pushed": facts["pushed"],
                    "most_calls": facts["most_calls"],
                    "ends": ends.most_common(12),
                }
            )
        )


def _interpreter(folder: Path) -> str:
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -I -B {rogue.__file__} "$@"\n')
    path.chmod(0o755)
    return str(path)


def _sent(seed: int) -> int:
    """How many frames the worker sends that the host reads: up to the first that is sure to end it, and the end."""
    for number, (_, fatal) in enumerate(rogue.frames(seed, _EACH), 1):
        if fatal:
            return number
    return _EACH + 1


def _resident(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) << 10


if __name__ == "__main__":
    main()
