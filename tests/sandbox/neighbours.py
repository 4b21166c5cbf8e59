"""Ten sessions of hostile code at once, and an eleventh that only wants to add two numbers. Its steps are timed.

Reads {"level", "python", "seconds"} from standard input and prints one line of JSON; runs as the app in a place.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from agent.sandbox.host import Executor, ToolCall, ToolStub
from agent.sandbox.levels import Level
from tests.sandbox import levels
from tools.problem import Stopped

HOSTILE = {
    "loops": "while True: pass",
    "spins in threads": (
        "import hashlib, threading\nb = b'x' * (32 << 20)\ndef f():\n    while True: hashlib.sha256(b).digest()\n"
        "for n in range(50): threading.Thread(target=f, daemon=True).start()\nf()"
    ),
    "takes memory": "held = []\nwhile True: held.append(bytearray(b'x' * (16 << 20)))",
    "prints": "while True: print('z' * 10_000)",
    "calls tools": "import threading\ndef f():\n    while True: add(1, 2)\nfor n in range(30): threading.Thread(target=f, daemon=True).start()\nf()",
    "fills the disk": "b = b'x' * (8 << 20)\nn = 0\nwhile True:\n    n += 1\n    with open(f'f{n}', 'wb') as f:\n        for m in range(20): f.write(b)",
    "makes files": "import os\nn = 0\nwhile True:\n    n += 1\n    os.close(os.open(f'x{n}', os.O_CREAT))",
    "matches": "import re\nre.match(r'(a+)+$', 'a' * 50 + 'b')",
    "swallows": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "sends frames": (
        'import os, struct\nb = b\'{"type":"call","id":1,"name":"add","args":[1],"kwargs":{}}\'\n'
        "d = (struct.pack('>I', len(b)) + b) * 100\nwhile True: os.write(3, d)"
    ),
}
_WALL = 5.0


def main() -> None:
    order = json.loads(sys.stdin.read())
    level, python = order["level"], order["python"]
    levels.before_login(python)
    with tempfile.TemporaryDirectory() as folder, _session(Path(folder) / "mine", level, python) as mine:
        mine.run("total = 0", threading.Event())
        idle = _times(mine, order["seconds"] / 2)
        stop = threading.Event()
        crowd = [
            threading.Thread(target=_torment, args=(_session(Path(folder) / name, level, python), code, stop))
            for name, code in HOSTILE.items()
        ]
        for thread in crowd:
            thread.start()
        time.sleep(1.0)
        busy = _times(mine, order["seconds"])
        kept = mine.run("total", threading.Event()).value
        stop.set()
        started = time.monotonic()
        for thread in crowd:
            thread.join(20)
        found = {
            "idle_p50_ms": _p(idle, 0.5),
            "idle_p95_ms": _p(idle, 0.95),
            "busy_p50_ms": _p(busy, 0.5),
            "busy_p95_ms": _p(busy, 0.95),
            "busy_max_ms": max(busy),
            "steps": len(busy),
            "right": kept == str(len(idle) + len(busy)),
            "stopped_seconds": time.monotonic() - started,
            "still_running": sum(thread.is_alive() for thread in crowd),
        }
        print(json.dumps(found), flush=True)
    levels.after_all(python)


def _session(folder: Path, level: Level, python: str) -> Executor:
    stub = ToolStub("add", "(a: int, b: int = 1) -> int")
    return Executor(
        folder,
        _add,
        [stub],
        on_output=lambda text: None,
        limits=levels.limits(level, _WALL),
        level=level,
        python=python,
    )


def _add(call: ToolCall) -> object:
    return sum(n for n in call.args if isinstance(n, int))


def _times(session: Executor, seconds: float) -> list[float]:
    """Milliseconds of each of many small steps, with a pause after each as a model makes one."""
    taken: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(taken) < 5:  # enough to compare, also on a busy machine
        started = time.perf_counter()
        result = session.run("total += 1\nsum(range(1000))", threading.Event())
        taken.append((time.perf_counter() - started) * 1000)
        assert result.value == "499500", result.error
        time.sleep(0.05)
    return taken


def _torment(session: Executor, code: str, stop: threading.Event) -> None:
    with session, contextlib.suppress(Stopped):
        while not stop.is_set():
            session.run(code, stop)


def _p(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


if __name__ == "__main__":
    main()
