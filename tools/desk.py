"""The Desk: all that a tool may touch. A tool gets one, bound to its call, and nothing else.

Three ways a tool ends early: Problem (wrong value: the model reads it and goes on), Refused (the user said no: the
model reads that too), Stopped (the user pressed Stop: nothing goes on).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, overload

from tools.cards import Answer, Card, Delete, Demand, OutputFile, Question, Request, Spend
from tools.problem import Problem, Refused, Stopped

if TYPE_CHECKING:
    from tools.hub.hub import HubReader, HubWriter
    from tools.jobs.place import JobsView
    from tools.web import Web


@dataclass(frozen=True)
class JobEnd:
    """How a job ended. seconds of run time; log: its last lines; files relative to the session's folder."""

    job: str
    status: str
    exit_code: int | None
    seconds: float
    log: str
    files: tuple[str, ...]
    message: str = ""
    outputs: str = ""  # where else it left something: a bucket's folder
    left: tuple[OutputFile, ...] = ()  # the files there, as far as they are listed


class Contract(Protocol):
    """Consent to one Spend, and the power to do it once."""

    @property
    def request(self) -> Spend: ...  # as agreed, edits included

    def submit(self) -> str:
        """Start the job, once; return its id. A second call returns the same id."""
        ...

    def wait(self) -> JobEnd:
        """Block until the job has ended. Raises Stopped; a stopped run's jobs are cancelled by the session."""
        ...


class Grants(TypedDict, total=False):
    """Kind of request → what makes the object that a yes gives. What is left out cannot be done here.

    Each row has its overload of Desk.approve, so that a power without a yes is a type error.
    """

    spend: Callable[[Spend], Contract]
    delete: Callable[[Delete], HubWriter]


@dataclass(frozen=True)
class Desk:
    """One call's view of the world. Made by the agent for each call; tests make their own."""

    call: str
    hub: HubReader
    web: Web
    folder: Path  # the session's own folder; uploads/ lies in it
    show: Callable[[Card], None]
    say: Callable[[str], None]
    judge: Callable[[Request], tuple[Answer, Request]]
    grants: Grants = field(default_factory=Grants)
    pin: Callable[[Demand], None] | None = None  # keeps what the user demanded; None: nothing can be pinned here
    jobs: JobsView | None = None  # this session's; None: no place to run any
    stop: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise Stopped if the user pressed Stop. Long work calls it often."""
        if self.stop.is_set():
            raise Stopped

    def sleep(self, seconds: float) -> None:
        """Wait, at most so long; raises Stopped at once when the user presses Stop."""
        if self.stop.wait(seconds):
            raise Stopped

    @overload
    def approve(self, request: Spend) -> Contract: ...
    @overload
    def approve(self, request: Delete) -> HubWriter: ...

    def approve(self, request: Spend | Delete) -> object:
        """Get the user's consent; what is returned can do what was agreed, and nothing else can.

        Raises Refused when the answer is no, Problem when there is nothing that could do it here.
        """
        grant: Callable[[Any], object] | None = self.grants.get(request.kind)
        if grant is None:
            raise Problem(f"This app has no place for a {request.kind} request.", "Do it another way.")
        answer, agreed = self.judge(request)
        if answer.verdict == "no":
            raise Refused(
                "The user said no" + (f": {answer.reason}" if answer.reason else "."), "Do not ask for the same again."
            )
        return grant(agreed)  # judge returns the kind it was given

    def ask(self, question: Question) -> str:
        """Ask the user; returns the answer's text. Raises Refused when the user declines to answer."""
        answer, _ = self.judge(question)
        if answer.verdict == "no":
            raise Refused(
                "The user did not answer" + (f": {answer.reason}" if answer.reason else "."),
                "Go on with your best judgement.",
            )
        return answer.text


def view_of(desk: Desk) -> JobsView:
    """The desk's jobs. Raises Problem where there are none."""
    if desk.jobs is None:
        raise Problem("This app runs no jobs.", "Do it another way.")
    return desk.jobs
