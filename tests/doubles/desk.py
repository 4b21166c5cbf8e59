"""A Desk for tests: it records what a tool shows, says and asks, and answers as told."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tools.cards import Answer, Card, Demand, Request, Spend
from tools.desk import Contract, Desk, Grants
from tools.hub.hub import HubReader
from tools.jobs.place import JobsView
from tools.web import Web


class Untouched:
    """Stands where a tool is not expected to reach."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"This test gave the desk no {self._what}, and the tool asked it for {name!r}.")


@dataclass(frozen=True)
class RecordingDesk(Desk):
    """A Desk that remembers. The lists grow in the order of the calls."""

    cards: list[Card] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)


def desk(
    hub: HubReader | None = None,
    *,
    web: Web | None = None,
    folder: Path | None = None,
    answer: Literal["yes", "no"] | Answer = "yes",
    sign: Callable[[Spend], Contract] | None = None,
    grants: Grants | None = None,
    pin: Callable[[Demand], None] | None = None,
    stop: threading.Event | None = None,
    jobs: JobsView | None = None,
) -> RecordingDesk:
    """A desk whose user gives the same answer to everything.

    folder: the session's folder; without one, a fresh empty folder that nobody cleans up but the system.
    answer: "yes", "no", or an Answer with text or edits; edits are applied to the request.
    sign: short for the grant that a yes to a Spend gives.
    """
    said = Answer(verdict=answer) if isinstance(answer, str) else answer
    cards: list[Card] = []
    lines: list[str] = []
    asked: list[Request] = []

    def judge(request: Request) -> tuple[Answer, Request]:
        asked.append(request)
        return said, type(request).model_validate({**request.model_dump(), **said.edits})

    return RecordingDesk(
        call="call-1",
        hub=hub or Untouched("Hub"),
        web=web or Untouched("web"),  # type: ignore[arg-type]  # stands for a Web that must not be used
        folder=folder or Path(tempfile.mkdtemp(prefix="desk-")),
        show=cards.append,
        say=lines.append,
        judge=judge,
        grants={**(grants or {}), **({"spend": sign} if sign else {})},
        pin=pin,
        stop=stop or threading.Event(),
        jobs=jobs,
        cards=cards,
        said=lines,
        asked=asked,
    )
