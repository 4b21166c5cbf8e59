"""A session of 300 steps in a window of 32k tokens: what it sends, keeps and costs. `python -m bench.long`

The model is a process of its own that counts strictly, refuses what does not fit and looks for the user's demands in
every request. The agent is the real one, with all built-in tools in its prompt.
"""

from __future__ import annotations

import gc
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from agent.events import Compacted, DemandsSet, Event, Guarded, StepStarted, UserSaid
from agent.journal import Header, Journal
from agent.journal_writer import JournalWriter
from agent.loop.coder import Coder
from agent.loop.memory import Memory
from agent.loop.toolbox import DeskTool
from agent.models.router import Cancel, RouterModel
from agent.sandbox.host import Executor, ToolStub
from tests.doubles.model_server import ModelServer, Reply
from tests.doubles.windowed import Windowed
from tools import TOOLS
from tools.cards import Demand

STEPS = 300
WINDOW = 32_768
TASK = "Find out which recipe trains the best small classifier on ada/pets. Try at least fifty, and compare them."
DEMANDS = (
    Demand(about="base_model", rule="must", text="Use Qwen/Qwen3-0.6B, and nothing else, as the base."),
    Demand(about="data", rule="must_not", text="Never train on the test split of ada/pets!"),
    Demand(about="budget", rule="must", text="Spend at most $4.20 in all."),
)
EARLY, LATE = range(5, 30), range(STEPS - 25, STEPS)
WORDS = [
    "the",
    "loss",
    "of",
    "run",
    "learning",
    "rate",
    "batch",
    "warmup",
    "decay",
    "accuracy",
    "split",
    "train",
    "model",
    "tokens",
    "steps",
    "seed",
    "norm",
]


def step(number: int) -> Reply:
    """What an agent writes: a thought, ten lines of code, and some lines of output; each 25th prints far too much."""
    if number == STEPS:
        return Reply("That is all.\n<code>\nfinal_answer('Recipe 7 is best.')\n</code>")
    chance = random.Random(number)
    thought = f"Recipe {number}: " + " ".join(chance.choices(WORDS, k=25)) + "."
    lines = 900 if number % 25 == 0 else chance.randrange(8, 40)
    code = [f"rate = {chance.random() / 1000:.6f}", f"batch = {chance.choice((8, 16, 32))}", "seen = []"]
    code += [f"for n in range({lines}):", f"    loss = {chance.random():.4f} / (n + 1)", "    seen.append(loss)"]
    code += [f"    print(f'recipe {number} step {{n}} lr {{rate}} loss {{loss:.4f}} batch {{batch}}')"]
    return Reply(f"{thought}\n<code>\n" + "\n".join(code) + "\n</code>")


def summary(number: int) -> Reply:
    chance = random.Random(number)
    return Reply(
        f"Summary {number}. " + " ".join(chance.choices(WORDS, k=600)) + f" Recipe {number * 17} leads so far."
    )


def serve() -> None:
    """The model, in a process of its own; tells what it saw when its input ends."""
    model = Windowed(WINDOW, step, summary, [d.text for d in DEMANDS] + [TASK])
    with ModelServer(model) as server:
        server.requests = server.requests.__class__(maxlen=1)
        print(server.base_url, flush=True)
        sys.stdin.read()
    facts = ("steps", "summaries", "refused", "lacking", "most", "seconds")
    print(json.dumps({name: getattr(model, name) for name in facts} | {"sent": sum(model.sizes)}), flush=True)


@contextmanager
def serving(told: dict[str, Any]) -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-m", "bench.long", "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            with suppress(ValueError):
                told.update(json.loads(process.stdout.readline()))


