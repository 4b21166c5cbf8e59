"""When a schedule fires: told beforehand, to the minute, or refused in words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.doubles.jobs import spend
from tools.cards import Spend
from tools.jobs import cron
from tools.problem import Problem

NOW = datetime(2026, 11, 26, 8, 0, tzinfo=UTC).timestamp()  # a Thursday


def told(schedule: str, runs: int, now: float = NOW, **more: object) -> list[str]:
    dates = cron.planned(planned(schedule, runs, **more), now).due
    return [f"{datetime.fromtimestamp(at, UTC):%a %d %b %Y %H:%M}" for at in dates]


def planned(schedule: str, runs: int, **more: object) -> Spend:
    return spend(**({"schedule": cron.check(schedule, runs), "runs": runs, "timeout_seconds": 300} | more))


def test_every_monday_at_nine_is_told_with_its_dates() -> None:
    request = cron.planned(planned("0  9 * * mon", 4), NOW)
    assert (request.schedule, request.rhythm) == ("0 9 * * MON", "at 09:00 on Monday, UTC")
    assert told("0 9 * * 1", 4) == [
        "Mon 30 Nov 2026 09:00",
        "Mon 07 Dec 2026 09:00",
        "Mon 14 Dec 2026 09:00",
        "Mon 21 Dec 2026 09:00",
    ]


@pytest.mark.parametrize(
    ("schedule", "first", "second"),
    [
        ("@hourly", "Thu 26 Nov 2026 09:00", "Thu 26 Nov 2026 10:00"),
        ("@Daily", "Fri 27 Nov 2026 00:00", "Sat 28 Nov 2026 00:00"),
        ("@weekly", "Sun 29 Nov 2026 00:00", "Sun 06 Dec 2026 00:00"),
        ("@monthly", "Tue 01 Dec 2026 00:00", "Fri 01 Jan 2027 00:00"),
        ("@yearly", "Fri 01 Jan 2027 00:00", "Sat 01 Jan 2028 00:00"),
        ("*/5 * * * *", "Thu 26 Nov 2026 08:05", "Thu 26 Nov 2026 08:10"),
        ("0 0 31 * *", "Thu 31 Dec 2026 00:00", "Sun 31 Jan 2027 00:00"),
        ("0 0 29 2 *", "Tue 29 Feb 2028 00:00", "Sun 29 Feb 2032 00:00"),
        ("30 6,18 * * MON-FRI", "Thu 26 Nov 2026 18:30", "Fri 27 Nov 2026 06:30"),
    ],
)
def test_names_and_lines_fire_when_they_say(schedule: str, first: str, second: str) -> None:
    assert told(schedule, 2) == [first, second]


def test_what_is_due_at_this_very_moment_is_over() -> None:
    assert told("0 8 * * *", 1) == ["Fri 27 Nov 2026 08:00"]
    assert told("0 8 * * *", 1, NOW - 1) == ["Thu 26 Nov 2026 08:00"]


def test_one_run_too_many_begins_before_it_would_be_due_and_after_the_last() -> None:
    last = cron.fires("0 9 * * 1", 4, NOW)[-1]
    assert cron.too_many("0 9 * * 1", 4, NOW) == last + 7 * 86_400 - cron.LATE


def test_the_hub_is_told_the_line_that_was_reckoned_with() -> None:
    assert cron.line("@weekly") == "0 0 * * 0"
    assert cron.line("0 9 * * 1") == "0 9 * * 1"


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        ("* * * * *", "fires 1 min after it fired"),
        ("*/7 * * * *", "fires 4 min after it fired"),  # at 56, then at 0
        ("0,58 * * * *", "fires 2 min after it fired"),
        ("0 0 30 2 *", "never fires: there is no such day of the month"),
        ("0 0 31 4,6 *", "never fires"),
        ("61 * * * *", "never fires: there is no such minute"),
        ("0 9 * * FUN", "never fires: there is no such day of the week"),
        ("0 9 * * FRI-MON", "never fires"),
        ("0 0 9 * * 1", "it has 6 fields, not 5"),
        ("0 9", "it has 2 fields"),
        ("tomorrow", "it has 1 fields"),
        ("@reboot", "'@reboot' is no schedule"),
        ("0 9 L * *", "everybody reads alike"),
        ("0 9 * * 5#3", "everybody reads alike"),
        ("5/15 * * * *", "everybody reads alike"),
        ("0 0 */40 * *", "everybody reads alike"),
        ("٣ 9 * * *", "everybody reads alike"),
        ("0 9 13 * 5", "a day of the month and a day of the week"),
    ],
)
def test_a_line_that_fires_never_too_often_or_oddly_is_refused_in_words(schedule: str, says: str) -> None:
    with pytest.raises(Problem, match=says):
        cron.check(schedule, 1)


def test_minutes_that_are_near_only_across_an_hour_in_which_it_rests_are_taken() -> None:
    assert told("0,58 9 * * *", 2) == ["Thu 26 Nov 2026 09:00", "Thu 26 Nov 2026 09:58"]


def test_an_end_that_nobody_will_see_is_refused() -> None:
    with pytest.raises(Problem, match=r"Run 30 of '@yearly' would be in 2056"):
        told("@yearly", 30)


def test_a_run_that_may_last_until_the_next_is_refused_unless_it_is_the_only_one() -> None:
    with pytest.raises(Problem, match="may take 120 min, and the next is due after 60 min"):
        told("@hourly", 2, timeout_seconds=7200)
    assert told("@hourly", 1, timeout_seconds=7200)


def test_what_runs_once_has_no_dates() -> None:
    assert cron.planned(spend(), NOW) == spend()


@given(st.text(alphabet="0123456789*,-/# @ALMWFRIdaily", max_size=30), st.integers(-1, 400))
def test_whatever_is_written_it_is_a_plan_or_a_problem(schedule: str, runs: int) -> None:
    try:
        found = cron.planned(planned(schedule, runs), NOW)
    except Problem:
        return
    assert len(found.due) == (runs if found.schedule else 0)
    assert all(later - earlier >= cron.CLOSEST for earlier, later in zip(found.due, found.due[1:], strict=False))
