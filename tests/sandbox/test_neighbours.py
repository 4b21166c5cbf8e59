"""Hostile sessions do not make others useless. How much slower they get is measured by `make bench-sandbox`."""

from __future__ import annotations

import sys

import pytest

from agent.sandbox import levels
from tests.sandbox import harness


@pytest.mark.timeout(300)
def test_ten_hostile_sessions_leave_an_eleventh_usable() -> None:
    level = "full" if levels.kernel()["landlock_abi"] else "brokered"
    argument = {"level": level, "python": sys.executable, "seconds": 2}
    try:
        [found] = harness.inside("tests.sandbox.neighbours", argument, seconds=150)
    except harness.Impossible as reason:
        pytest.skip(str(reason))
    print(found)
    assert found["right"]
    assert found["steps"] >= 5
    assert found["still_running"] == 0
