"""What happens to jobs: a part of the union in agent.events, which imports this and is not imported here."""

from __future__ import annotations

from typing import Literal

from tools.cards import OutputFile, Request, Value


class JobSubmitting(Value):
    """About to be submitted under this label. A second submit with the label finds the first."""

    kind: Literal["job_submitting"] = "job_submitting"
    label: str
    call: str
    request: Request


class JobSubmitted(Value):
    kind: Literal["job_submitted"] = "job_submitted"
    label: str
    job: str
    call: str
    where: str
    title: str
    url: str = ""


class JobLogged(Value):
    """Lines of the job's log, in order, each once. points: measurements found in them."""

    kind: Literal["job_logged"] = "job_logged"
    job: str
    offset: int  # bytes of the log that are told with this
    text: str
    points: tuple[dict[str, float | None], ...] = ()  # {"step": 10, "loss": 0.5}; None: printed, and no finite number
    # Runs of lines that say little: (first line, lines, sort). Line 0 is what text goes on with; a line that text does
    # not end is marked when it has ended.
    noise: tuple[tuple[int, int, str], ...] = ()


EndStatus = Literal["completed", "failed", "cancelled", "timeout", "lost"]


class JobEnded(Value):
    kind: Literal["job_ended"] = "job_ended"
    job: str
    status: EndStatus
    message: str = ""  # one sentence
    exit_code: int | None = None
    seconds: float
    files: tuple[str, ...] = ()  # what it left, relative to the session's folder


class JobTracked(Value):
    """Where people can look at what a job measures, or, in a sentence, why they cannot. The newest of a job counts."""

    kind: Literal["job_tracked"] = "job_tracked"
    job: str
    url: str = ""
    note: str = ""


class JobMeasured(Value):
    """Measurements that a job told Trackio and did not print, as JobLogged has them; each once."""

    kind: Literal["job_measured"] = "job_measured"
    job: str
    points: tuple[dict[str, float | None], ...]
    mark: str  # how far its records are told with this


class JobAlerted(Value):
    """The script raised an alert, by trackio.alert; once, however often and wherever it was seen."""

    kind: Literal["job_alerted"] = "job_alerted"
    job: str
    level: Literal["info", "warn", "error"]
    text: str
    step: int | None = None
    source: Literal["log", "trackio"] = "log"  # where it was seen first


class JobUsed(Value):
    """What a running job uses of its machine at the moment: cpu_percent, memory_gb, gpu_percent, gpu_memory_gb, ..."""

    kind: Literal["job_used"] = "job_used"
    job: str
    use: dict[str, float]


class JobLeft(Value):
    """What lay in an ended job's folder of its bucket. At most one per job; none if it could not be listed."""

    kind: Literal["job_left"] = "job_left"
    job: str
    url: str  # the bucket's page
    folder: str  # in the bucket, the job's own; paths of files are relative to it
    files: tuple[OutputFile, ...]  # the first 200
    rest: int = 0  # how many more were seen
    whole: bool = True  # whether all were seen


class JobBilled(Value):
    """What an ended, settled job cost by the account's bill, which counts from here on. One per job."""

    kind: Literal["job_billed"] = "job_billed"
    job: str
    label: str
    micro_usd: int | None  # None: there is no bill for it, so what was settled counts
    minutes: float | None = None  # that were billed, of all machines and runs
    message: str = ""  # why there is no bill, in a sentence


class JobForecast(Value):
    """How long the job will take and what it will cost in the end: an 80 % interval from its own steps so far."""

    kind: Literal["job_forecast"] = "job_forecast"
    job: str
    seconds_low: float  # of the whole run, from its start
    seconds_high: float
    micro_usd_low: int
    micro_usd_high: int
    words: str  # one sentence


class JobAlarm(Value):
    """A rule of the watchdog fired."""

    kind: Literal["job_alarm"] = "job_alarm"
    job: str
    rule: Literal["nan", "divergence", "no_progress", "hang", "overrun"]
    text: str  # one sentence, with the numbers
    step: float | None = None


JobEvent = (
    JobSubmitting | JobSubmitted | JobLogged | JobTracked | JobMeasured | JobAlerted | JobUsed | JobForecast | JobAlarm
    | JobEnded | JobLeft | JobBilled
)  # fmt: skip
