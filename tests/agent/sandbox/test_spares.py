"""A worker that is forked ahead: taken once, as shut in as any other, and missed by nobody when it has died."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from agent.sandbox import levels, selftest
from agent.sandbox.child import Child, Kind
from agent.sandbox.forks import zygote
from agent.sandbox.inside import landlock
from agent.sandbox.spares import Spares
from tests.agent.sandbox.sessions_of_code import until, until_dead

pytestmark = pytest.mark.skipif(sys.platform != "linux" or not landlock.abi(), reason="needs Linux with Landlock")


def with_a_spare(kind: Kind) -> tuple[Spares, int]:
    """Spares of whom one was taken, so that the next is there; and its pid."""
    spares = Spares()
    spares.take(zygote(), kind).kill()
    return spares, awaited(spares)


def awaited(spares: Spares) -> int:
    until(lambda: spares.pid is not None)
    assert spares.pid
    return spares.pid


@pytest.mark.parametrize("level", levels.CONFINED)
def test_a_spare_is_shut_in_as_any_other_worker(level: str) -> None:
    spares, pid = with_a_spare(Kind(level))
    taken: list[Child] = []

    def take(*what: object) -> Child:
        taken.append(spares.take(zygote(), Kind(level)))
        return taken[0]

    assert selftest.attack(level, zygote(), take).failed == ()
    assert taken[0].pid == pid


def test_no_two_sessions_get_the_same_worker() -> None:
    spares, first = with_a_spare(Kind("full"))
    spares.take(zygote(), Kind("full")).kill()
    assert awaited(spares) != first


def test_a_spare_of_another_kind_is_not_taken() -> None:
    spares, pid = with_a_spare(Kind("unsafe"))
    child = spares.take(zygote(), Kind("full"))
    assert (child.pid != pid, child.kind.level) == (True, "full")
    child.kill()


def test_a_spare_that_has_died_is_not_taken() -> None:
    spares, pid = with_a_spare(Kind("full"))
    os.kill(pid, signal.SIGKILL)
    until_dead(pid)
    child = spares.take(zygote(), Kind("full"))
    assert child.pid != pid
    assert child.alive()
    child.kill()
