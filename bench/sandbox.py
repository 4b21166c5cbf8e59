"""`python -m bench.sandbox [--quick]`: our sandbox beside smolagents' LocalPythonExecutor, in one run.

Prints a table, then one last line of JSON with all figures. Times are wall-clock milliseconds unless they say CPU.
The bars are for an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.sandbox import forks, levels
from agent.sandbox.host import Executor, ToolCall, ToolStub
from agent.sandbox.levels import Level
from tests.sandbox import harness
from tools.problem import Stopped

PAUSE = 0.3  # seconds between two session starts: people do not come closer, and a worker is forked ahead in it
LOOP = "total = 0\nfor i in range({n}):\n    total += i * i % 7\n"
TIMED_LOOP = "import time\nstarted = time.process_time()\n" + LOOP + "print(time.process_time() - started)\n"
EIGHT = "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(8) as pool:\n    list(pool.map(slow, range(8)))"
CALLS = (
    "import time\ntaken = []\nfor n in range({n}):\n    started = time.perf_counter()\n    add(1, 2)\n"
    "    taken.append(time.perf_counter() - started)\nprint(sorted(taken)[len(taken) // 2] * 1000)"
)
STOPS = {
    "while True: pass": "while True: pass",
    "time.sleep(60)": "import time\ntime.sleep(60)",
    "a slow tool": "slow(1, 60)",
    "a regular expression": "import re\nre.match(r'(a+)+$', 'a' * 50 + 'b')",
    "7 ** 10 ** 9": "x = 7 ** (10 ** 9)",
    "swallows every exception": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "SIGINT ignored": "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(600)",
    "a large matrix product": "import numpy\na = numpy.ones((6000, 6000))\nb = a @ a",
}


@dataclass(frozen=True)
class Bar:
    """A figure, what it may be at most, and the same of LocalPythonExecutor."""

    name: str
    unit: str
    ours: float | None
    most: float | None = None
    theirs: float | None = None

    def row(self) -> str:
        bar = ""
        if self.most is not None and self.ours is not None:
            bar = f"{'ok' if self.ours <= self.most else 'OVER'} ≤ {self.most:g}"
        return f"{self.name:36} {_short(self.ours):>8} {self.unit:3} {bar:12} {_short(self.theirs):>8}"


def _short(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.3g}" if figure < 1000 else f"{figure:.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.sandbox", description="Measure the sandbox.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; the bars are not judged by it")
    options = parser.parse_args()
    level: Level = "full" if levels.kernel()["landlock_abi"] else "brokered"
    forks.zygote().start()
    bars = list(_measure(level, options.quick))
    print(f"{'level ' + level:36} {'ours':>8} {'':3} {'bar':12} {'LocalPythonExecutor':>8}")
    for bar in bars:
        print(bar.row())
    print(json.dumps({"level": level, "figures": {bar.name: bar.__dict__ for bar in bars}}))
    return 0


def _measure(level: Level, quick: bool) -> Iterator[Bar]:
    rounds = 5 if quick else 30
    with tempfile.TemporaryDirectory(prefix="bench-sandbox-") as name:
        folder = Path(name)
        yield Bar(
            "session start p50",
            "ms",
            statistics.median(_start(folder / f"start{n}", level, PAUSE) for n in range(rounds)),
            15,
            statistics.median(_timed(lambda: _local()("x = 1")) for _ in range(rounds)),
        )
        at_once = statistics.median(_start(folder / f"at once{n}", level, 0) for n in range(rounds))
        yield Bar("one right after another's", "ms", at_once)
        with _session(folder / "steps", level) as ours:
            yield from _steps(ours, _local(), rounds)
        yield _loop(folder / "loop", level, 3 if quick else 25)
        yield Bar("private memory per idle session", "MB", _memory(folder, level, 8), 8)
        yield from _stops(folder, level, 1 if quick else 5)
    yield from _local_timeouts()
    yield from _neighbours(level, 3.0 if quick else 12.0)


def _steps(ours: Executor, theirs: Any, rounds: int) -> Iterator[Bar]:
    def step() -> None:
        ours.run("x = 1", threading.Event())

    step()
    theirs("x = 1")
    steps = [(_timed(step), _timed(lambda: theirs("x = 1"))) for _ in range(rounds * 10)]
    yield Bar("step p50", "ms", statistics.median(a for a, _ in steps), 1, statistics.median(b for _, b in steps))
    calls = CALLS.format(n=rounds * 8)
    yield Bar("tool call p50", "ms", _printed(ours, calls), 0.4, float(theirs(calls).logs))
    eight = [_timed(lambda: ours.run(EIGHT, threading.Event())) for _ in range(5)]
    yield Bar("8 tools of 100 ms at once", "ms", statistics.median(eight), 150, _timed(lambda: theirs(EIGHT)))


def _loop(folder: Path, level: Level, rounds: int) -> Bar:
    """CPU time of a pure-Python loop here and in plain CPython, in turns; theirs is of a thirtieth of it.

    The least of some rounds: whatever else the machine does makes a loop slower and never faster.
    """
    code = TIMED_LOOP.format(n=3_000_000)
    ours, plain = [], []
    with _session(folder, level) as session:
        for _ in range(rounds):
            ours.append(_printed(session, code))
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            plain.append(float(done.stdout))
    local = _local()
    started = time.process_time()
    local(LOOP.format(n=100_000))
    theirs = (time.process_time() - started) * 30
    native = min(plain)
    return Bar("pure-Python loop over CPython", "x", min(ours) / native, 1.1, theirs / native)


def _memory(folder: Path, level: Level, sessions: int) -> float:
    """Megabytes that one more idle session takes for itself: the median of some."""
    opened = [Executor(folder / f"idle{n}", _tool, STUBS, on_output=_ignore, level=level) for n in range(sessions)]
    try:
        for session in opened:
            session.run("x = 1", threading.Event())
        return statistics.median(_private(session.pid) for session in opened)
    finally:
        for session in opened:
            session.close()


def _private(pid: int | None) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kilobytes) for kilobytes in re.findall(r"Private_\w+:\s+(\d+) kB", text)) / 1024


def _stops(folder: Path, level: Level, rounds: int) -> Iterator[Bar]:
    """From Stop to its return, the longest of some rounds; whether the variables were kept is in the name."""
    for number, (name, code) in enumerate(STOPS.items()):
        taken = []
        with _session(folder / f"stop{number}", level) as session:
            session.run("kept = 41", threading.Event())
            for _ in range(rounds):
                taken.append(_stopped(session, code))
            kept = session.run("kept + 1", threading.Event()).value == "42"
        yield Bar(f"stop: {name}" + ("" if kept else " (LOST)"), "ms", max(taken), 1000)


def _stopped(session: Executor, code: str) -> float:
    stop, asked = threading.Event(), []

    def press() -> None:
        asked.append(time.perf_counter())
        stop.set()

    timer = threading.Timer(0.3, press)
    timer.start()
    try:
        session.run(code, stop)
    except Stopped:
        return (time.perf_counter() - asked[0]) * 1000
    finally:
        timer.cancel()
    raise RuntimeError(f"the step ended before it was stopped: {code!r}")


def _local_timeouts() -> Iterator[Bar]:
    """How much later than its limit of one second LocalPythonExecutor gives up."""
    from smolagents.local_python_executor import LocalPythonExecutor

    for name, code in {"time.sleep(4)": "import time\ntime.sleep(4)", "while True: pass": "while True: pass"}.items():
        local = LocalPythonExecutor(["time"], timeout_seconds=1)
        local.send_tools({})

        def run(local: Any = local, code: str = code) -> None:
            try:
                local(code)
            except Exception:
                return

        yield Bar(f"theirs, limit 1 s: {name}", "ms", None, None, _timed(run) - 1000)


def _neighbours(level: Level, seconds: float) -> Iterator[Bar]:
    argument = {"level": level, "python": sys.executable, "seconds": seconds}
    try:
        [found] = harness.inside("tests.sandbox.neighbours", argument, seconds=seconds + 120)
    except harness.Impossible as reason:
        print(f"neighbours were not measured: {reason}", file=sys.stderr)
        return
    for name in ("idle_p50_ms", "busy_p50_ms", "idle_p95_ms", "busy_p95_ms", "busy_max_ms"):
        yield Bar(f"neighbours: {name[:-3]}", "ms", found[name])
    yield Bar("neighbours: busy over idle p50", "x", found["busy_p50_ms"] / found["idle_p50_ms"], 5)


# --- the two executors ----------------------------------------------------------------------------

STUBS = (ToolStub("add", "(a: int, b: int = 1) -> int"), ToolStub("slow", "(i: int, seconds: float = 0.1) -> int"))


def _tool(call: ToolCall) -> object:
    tools: dict[str, Callable[..., object]] = {"add": _add, "slow": _slow}
    return tools[call.name](*call.args)


def _add(a: int, b: int = 1) -> int:
    return a + b


def _slow(i: int, seconds: float = 0.1) -> int:
    time.sleep(seconds)
    return i


def _ignore(_text: str) -> None:
    """What is printed is in the result."""


@contextmanager
def _session(folder: Path, level: Level) -> Iterator[Executor]:
    with Executor(folder, _tool, STUBS, on_output=_ignore, level=level) as session:
        yield session


def _start(folder: Path, level: Level, pause: float) -> float:
    """From nothing to the end of the first step. pause: seconds since the start before."""
    time.sleep(pause)
    started = time.perf_counter()
    with _session(folder, level) as session:
        session.run("x = 1", threading.Event())
        return (time.perf_counter() - started) * 1000


def _local() -> Any:
    from smolagents.local_python_executor import LocalPythonExecutor

    local = LocalPythonExecutor(["time", "concurrent.futures"])
    local.send_tools({"add": _add, "slow": _slow})  # plain functions do as tools
    return local


def _printed(session: Executor, code: str) -> float:
    result = session.run(code, threading.Event())
    if result.error:
        raise RuntimeError(result.error)
    return float(result.output)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    sys.exit(main())
