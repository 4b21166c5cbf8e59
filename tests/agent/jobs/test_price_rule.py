"""What the same time on the same machines costs is the same money, whoever says it and whenever."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.job_events import JobForecast
from agent.jobs.dry_runs import foreseen
from agent.jobs.forecast import Terms, forecast
from agent.jobs.progress import JobWatch
from agent.jobs.records import settlement
from tests.agent.jobs.test_dry_runs import journal, steady
from tests.doubles.desk import desk
from tests.doubles.hub import FakeHub
from tests.doubles.jobs import Places, spend
from tools.cards import Spend
from tools.jobs import job_run, job_schedule
from tools.money import cost
from tools.problem import Refused

PRICES = st.integers(1, 100_000_000)  # micro-dollars an hour
TIMES = st.integers(1, 24 * 3_600_000).map(lambda ms: ms / 1000)  # seconds


@pytest.mark.parametrize(
    ("seconds", "minutes"), [(0, 0), (0.0004, 0), (0.001, 1), (60, 1), (60.0004, 1), (60.001, 2), (3_599.5, 60)]
)
def test_a_minute_that_has_begun_is_paid_whole(seconds: float, minutes: int) -> None:
    assert cost(600, seconds) == 10 * minutes
    assert cost(600, seconds, machines=3, runs=7) == 210 * minutes


@given(PRICES, TIMES, st.integers(1, 16), st.integers(1, 366))
@settings(deadline=None)
def test_the_whole_minutes_are_paid_exactly_and_only_their_sum_is_rounded_up(
    price: int, seconds: float, machines: int, runs: int
) -> None:
    exact = Fraction(price, 60) * ceil(Fraction(round(seconds * 1000), 60_000)) * machines * runs
    assert 0 <= cost(price, seconds, machines=machines, runs=runs) - exact < 1


@given(PRICES, TIMES, st.integers(1, 16), st.integers(1, 366), st.floats(0.01, 100))
@settings(max_examples=50, deadline=None)
def test_hold_settlement_forecast_and_dry_run_agree_about_the_same_time(
    price: int, seconds: float, machines: int, runs: int, rate: float
) -> None:
    terms: dict[str, object] = {"price_micro_usd_per_hour": price, "timeout_seconds": ceil(seconds), "nodes": machines}
    once, often = spend(steps=1_000, **terms), spend(steps=1_000, runs=runs, **terms)
    assert often.hold_micro_usd == cost(price, ceil(seconds), machines=machines, runs=runs)
    assert settlement(once, seconds, "completed")[0] == cost(price, seconds, machines=machines)

    found = forecast([], 1_000, Terms(price, seconds, machines=machines), dry_run_steps_per_second=rate)
    assert found is not None
    ends = [min(found.elapsed + left, seconds) for left in (found.seconds_low, found.seconds_high)]
    assert [found.micro_usd_low, found.micro_usd_high] == [cost(price, end, machines=machines) for end in ends]

    dry = foreseen(journal(*steady()), "ada/dry", spend(**terms), request=often)
    assert dry.seconds_low is not None
    assert dry.seconds_high is not None
    assert [dry.micro_usd_low, dry.micro_usd_high] == [
        cost(price, whole, machines=machines, runs=runs) for whole in (dry.seconds_low, dry.seconds_high)
    ]


@pytest.mark.parametrize("machines", [1, 3, 16])
def test_the_forecast_of_a_job_is_of_all_its_machines(machines: int) -> None:
    request = spend(steps=1_000, nodes=machines)
    dry = foreseen(journal(*steady()), "ada/dry", request, request=request)
    (told,) = JobWatch("j", request.model_copy(update={"foreseen": dry})).tick(10.0)
    assert isinstance(told, JobForecast)
    assert (told.micro_usd_low, told.micro_usd_high) == (dry.micro_usd_low, dry.micro_usd_high)


@pytest.mark.parametrize(
    ("expected", "seconds"), [("1s", 1), ("59s", 59), ("1m", 60), ("61s", 61), ("7m30s", 450), ("1h", 3_600)]
)
@pytest.mark.parametrize("more", [{}, {"nodes": 3}, {"schedule": "@daily", "runs": 5}])
def test_what_the_agent_expects_is_reckoned_as_it_will_be_billed(
    hub: FakeHub, at: Places, expected: str, seconds: int, more: dict[str, int | str]
) -> None:
    asking = desk(jobs=at.jobs, sign=at.contract, answer="no")
    ask: Callable[..., object] = job_schedule if "schedule" in more else job_run
    with pytest.raises(Refused):
        ask(asking, script="print(1)", flavor="a10g-small", timeout="2h", expected=expected, **more)
    (asked,) = asking.asked
    assert isinstance(asked, Spend)
    price = 60 * next(item["unitCostMicroUSD"] for item in hub.jobs.hardware if item["name"] == "a10g-small")
    assert asked.likely_micro_usd == cost(price, seconds, machines=asked.nodes, runs=asked.runs)
