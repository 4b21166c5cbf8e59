"""When a job will be done and what it will have cost."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.jobs.forecast import MARKS, Forecast, Terms, forecast
from tools.money import cost

TERMS = Terms(price_micro_usd_per_hour=3_600_000, timeout_seconds=3_600)  # a thousand micro-dollars a second


def told(series: list[tuple[float, float]], total: float = 100, terms: Terms = TERMS, **more: float) -> Forecast:
    found = forecast(series, total, terms, **more)
    assert found is not None
    return found


def steady(steps: int, pace: float = 2.0, start: float = 30.0) -> list[tuple[float, float]]:
    return [(start + pace * step, step) for step in range(1, steps + 1)]


def test_a_steady_run_is_foreseen_closely() -> None:
    found = told(steady(50))
    assert found.seconds_low <= 105
    assert found.seconds_high >= 95
    assert found.seconds_high - found.seconds_low < 40
    assert not found.passes_timeout
    assert found.finish_probability > 0.99


def test_the_cost_is_of_the_whole_job_what_has_passed_included() -> None:
    found = told(steady(50))
    assert found.micro_usd_low == cost(3_600_000, 130 + found.seconds_low)
    assert found.micro_usd_high == cost(3_600_000, 130 + found.seconds_high)


def test_the_cost_never_passes_what_the_platform_would_charge_until_the_timeout() -> None:
    found = told(steady(50), total=1e6)
    assert found.micro_usd_high == 3_600_000
    assert found.passes_timeout
    assert found.finish_probability < 0.01
    assert "past its time limit of 60 min" in found.words


def test_a_budget_that_will_be_passed_is_told() -> None:
    found = told(steady(50), terms=Terms(3_600_000, 3_600, budget_micro_usd=150_000))
    assert found.passes_budget
    assert "is over the budget of $0.15" in found.words
    assert not told(steady(50), terms=Terms(3_600_000, 3_600, budget_micro_usd=1_000_000)).passes_budget


def test_a_slow_beginning_is_not_taken_for_the_pace() -> None:
    slow_start = [(200.0, 1.0), (300.0, 2.0), *((300 + 2.0 * n, 2.0 + n) for n in range(1, 30))]
    assert told(slow_start).seconds_high < 250


def test_pauses_that_come_again_are_counted_in() -> None:
    series, now = [], 0.0
    for step in range(1, 61):
        now += 1
        series.append((now, float(step)))
        now += 50 if step % 20 == 0 else 0
    found = told([*series, (now + 1, 61.0)])
    assert found.seconds_high > 39 + 50  # two pauses are due: after 80 and after 100
    assert found.seconds_low > 39


def test_a_run_that_becomes_slower_is_foreseen_at_its_late_pace() -> None:
    series, now = [], 0.0
    for step in range(1, 51):
        now += 1 if step <= 25 else 4
        series.append((now, float(step)))
    found = told(series)
    assert math.sqrt(found.seconds_low * found.seconds_high) > 150


def test_before_the_first_steps_the_dry_run_speaks() -> None:
    found = told([], dry_run_steps_per_second=0.5)
    assert found.seconds_low < 200 < found.seconds_high
    assert forecast([], 100, TERMS) is None
    assert forecast([(10.0, 1.0)], 100, TERMS) is None


def test_the_interval_is_wider_when_less_is_known() -> None:
    few, many = told(steady(6)), told(steady(90))
    assert few.seconds_high / few.seconds_low > many.seconds_high / many.seconds_low


def test_waiting_for_the_next_step_uses_up_what_was_to_go() -> None:
    at_once, later = told(steady(50)), told(steady(50), elapsed=130 + 40.0)
    assert later.seconds_low < at_once.seconds_low
    assert later.micro_usd_high == pytest.approx(at_once.micro_usd_high, rel=0.01)


def test_a_restart_begins_anew() -> None:
    again = [(500.0 + 10 * n, float(n)) for n in range(1, 20)]
    assert told([*steady(50), *again]).seconds_low > 500


def test_a_free_job_has_no_cost_in_its_words() -> None:
    found = told(steady(50), terms=Terms(0, 3_600))
    assert (found.micro_usd_low, found.micro_usd_high) == (0, 0)
    assert "$" not in found.words


def test_a_long_series_is_thinned_and_says_the_same() -> None:
    dense = told(steady(20 * MARKS), total=40 * MARKS, terms=Terms(1, 1e9))
    assert dense.seconds_low < 40.0 * MARKS < dense.seconds_high


@given(
    st.lists(st.tuples(st.floats(), st.floats()), max_size=30),
    st.floats(),
    st.floats(min_value=0, max_value=1e7),
    st.none() | st.floats(),
)
def test_whatever_is_measured_the_interval_is_one(
    series: list[tuple[float, float]], total: float, timeout: float, rate: float | None
) -> None:
    found = forecast(series, total, Terms(1_000_000, timeout, 5), dry_run_steps_per_second=rate)
    if found is not None:
        assert 0 <= found.seconds_low <= found.seconds_high < math.inf
        assert 0 <= found.micro_usd_low <= found.micro_usd_high
        assert 0 <= found.finish_probability <= 1
