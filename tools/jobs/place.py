"""Where a job runs, as the rest of the app sees it: five verbs and one value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from tools.cards import Foreseen, OutputFile, PlaceWords, Spend

if TYPE_CHECKING:
    from tools.hub.values import JobBill
    from tools.jobs.metrics import Alert, Point
    from tools.jobs.outputs import Outputs
    from tools.jobs.prices import Prices
    from tools.jobs.tracking import Tracker

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
    outputs: str = ""  # where else it left something, in words: a bucket's folder


class JobPlace(Protocol):
    """Runs jobs that outlive the process that started them. All methods may be called from any thread."""

    @property
    def words(self) -> PlaceWords:
        """What it is called, takes and warns of; start refuses what was agreed to for another place."""
        ...

    settles_seconds: float
    """How long after a start that was cut off the job may still appear. 0: find knows at once."""

    @property
    def measures_seconds(self) -> float:
        """How often it is worth to ask for metrics; 0: nothing is measured here."""
        ...

    def quote(self, flavor: str) -> int:
        """Micro-dollars for an hour of one such machine; 0 where nothing is paid. Raises Problem rather than guess."""
        ...

    def start(self, label: str, spec: Spend) -> str:
        """Start a job and return its id. A label starts at most one job, ever: asked again, the first one's id.

        Raises MaybeStarted when that is not known, any other Problem when nothing was started.
        """
        ...

    def find(self, label: str, spec: Spend) -> str | None:
        """The job that was started under this label; None: none was, as far as can be seen. Raises Problem."""
        ...

    def read(self, job: str, offset: int) -> tuple[str, int]:
        """A bounded piece of the log from this mark on, and the mark where the next piece begins; 0 is the start.

        The same offset again means that nothing more is there yet.
        """
        ...

    def state(self, job: str) -> JobState: ...

    def cancel(self, job: str) -> None:
        """End the job and all it started; return when it has ended, at once when it had before.

        Raises Problem when something could not be ended, and names it.
        """
        ...

    def url(self, job: str) -> str:
        """Where people can look at the job; "" when nowhere."""
        ...

    def metrics(self, job: str) -> dict[str, float]:
        """What the job uses now, with units in the names; {} when it does not run or nobody measures."""
        ...

    def tracker(self, job: str, label: str, spec: Spend) -> Tracker | None:
        """Reads what the job tells Trackio; None: it is not tracked."""
        ...

    def outputs(self, job: str, label: str, spec: Spend) -> Outputs:
        """The files that it left, or has left so far. Raises Problem when nothing is kept of such a job."""
        ...

    def bill(self, job: str) -> JobBill | None:
        """What an ended job was billed, all its machines and runs together; None while that is not known, or not whole.

        Raises NoBill when there will be none, NotAllowed when this token may read no bill, another Problem on trouble.
        """
        ...

    def close(self) -> None:
        """Stop watching; the jobs go on."""
        ...


@dataclass(frozen=True)
class JobRow:
    """A job of this session, as tools tell of it. cost: None while it is not settled. note: what is wrong with it now."""

    job: str
    title: str
    where: str
    namespace: str
    flavor: str
    status: str
    seconds: float
    message: str
    url: str
    hold_micro_usd: int
    cost_micro_usd: int | None
    note: str = ""
    dashboard: str = ""  # where its measurements can be looked at, or why they cannot
    alerts: tuple[Alert, ...] = ()  # that it raised, in order
    billed_micro_usd: int | None = None  # None: no bill tells yet
    left: tuple[OutputFile, ...] = ()  # what is listed of its bucket's folder, after its end
    runs: str = "script"  # as its place's words say
    purpose: str = "task"  # as its Spend has it


@dataclass(frozen=True)
class Ran:
    """What a command did on a machine. exit_code None: it was ended."""

    exit_code: int | None
    stdout: str
    stderr: str
    timed_out: bool
    cut: bool  # only the end was kept


class Machine(Protocol):
    """A running sandbox. Every method raises Problem in words. Paths are full, on the machine."""

    def ready(self) -> bool: ...  # whether it answers; raises MachineEnded when it never will

    def run(self, command: str, seconds: float, going: Callable[[], None]) -> Ran: ...

    def read(self, path: str) -> str: ...

    def write(self, path: str, text: str) -> None: ...

    def list(self, path: str) -> list[tuple[str, str, int]]: ...

    def fetch(self, path: str, to: Path, most: int) -> int: ...

    def connect(self) -> MachineConnection: ...  # when it is ready


class MachineConnection(Protocol):
    """Stays open, for who talks all the time with a server in the machine. Every method raises Problem in words."""

    def put(self, path: str, data: bytes) -> None: ...

    def begin(self, command: str) -> None: ...  # and let it run

    def get(self, port: int, path: str) -> AbstractContextManager[Iterator[bytes]]: ...  # the answer as it comes

    def post(self, port: int, path: str, data: bytes) -> bytes: ...

    def close(self) -> None: ...


class JobsView(Protocol):
    """The jobs of one session, for its tools. Starting one is Desk.approve's alone. Unknown ids raise Problem."""

    @property
    def places(self) -> tuple[PlaceWords, ...]: ...  # where jobs can run, the first is taken where none is named

    def quote(self, place: PlaceWords, flavor: str) -> int: ...  # as that place quotes it

    @property
    def prices(self) -> Prices | None: ...

    def payers(self) -> tuple[str, ...]: ...  # the user, then organisations; raises Problem when nobody is signed in

    def secrets(self) -> tuple[str, ...]: ...  # names of what the user keeps for jobs

    def list(self) -> list[JobRow]: ...

    def state(self, job: str) -> JobRow: ...

    def log(self, job: str) -> Iterator[str]: ...  # its lines so far

    def points(self, job: str) -> tuple[Point, ...]: ...  # measurements in them

    def metrics(self, job: str) -> dict[str, float]: ...  # what it uses now; {} when it does not run

    def wait(self, job: str, seconds: float) -> bool: ...  # whether it has ended

    def machine(self, job: str) -> Machine: ...  # a sandbox to try things in

    def foresee(self, job: str, request: Spend) -> Foreseen: ...  # what a job's pace says of a request, which has steps

    def outputs(self, job: str) -> Outputs: ...  # its files

    def cancel(self, job: str) -> None: ...  # raises Problem when it could not be ended; that is tried on
