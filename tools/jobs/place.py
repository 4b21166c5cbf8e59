"""Where a job runs, as the rest of the app sees it: five verbs and one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from tools.cards import Spend

JobStatus = Literal["running", "completed", "failed", "cancelled", "timeout", "lost"]


@dataclass(frozen=True)
class JobState:
    """How a job stands. seconds: run time so far, or in all; files: what it left, relative to the session's folder.

    lost: it is not running and left no word of its end; its log may say more.
    """

    status: JobStatus
    exit_code: int | None = None  # only of a script that ended by itself
    seconds: float = 0.0
    message: str = ""  # one sentence; empty while running and when completed
    files: tuple[str, ...] = ()


class JobPlace(Protocol):
    """Runs jobs that outlive the process that started them. All methods may be called from any thread."""

    def start(self, label: str, spec: Spend) -> str:
        """Start a job and return its id. A label starts at most one job, ever: asked again, the first one's id.

        Raises Problem when nothing was started.
        """
        ...

    def find(self, label: str) -> str | None:
        """The job that was started under this label; None: none was, and none is about to be."""
        ...

    def read(self, job: str, offset: int) -> tuple[str, int]:
        """A bounded piece of the log from this byte on, and the byte where the next piece begins.

        The same offset again means that nothing more is there yet.
        """
        ...

    def state(self, job: str) -> JobState: ...

    def cancel(self, job: str) -> None:
        """End the job and all it started; return when it has ended, at once when it had before.

        Raises Problem when something could not be ended, and names it.
        """
        ...
