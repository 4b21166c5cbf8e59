"""A Coder at work without a session: a real journal, a real child, the scripted model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from agent.events import Entry, Event, UserSaid
from agent.journal import Header, Journal
from agent.journal_writer import JournalWriter
from agent.loop.coder import Coder
from agent.loop.memory import Memory
from agent.loop.toolbox import Toolbox
from agent.loop.window import Window
from agent.models.router import Cancel, RouterModel
from agent.sandbox.host import Executor, ToolStub
from tests.doubles.model_server import ModelServer, Reply, Script
from tools.cards import Demand
from tools.desk import Desk
from tools.plan import plan
from tools.problem import Problem

DEMANDS = (
    Demand(about="base_model", rule="must", text="Use Qwen/Qwen3-0.6B and „nothing else“ as the base."),
    Demand(about="data", rule="must_not", text="Never train on the test split of ada/pets!"),
)
HELD = [demand.text for demand in DEMANDS]

E = TypeVar("E")


@dataclass
class Work:
    """One conversation with its journal."""

    journal: Journal
    server: ModelServer
    folder: Path
    memory: Memory
    executor: Executor
    emit: Callable[[Event], None]
    window: int | None
    known: Window = field(default_factory=Window)
    runs: int = 0

    def run(self, text: str, *more: Event, max_steps: int = 400) -> str:
        """One message to its answer. more: events that come with it."""
        past = self.memory.catch_up()
        self.runs += 1
        for event in (UserSaid(run=f"r{self.runs}", text=text), *more):
            self.emit(event)
        toolbox = Toolbox([plan], self.emit, self._desk)
        coder = Coder(
            RouterModel("scripted", self.server.base_url, attempts=1, window=self.window),
            list(toolbox.tools.values()),
            self.executor,
            call_tool=lambda name, arguments: toolbox.call(name, (), arguments, by="agent"),
            emit=self.emit,
            memory=self.memory,
            work=self.folder / "work",
            run=f"r{self.runs}",
            cancel=Cancel(),
            steps_before=past.last_step,
            max_steps=max_steps,
            window=self.known,
        )
        return coder.run_to_end()

    def events(self, kind: type[E]) -> list[E]:
        return [entry.event for entry in self.journal.entries() if isinstance(entry.event, kind)]

    def entries(self) -> list[Entry]:
        return list(self.journal.entries())

    def _desk(self, call: str) -> Desk:
        raise Problem("no tool is called here")


@contextmanager
def working(
    folder: Path, script: Script | Sequence[Reply], *, window: int | None = None, told: Callable[[Event], Any] = id
) -> Iterator[Work]:
    """told: called with every event, before it is written."""
    with ModelServer(script) as server:
        (folder / "work").mkdir(parents=True, exist_ok=True)
        journal = Journal(folder / "s.jsonl", Header(session="session", owner="local", created=0.0))
        writer = JournalWriter(journal)

        def emit(event: Event) -> None:
            told(event)
            writer.emit(event)

        def nothing(_: object) -> Any:
            raise Problem("no tool is called here")

        executor = Executor(folder, nothing, [ToolStub("plan")], on_output=lambda _: None)
        try:
            yield Work(journal, server, folder, Memory(journal.entries), executor, emit, window)
        finally:
            executor.close()
            writer.flush()
            journal.close()