class Meter:
    """Wall and CPU seconds of this process, and its resident memory, at the start of each step."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.resident: list[int] = []
        self.compacted: set[int] = set()  # steps with a compaction before them
        self.events: list[Event] = []
        self._process = psutil.Process()

    def take(self, event: Event) -> None:
        if isinstance(event, StepStarted):
            self.wall.append(time.monotonic())
            self.cpu.append(time.process_time())
            self.resident.append(self._process.memory_info().rss)
        elif isinstance(event, Compacted):
            self.compacted.add(len(self.wall))
            self.events.append(event)
        elif isinstance(event, Guarded):
            self.events.append(event)

    def per_step(self, points: list[float], steps: range, other: Sequence[float] = ()) -> float:
        """Median milliseconds of those steps, without those that were followed by a compaction.

        other: seconds of each step that were not ours.
        """
        spans = [points[n] - points[n - 1] - (other[n - 1] if other else 0.0) for n in steps if n not in self.compacted]
        return statistics.median(spans) * 1000


def work(folder: Path, base_url: str, meter: Meter) -> str:
    (folder / "work").mkdir()
    journal = Journal(folder / "s.jsonl", Header(session="session", owner="local", created=0.0))
    writer = JournalWriter(journal)

    def emit(event: Event) -> None:
        meter.take(event)
        writer.emit(event)

    stubs = [ToolStub(tool.__name__) for tool in TOOLS]
    with Executor(folder, lambda call: None, stubs, on_output=lambda text: None) as executor:
        emit(UserSaid(run="r1", text=TASK))
        emit(DemandsSet(demands=DEMANDS, by="user"))
        coder = Coder(
            RouterModel("scripted", base_url, window=WINDOW),
            [DeskTool(tool) for tool in TOOLS],
            executor,
            call_tool=lambda name, arguments: None,
            emit=emit,
            memory=Memory(journal.entries),
            work=folder / "work",
            run="r1",
            cancel=Cancel(),
            steps_before=0,
            max_steps=STEPS + 1,
        )
        answer = coder.run_to_end()
    writer.flush()
    journal.close()
    return answer


def main() -> None:
    told: dict[str, Any] = {}
    meter = Meter()
    with tempfile.TemporaryDirectory() as folder, serving(told) as base_url:
        gc.collect()
        answer = work(Path(folder), base_url, meter)
    rss = [size / 1e6 for size in meter.resident]
    growth = [(later - sooner) for sooner, later in ((rss[99 + n], rss[min(199 + n, len(rss) - 1)]) for n in (0, 100))]
    compactions = [event for event in meter.events if isinstance(event, Compacted)]
    wall = [meter.per_step(meter.wall, steps, told["seconds"]) for steps in (EARLY, LATE)]
    rows = [
        ("steps", told["steps"], f"{STEPS}"),
        ("answer", answer, "Recipe 7 is best."),
        ("requests refused as too long", told["refused"], "0"),
        ("longest request, tokens by the strict count", told["most"], f"<= {WINDOW}"),
        ("compactions", told["summaries"], f"< {STEPS // 15}"),
        (
            "highest after a compaction, share of the window",
            max(e.tokens_after for e in compactions) / WINDOW,
            "<= 0.4",
        ),
        ("requests without all demands and the task verbatim", told["lacking"], "0"),
        ("resident memory, steps 100 to 200, MB", growth[0], "<= 5"),
        ("resident memory, steps 200 to 300, MB", growth[1], "<= 5"),
        ("resident memory, steps 2 to 100, MB", rss[99] - rss[1], "<= 5"),
        ("resident memory, the first step, MB", rss[1] - rss[0], ""),
        ("wall per step at 10 without the model, ms", wall[0], ""),
        ("wall per step at 300 without the model, ms", wall[1], ""),
        ("wall, 300 against 10", wall[1] / wall[0], "<= 1.5"),
        ("CPU per step at 10, ms", meter.per_step(meter.cpu, EARLY), ""),
        ("CPU per step at 300, ms", meter.per_step(meter.cpu, LATE), ""),
        ("CPU, 300 against 10", meter.per_step(meter.cpu, LATE) / meter.per_step(meter.cpu, EARLY), "<= 1.5"),
        ("tokens sent in all, by the strict count", told["sent"], ""),
        ("seconds in all", meter.wall[-1] - meter.wall[0], ""),
        ("threads at the end", threading.active_count(), ""),
    ]
    for name, value, bar in rows:
        shown = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
        print(f"{name:55} {shown:>18}   {bar}")


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
