"""Finished sessions of any length, written through the app's own journal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.events import (
    CodeWritten,
    Event,
    OutputPrinted,
    RunEnded,
    StepEnded,
    StepStarted,
    TextSaid,
    ToolEnded,
    ToolShowed,
    ToolStarted,
    UserSaid,
)
from agent.journal import Header, Journal
from bench.task import Task
from tools.cards import PaperRow, PapersFound

PAPERS = PapersFound(
    query="small encoders",
    source="recorded",
    papers=tuple(
        PaperRow(id=f"2412.{n:05}", title=f"Small encoders, part {n}", date="2024-12-18", authors="A. Ada")
        for n in range(5)
    ),
)


@dataclass(frozen=True)
class Recorded:
    """A session on disk. answer: its last words."""

    id: str
    steps: int
    last_seq: int
    answer: str


def record(folder: Path, steps: int) -> Recorded:
    """Write a session of the owner of this machine into a data folder that no app uses yet."""
    id = f"recorded-{steps}"
    path = folder / "sessions" / f"{id}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(path, Header(session=id, owner="local", created=time.time()))
    answer = f"All {steps} steps are done."
    for event in _run(steps, answer):
        journal.append(event)
    journal.close()
    return Recorded(id, steps, journal.last_seq, answer)


def _run(steps: int, answer: str) -> Iterator[Event]:
    yield UserSaid(run="r1", text=f"A session of {steps} steps.")
    for step in range(1, steps + 1):
        yield StepStarted(run="r1", step=step, model="scripted")
        tokens = Task("recorded", tokens=200).reply(step % 19)
        for n in range(0, len(tokens), 8):  # as many pieces as gathering makes of 200 tokens in a second
            yield TextSaid(step=step, text="".join(tokens[n : n + 8]))
        yield CodeWritten(step=step, code=tokens[-2])
        if step % 5 == 0:
            yield ToolStarted(call=f"c{step}", tool="papers_search", args={"query": "x"}, by="agent", step=step)
            yield ToolShowed(call=f"c{step}", card=PAPERS)
            yield ToolEnded(call=f"c{step}", why="done", result="[]", seconds=0.5)
        yield OutputPrinted(step=step, text=f"{step}\n")
        yield StepEnded(step=step, seconds=1.2, input_tokens=1000, output_tokens=200, observation=f"{step}")
    yield RunEnded(run="r1", why="answered", answer=answer, steps=steps, seconds=steps * 1.2)
