"""What many tests begin with: a Hub of their own, and one session's places for jobs on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.doubles.hub import FakeHub
from tests.doubles.jobs import Places

settings.register_profile(
    "steady", settings(), deadline=None
)  # how long an example takes depends on what else the machine does
settings.load_profile("steady")


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        yield fake


@pytest.fixture
def at(hub: FakeHub, tmp_path: Path) -> Iterator[Places]:
    places = Places(hub, tmp_path)
    yield places
    places.jobs.close()
