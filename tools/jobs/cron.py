"""When a schedule fires, as the Hub reads it: five fields of cron, or a name for them, in UTC. Pure: now comes in as data.

Readers of cron differ in what is rare: L, W and #, a day of the month together with a day of the week, a step without a
range. Such a line is not taken, because the dates that a person agrees to must be those on which it fires.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice, pairwise

from cronsim import CronSim, CronSimError

from tools.cards import Spend
from tools.problem import Problem

NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
MANY = 366  # runs
CLOSEST = 5 * 60  # seconds from one run to the next
FARTHEST = 10 * 366 * 86_400  # seconds until the last; what ends later has no end that anybody means
LATE = 60  # seconds by which a machine's clock may be behind the Hub's

_MOST = (59, 23, 31, 12, 7)
_NUMBER = r"(?:[0-9]{1,2}|[A-Z]{3})"
_RANGE = rf"(?:\*|{_NUMBER}-{_NUMBER})"
_TERM = rf"(?:{_RANGE}(?:/[0-9]{{1,2}})?|{_NUMBER})"
_FIELD = re.compile(rf"{_TERM}(?:,{_TERM}){{0,30}}")
_EXAMPLE = 'Write minute, hour, day of the month, month, day of the week, in UTC: "0 9 * * 1" is Monday at 09:00.'


def check(text: str, runs: int) -> str:
    """A schedule, spelled as it is kept. Raises Problem for one whose dates could not be told, or that has no end."""
    if not 1 <= runs <= MANY:
        raise Problem(f"A job cannot run {runs} times.", f"Give runs from 1 to {MANY}: its end.")
    if not text.strip():
        raise Problem("The schedule is empty.", _EXAMPLE)
    spelled = " ".join(text.split())
    spelled = spelled.lower() if spelled.startswith("@") else spelled.upper()
    _simulated(spelled, 0.0)
    return spelled


def planned(request: Spend, now: float) -> Spend:
    """The request with the words and the dates of its schedule, if it begins now. Raises Problem for dates too far or too near."""
    schedule, runs = request.schedule, request.runs
    if not schedule:
        return request
    dates = fires(schedule, runs, now)
    if dates[-1] - now > FARTHEST:
        year = datetime.fromtimestamp(dates[-1], UTC).year
        raise Problem(f"Run {runs} of {schedule!r} would be in {year}.", "Give fewer runs.")
    gap = min((later - earlier for earlier, later in pairwise(dates)), default=request.timeout_seconds)
    if request.timeout_seconds > gap:
        raise Problem(
            f"A run may take {request.timeout_seconds / 60:.0f} min, and the next is due after {gap // 60} min already.",
            "Give a shorter timeout, or let it run less often: the Hub leaves out what is due while one runs.",
        )
    words = _simulated(schedule, now).explain()
    return request.model_copy(update={"rhythm": words[0].lower() + words[1:] + ", UTC", "due": tuple(dates)})


def fires(schedule: str, count: int, now: float) -> list[int]:
    """The next times at which it fires, in Unix time. Raises Problem."""
    dates = [int(date.timestamp()) for date in islice(_simulated(schedule, now), count)]
    if len(dates) < count:
        raise Problem(f"{schedule!r} does not fire {count} times.", _EXAMPLE)
    return dates


def too_many(schedule: str, runs: int, now: float) -> int:
    """Unix time after which whatever starts is one run too many: the next but the last is due then."""
    return fires(schedule, runs + 1, now)[-1] - LATE


def line(schedule: str) -> str:
    """Five fields of cron."""
    return NAMES.get(schedule, schedule)


def _simulated(schedule: str, now: float) -> CronSim:
    fields = line(schedule).split()
    if schedule.startswith("@") and schedule not in NAMES:
        raise Problem(f"{schedule[:60]!r} is no schedule.", f"Choose {', '.join(NAMES)}, or write a line of cron.")
    if len(fields) != 5:
        raise Problem(f"{schedule[:60]!r} is no schedule: it has {len(fields)} fields, not 5.", _EXAMPLE)
    if odd := next((field for field, most in zip(fields, _MOST, strict=True) if _odd(field, most)), ""):
        raise Problem(f"{odd[:60]!r} in {schedule[:60]!r} is no field of cron that everybody reads alike.", _EXAMPLE)
    if fields[2] != "*" and fields[4] != "*":
        raise Problem(
            f"{schedule!r} names a day of the month and a day of the week; not everybody reads that alike.",
            "Put * in place of one of them.",
        )
    try:
        read = CronSim(line(schedule), datetime.fromtimestamp(now, UTC))
    except CronSimError as error:
        what = str(error).removeprefix("Bad ").replace("-", " ").replace("of m", "of the m").replace("of w", "of the w")
        raise Problem(f"{schedule!r} never fires: there is no such {what}.", _EXAMPLE) from None
    if (often := _closest(sorted(read.minutes), read.hours)) < CLOSEST:
        raise Problem(
            f"{schedule!r} fires {often // 60} min after it fired.", f"Leave at least {CLOSEST // 60} min between runs."
        )
    return read


def _odd(field: str, most: int) -> bool:
    return not _FIELD.fullmatch(field) or any(int(step) > most for step in re.findall("/([0-9]+)", field))


def _closest(minutes: Sequence[int], hours: set[int]) -> int:
    """Seconds between two times of a day that are as close as any."""
    gaps = [later - earlier for earlier, later in pairwise(minutes)]
    if any((hour + 1) % 24 in hours for hour in hours):
        gaps.append(60 - minutes[-1] + minutes[0])
    return min(gaps, default=24 * 60) * 60
