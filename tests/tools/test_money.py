"""How sums of money are written: no cost looks smaller than it is, and nothing that is free looks larger."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.money import usd, usd_exact, usd_free, usd_range

SUMS = st.integers(-200_000_000, 200_000_000) | st.integers(-200_000, 200_000)  # micro-dollars


def read(text: str) -> Decimal:
    """Micro-dollars of what is written."""
    return Decimal(text.replace("$", "")) * 1_000_000


@pytest.mark.parametrize(
    ("micro", "cost", "free", "exact"),
    [
        (0, "$0.00", "$0.00", "$0.00"),
        (1, "$0.000001", "$0.000001", "$0.000001"),
        (4_201, "$0.0043", "$0.0042", "$0.004201"),
        (13_333, "$0.014", "$0.013", "$0.013333"),
        (40_000, "$0.04", "$0.04", "$0.04"),
        (99_999, "$0.10", "$0.099", "$0.099999"),
        (105_000, "$0.11", "$0.10", "$0.105"),
        (799_980, "$0.80", "$0.79", "$0.79998"),
        (5_000_000, "$5.00", "$5.00", "$5.00"),
        (123_456_789, "$123.46", "$123.45", "$123.456789"),
        (-105_000, "-$0.10", "-$0.11", "-$0.105"),
    ],
)
def test_a_sum_is_written_in_cents_and_a_small_one_in_two_digits_that_count(
    micro: int, cost: str, free: str, exact: str
) -> None:
    assert (usd(micro), usd_free(micro), usd_exact(micro)) == (cost, free, exact)


@given(SUMS)
@settings(deadline=None)
def test_a_cost_never_looks_smaller_and_what_is_free_never_larger_than_it_is(micro: int) -> None:
    assert read(usd_free(micro)) <= micro == read(usd_exact(micro)) <= read(usd(micro))
    assert read(usd(micro)) - read(usd_free(micro)) <= 10_000


@given(SUMS, SUMS)
@settings(deadline=None)
def test_what_does_not_fit_never_reads_as_if_it_did(one: int, other: int) -> None:
    free, cost = sorted((one, other))
    assert cost == free or read(usd(cost)) > read(usd_free(free))
    assert read(usd(free)) <= read(usd(cost))  # and what is more never reads as less


def test_an_interval_that_reads_alike_at_both_ends_is_one_sum() -> None:
    assert usd_range(410_000, 502_000) == "$0.41 to $0.51"
    assert usd_range(13_333, 13_333) == usd_range(13_333, 13_999) == "$0.014"
