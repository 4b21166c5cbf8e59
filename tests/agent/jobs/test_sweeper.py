"""Rented machines that no session holds are ended, at start and every few minutes."""

from __future__ import annotations

from pathlib import Path

from agent.job_events import JobSubmitting
from agent.jobs.sweeper import Renter, Sweeper
from agent.journal import Header, Journal
from agent.sessions import Sessions
from agent.settings import Settings
from tests.doubles.hub import FakeHub, Fault
from tests.doubles.jobs import Places, spend, until


def rented(hub: FakeHub, folder: Path) -> Places:
    """A machine of session s1, forgotten long ago."""
    at = Places(hub, folder)
    price = at.prices.quote("cpu-basic").micro_usd_per_hour + 10_000
    box = spend(where="sandbox", flavor="cpu-basic", script="", idle_seconds=600, price_micro_usd_per_hour=price)
    at.jobs.submit("c1", box)
    hub.jobs.skew = 600
    return at


def over(hub: FakeHub) -> list[bool]:
    return [job.over for job in hub.jobs.all.values()]


def test_what_no_session_holds_is_ended_at_the_start(hub: FakeHub, tmp_path: Path) -> None:
    at = rented(hub, tmp_path)
    sweeper = Sweeper(lambda: [Renter(at.client(), {"s1"}.__contains__, ())], seconds=60.0)
    sweeper.start()
    until(lambda: over(hub) == [True])
    sweeper.close()


def test_what_a_session_holds_is_left_alone(hub: FakeHub, tmp_path: Path) -> None:
    at = rented(hub, tmp_path)
    assert Sweeper(lambda: [Renter(at.client(), {"s1"}.__contains__, at.jobs.open_labels)]).sweep() == []
    assert over(hub) == [False]


def test_a_hub_that_fails_once_is_asked_again_at_the_next_look(hub: FakeHub, tmp_path: Path) -> None:
    at = rented(hub, tmp_path)
    sweeper = Sweeper(lambda: [Renter(at.client(), {"s1"}.__contains__, ())], seconds=0.05)
    hub.faults.append(Fault("/api/whoami-v2", status=403, times=1))
    sweeper.start()
    until(lambda: over(hub) == [True])
    sweeper.close()


def test_a_token_that_has_just_come_wakes_the_sweep(hub: FakeHub, tmp_path: Path) -> None:
    at = rented(hub, tmp_path)
    renters: list[Renter] = []
    sweeper = Sweeper(lambda: renters, seconds=3600.0)
    sweeper.start()
    renters.append(Renter(at.client(), {"s1"}.__contains__, ()))
    sweeper.wake()
    until(lambda: over(hub) == [True])
    sweeper.close()


def test_what_another_process_has_open_is_left_to_it_until_that_is_gone(hub: FakeHub, tmp_path: Path) -> None:
    at = rented(hub, tmp_path / "theirs")
    (there,) = hub.jobs.all.values()
    there.body["labels"]["ml-intern"] = "session-of-ada-c1"
    (tmp_path / "sessions").mkdir()
    header = Header(session="session-of-ada", owner="local", created=0.0)
    theirs = Journal(tmp_path / "sessions" / "session-of-ada.jsonl", header)
    asked = next(entry.event for entry in at.entries if isinstance(entry.event, JobSubmitting))
    theirs.append(asked.model_copy(update={"label": "session-of-ada-c1"}))

    def looks() -> int:
        return sum("ml-intern-kind" in request.query for request in hub.asked)

    sessions = Sessions(Settings(data_dir=tmp_path, hf_token=at.token, places=hub.places()))
    try:
        sessions.recover()
        until(lambda: looks() == 1)
        sessions.lend_token("local", at.token)
        until(lambda: looks() == 2)  # so the first has come to its end
        assert over(hub) == [False]
        theirs.close()
        sessions.lend_token("local", at.token)
        until(lambda: over(hub) == [True])
    finally:
        sessions.close()
        theirs.close()
