"""What a job's log says of its course: measured line by line, foretold now and then, an alarm once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from agent.events import ApprovalAsked, Entry, Event
from agent.job_events import JobAlarm, JobEnded, JobForecast, JobLogged, JobSubmitted
from agent.jobs.progress import FORECAST_SECONDS, JobWatch
from tests.agent.living import code, ended, events, living, wait_for
from tools.cards import Answer, Spend
from tools.jobs.here.words import HERE

FINAL = code('final_answer("Done.")')


def request() -> Spend:
    return Spend(title="t", where="here", place=HERE, script="x", timeout_seconds=3600, price_micro_usd_per_hour=0)


def lines(first: int, last: int) -> str:
    return "".join(f"{{'loss': {2 - n / 100}, 'step': {n}, 'total_steps': 100}}\n" for n in range(first, last + 1))


def logged(told: list[Event]) -> JobLogged:
    first = told[0]
    assert isinstance(first, JobLogged)
    return first


def test_a_measurement_counts_once_its_line_is_whole() -> None:
    watch = JobWatch("j", request())
    assert logged(watch.read("{'loss': 0.5, 'st", 1.0)).points == ()
    (point,) = logged(watch.read("ep': 3}\n{'loss'", 2.0)).points
    assert point == {"loss": 0.5, "step": 3.0}
    (last,) = logged(watch.read(": 0.25}", 3.0, last=True)).points
    assert last["loss"] == 0.25


def test_what_says_little_is_marked_once_its_line_is_whole() -> None:
    watch = JobWatch("j", request())
    assert logged(watch.read("start\nResolved 3 packages\nDownloa", 1.0)).noise == ((1, 1, "installing"),)
    assert logged(watch.read("ding torch\nDownloading numpy\nBuilding x fai", 2.0)).noise == ((0, 2, "installing"),)
    assert logged(watch.read("led\n 10%|█| 1/9 [00:01<00:09]\r 20%|█| 2/9 [00:02<00:08]\n", 3.0)).noise == (
        (1, 1, "progress"),
    )
    assert logged(watch.read("Resolved", 4.0)).noise == ()


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    watch = JobWatch("j", request())
    for _ in range(50):
        watch.read("x" * 10_000, 1.0)
    assert logged(watch.read("\n{'loss': 1.0, 'step': 1}\n", 2.0)).points == ({"loss": 1.0, "step": 1.0},)


def told(watch: JobWatch, until: int) -> list[tuple[float, Event]]:
    """What is told of a hundred steps of a second each."""
    found = []
    for step in range(1, until + 1):
        found += [(float(step), event) for event in watch.read(lines(step, step), float(step))]
    return found


def test_a_forecast_is_told_now_and_then_and_only_when_it_changes() -> None:
    forecasts = [(at, event) for at, event in told(JobWatch("j", request()), 90) if isinstance(event, JobForecast)]
    assert forecasts
    times = [at for at, _ in forecasts]
    assert all(later - earlier >= FORECAST_SECONDS for earlier, later in pairwise(times))
    assert len(forecasts) < 9
    at, last = forecasts[-1]
    assert at < last.seconds_low <= last.seconds_high
    assert last.seconds_low < 110


def test_an_alarm_is_told_once_also_over_a_restart() -> None:
    watch = JobWatch("j", request())
    bad = "{'loss': nan, 'step': 11}\n"
    told(watch, 10)
    alarms = watch.read(bad, 11.0)
    assert [event.rule for event in alarms if isinstance(event, JobAlarm)] == ["nan"]
    journal: list[tuple[float, Event]] = [
        (0.0, JobSubmitted(label="l", job="j", call="c", where="here", title="t")),
        (10.0, JobLogged(job="j", offset=1, text=lines(1, 10))),
        (11.0, JobLogged(job="j", offset=2, text=bad)),
    ]
    again = JobWatch("j", request())
    again.replay([Entry(seq=n, at=at, event=event) for n, (at, event) in enumerate(journal, start=1)])
    after = again.read("{'loss': nan, 'step': 12}\n", 12.0)
    assert not [event for event in after if isinstance(event, JobAlarm)]


def test_a_job_is_stopped_by_the_watchdog_where_the_user_chose_so(tmp_path: Path) -> None:
    script = "import time\nprint({'loss': float('nan'), 'step': 5}, flush=True)\ntime.sleep(60)"
    with living(tmp_path, [code(f"print(job_run({script!r}))"), FINAL]) as (session, _):
        run = session.send("Train")
        asked = wait_for(session, ApprovalAsked)
        session.answer(asked.approval, Answer(verdict="yes", edits={"on_alarm": "stop"}))
        assert ended(session, run).why == "answered"
        (alarm,) = events(session, JobAlarm)
        assert (alarm.rule, alarm.step) == ("nan", 5.0)
        assert events(session, JobEnded)[0].status == "cancelled"
        assert "as you chose" in events(session, JobEnded)[0].message


def test_where_nothing_was_chosen_an_alarm_is_told_and_the_job_goes_on(tmp_path: Path) -> None:
    script = "print({'loss': float('nan'), 'step': 5}, flush=True)"
    with living(tmp_path, [code(f"print(job_run({script!r}))"), FINAL]) as (session, _):
        run = session.send("Train")
        session.answer(wait_for(session, ApprovalAsked).approval, Answer(verdict="yes"))
        assert ended(session, run).why == "answered"
        assert events(session, JobAlarm)
        assert events(session, JobEnded)[0].status == "completed"


def test_the_user_stops_one_job_from_its_card(tmp_path: Path) -> None:
    script = "import time\nprint('on', flush=True)\ntime.sleep(60)"
    with living(tmp_path, [code(f"print(job_run({script!r}))"), FINAL]) as (session, _):
        run = session.send("Train")
        session.answer(wait_for(session, ApprovalAsked).approval, Answer(verdict="yes"))
        session.cancel_job(wait_for(session, JobLogged).job)
        assert ended(session, run).why == "answered"  # the run goes on
        assert events(session, JobEnded)[0].status == "cancelled"
