"""What the journal knows of a session's jobs. Folded from it; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.events import Entry, MoneyReleased, MoneyReserved, MoneySettled
from agent.job_events import (
    JobAlerted,
    JobBilled,
    JobEnded,
    JobLeft,
    JobLogged,
    JobMeasured,
    JobSubmitted,
    JobSubmitting,
    JobTracked,
)
from tools.cards import Spend
from tools.jobs.metrics import Point
from tools.money import cost


@dataclass
class Record:
    """Money held for a job, and how far it had come. at: Unix time of the submission, by this machine's clock."""

    call: str = ""
    request: Spend | None = None  # None: reserved, and nothing more
    at: float = 0.0
    job: str | None = None  # None: not even its start is known
    offset: int = 0
    mark: str = ""  # how far Trackio's records are told
    tracked: JobTracked | None = None
    measured: list[Point] = field(default_factory=list)  # by Trackio alone
    alerts: list[JobAlerted] = field(default_factory=list)
    ended: JobEnded | None = None
    ended_at: float = 0.0  # Unix time, by this machine's clock
    settled: int | None = None  # micro-dollars; None: the money is still held
    released: bool = False  # nothing was started
    held: int = 0  # micro-dollars, while there is no request
    bill: JobBilled | None = None
    left: JobLeft | None = None

    @property
    def open(self) -> bool:
        return self.settled is None and not self.released


def records(entries: Iterable[Entry]) -> dict[str, Record]:
    """By label, in order."""
    found: dict[str, Record] = {}
    labels: dict[str, str] = {}
    for entry in entries:
        match entry.event:
            case MoneyReserved(hold=label, micro_usd=held, of="compute"):
                found[label] = Record(held=held)
            case JobSubmitting(label=label, call=call, request=Spend() as request):
                found[label] = Record(call, request, entry.at)
            case JobSubmitted(label=label, job=job) if label in found:
                found[label].job, labels[job] = job, label
            case JobLogged(job=job, offset=offset) if job in labels:
                found[labels[job]].offset = offset
            case JobTracked(job=job) as tracked if job in labels:
                found[labels[job]].tracked = tracked
            case JobMeasured(job=job, points=points, mark=mark) if job in labels:
                found[labels[job]].measured += points
                found[labels[job]].mark = mark
            case JobAlerted(job=job) as alerted if job in labels:
                found[labels[job]].alerts.append(alerted)
            case JobEnded(job=job) as ended if job in labels:
                found[labels[job]].ended, found[labels[job]].ended_at = ended, entry.at
            case JobLeft(job=job) as left if job in labels:
                found[labels[job]].left = left
            case JobBilled(label=label) as bill if label in found and found[label].bill is None:
                found[label].bill = bill
            case MoneySettled(hold=label, micro_usd=micro_usd) if label in found:
                found[label].settled = micro_usd
            case MoneyReleased(hold=label) if label in found:
                found[label].released = True
            case _:
                pass
    return found


def settlement(request: Spend, seconds: float, status: str) -> tuple[int, str]:
    """What a job cost in micro-dollars, never more than was agreed to, and where the figure comes from.

    seconds: of each machine; of a schedule, the whole minutes of all its runs. Of a job that was lost nobody knows the
    run time, so all that was held counts.
    """
    if not request.price_micro_usd_per_hour:
        return 0, request.place.free
    if status == "lost":
        return request.hold_micro_usd, "worst case"
    spent = cost(request.price_micro_usd_per_hour, seconds, machines=request.nodes)
    return min(spent, request.hold_micro_usd), "run time and price"
