"""What a job tells Trackio reaches the session, once, whatever goes wrong with the dashboard; the job never picker."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.events import Event
from agent.job_events import (
    JobAlarm,
    JobAlerted,
    JobEnded,
    JobForecast,
    JobLogged,
    JobMeasured,
    JobSubmitted,
    JobTracked,
)
from agent.jobs.job import SessionJob
from agent.jobs.progress import JobWatch
from agent.jobs.tracking import tell_tracked
from tests.doubles.hub import FakeHub, FakeTrackio, Fault
from tests.doubles.hub.content import space
from tests.doubles.hub.jobs import Job
from tests.doubles.jobs import FAST, Places, spend, until
from tools.cards import Spend
from tools.jobs.here.jobs import LocalJobs
from tools.jobs.metrics import Alert, Point
from tools.jobs.remote.launch import submissions
from tools.jobs.tracking import TrackerReport, run_name
from tools.problem import Problem

SPACE = "ada/ml-intern-trackio-pets"
LABEL = "s1-c1"


def tracked(**more: object) -> Spend:
    return spend(track="pets", dashboard=SPACE, **more)


RUN = run_name(LABEL, tracked())


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        fake.people["ada"]["isPro"] = True
        yield fake


def begun(hub: FakeHub, at: Places) -> tuple[Job, FakeTrackio]:
    """A running job whose dashboard runs."""
    at.contract(tracked()).submit()
    (there,) = hub.jobs.all.values()
    there.run()
    at.wait_for(JobTracked)
    trackio = FakeTrackio()
    hub.spaces.run(SPACE, trackio)
    return there, trackio


def losses(at: Places) -> list[float | None]:
    return [point["loss"] for event in at.events(JobMeasured) for point in event.points]


# --- the job --------------------------------------------------------------------------------------


def test_a_tracked_job_gets_a_folder_of_the_dashboards_bucket_and_no_token(hub: FakeHub, at: Places) -> None:
    there, _ = begun(hub, at)
    env = there.body["environment"]
    assert {name: env[name] for name in env if name.startswith("TRACKIO")} == {
        "TRACKIO_DIR": "/trackio",
        "TRACKIO_STORAGE_MODE": "jsonl",
        "TRACKIO_PROJECT": "pets",
        "TRACKIO_RUN": RUN,
    }
    assert there.body["volumes"] == [
        {
            "type": "bucket",
            "source": SPACE,
            "mountPath": "/trackio/inbox",
            "readOnly": False,
            "path": f"trackio/inbox/{LABEL}",
        }
    ]
    assert "secrets" not in there.body
    assert RUN.startswith("train-a-classifier-")


def test_a_script_cannot_be_led_elsewhere_by_a_variable() -> None:
    (one,) = submissions(LABEL, tracked(env={"TRACKIO_PROJECT": "other", "TRACKIO_DIR": "/x"}), {})
    assert (one.env["TRACKIO_PROJECT"], one.env["TRACKIO_DIR"]) == ("pets", "/trackio")


def test_run_names_are_readable_and_each_jobs_own() -> None:
    names = {run_name(f"s1-c{n}", tracked(title="Über: fine-tune/SFT?")) for n in range(50)}
    assert len(names) == 50
    assert all(name.startswith("ber-fine-tune-sft-") for name in names)


# --- reading back ---------------------------------------------------------------------------------


def test_measurements_and_alerts_come_back_as_data(hub: FakeHub, at: Places) -> None:
    there, trackio = begun(hub, at)
    trackio.log(RUN, 1, loss=0.5)
    trackio.log("somebody-else", 1, loss=9.0)
    trackio.log(RUN, 2, loss=None)  # the dashboard tells null of what is not finite
    trackio.alert(RUN, "error", "Reward is hacked", "it only says yes", 2)
    trackio.alert("somebody-else", "error", "not ours")
    alerted = at.wait_for(JobAlerted)
    assert (alerted.level, alerted.text, alerted.step) == ("error", "Reward is hacked: it only says yes", 2)
    until(lambda: losses(at) == [0.5, None])
    assert [alarm.rule for alarm in until(lambda: at.events(JobAlarm))] == ["nan"]  # the watchdog reads it, too
    row = at.jobs.state(f"ada/{there.id}")
    assert row.alerts == (Alert("error", "Reward is hacked: it only says yes", 2),)
    assert row.dashboard == f"{hub.url}/spaces/{SPACE}"
    assert at.jobs.points(f"ada/{there.id}") == ({"loss": 0.5, "step": 1.0}, {"loss": None, "step": 2.0})
    there.end()
    at.wait_for(JobEnded)
    assert len(at.events(JobAlerted)) == 1


def test_what_is_tracked_and_printed_counts_once(hub: FakeHub, at: Places) -> None:
    there, trackio = begun(hub, at)
    there.say("{'loss': 0.5, 'step': 1}", "[TRACKIO WARN] Slow: 3 steps a minute (step 1)")
    at.wait_for(JobAlerted)
    trackio.log(RUN, 1, **{"train/loss": 0.5, "reward": 3.0})
    trackio.alert(RUN, "warn", "Slow", "3 steps a minute", 1)
    trackio.alert(RUN, "warn", "Slow", "3 steps a minute", 2)
    until(lambda: len(at.events(JobAlerted)) == 2)
    measured = at.wait_for(JobMeasured)
    assert measured.points == ({"reward": 3.0, "step": 1.0},)
    assert [alerted.source for alerted in at.events(JobAlerted)] == ["log", "trackio"]
    assert at.jobs.points(f"ada/{there.id}") == ({"loss": 0.5, "step": 1.0}, {"reward": 3.0, "step": 1.0})


def test_a_restart_reads_on_and_tells_nothing_again(hub: FakeHub, at: Places) -> None:
    there, trackio = begun(hub, at)
    there.say("[TRACKIO INFO] Begun (step 0)")
    trackio.log(RUN, 1, loss=0.5)
    trackio.alert(RUN, "info", "Begun", None, 0)
    trackio.alert(RUN, "warn", "Odd", None, 1)
    until(lambda: len(at.events(JobAlerted)) == 2 and losses(at))
    again = at.again()
    trackio.log(RUN, 2, loss=0.4)
    trackio.alert(RUN, "error", "Broken", None, 2)
    until(lambda: len(again.events(JobAlerted)) == 3 and len(losses(again)) == 2)
    there.end()
    again.wait_for(JobEnded)
    assert [alerted.text for alerted in again.events(JobAlerted)] == ["Begun", "Odd", "Broken"]
    assert losses(again) == [0.5, 0.4]
    assert len(again.events(JobTracked)) == 1
    after = again.again()  # and of an ended job all is still known
    row = after.jobs.state(f"ada/{there.id}")
    assert [alert.text for alert in row.alerts] == ["Begun", "Odd", "Broken"]
    assert len(after.jobs.points(f"ada/{there.id}")) == 2
    after.jobs.close()


def test_an_alert_that_was_cut_off_before_it_was_told_is_told_after_the_restart(hub: FakeHub, at: Places) -> None:
    there, _ = begun(hub, at)
    there.say("[TRACKIO WARN] Odd (step 1)")
    at.wait_for(JobAlerted)
    again = at.again([entry for entry in at.entries if not isinstance(entry.event, JobAlerted)])
    assert again.wait_for(JobAlerted).text == "Odd"
    assert len(again.events(JobAlerted)) == 1
    again.jobs.close()


def test_what_a_dashboard_takes_in_after_the_end_is_told_too(hub: FakeHub, tmp_path: Path) -> None:
    """A Space takes minutes to be built; a job may be over before."""
    at = Places(hub, tmp_path, pace=replace(FAST, flush=0.5))
    at.contract(tracked()).submit()
    (there,) = hub.jobs.all.values()
    there.run().end()
    at.wait_for(JobEnded)
    at.wait_for(JobTracked)
    trackio = FakeTrackio()
    trackio.log(RUN, 1, loss=0.5)
    trackio.alert(RUN, "warn", "Late", None, 1)
    hub.spaces.run(SPACE, trackio)
    assert at.wait_for(JobAlerted).text == "Late"
    at.wait_for(JobMeasured)
    at.jobs.close()


def test_a_script_that_alerts_in_every_step_is_heard_a_hundred_times(hub: FakeHub, at: Places) -> None:
    there, _ = begun(hub, at)
    there.say(*(f"[TRACKIO WARN] Again (step {step})" for step in range(300))).end()
    at.wait_for(JobEnded)
    assert len(at.events(JobAlerted)) == 101
    assert "more than 100 alerts" in at.events(JobAlerted)[-1].text


def test_a_secret_in_an_alert_or_in_a_name_is_hidden(hub: FakeHub, tmp_path: Path) -> None:
    at = Places(hub, tmp_path, secrets={"WANDB": "0123456789abcdef"})
    at.contract(tracked(secrets=("WANDB",))).submit()
    (there,) = hub.jobs.all.values()
    there.run()
    at.wait_for(JobTracked)
    trackio = FakeTrackio()
    hub.spaces.run(SPACE, trackio)
    trackio.alert(RUN, "warn", "Key 0123456789abcdef", f"and hf_{'x' * 30} and hf_ada")
    trackio.log(RUN, 1, **{"loss": 1.0, "0123456789abcdef": 2.0, f"key/hf_{'x' * 30}": 3.0})
    assert at.wait_for(JobAlerted).text == "Key •••: and ••• and •••"
    assert at.wait_for(JobMeasured).points == ({"loss": 1.0, "step": 1.0},)
    at.jobs.close()


# --- trouble --------------------------------------------------------------------------------------


def test_an_account_without_spaces_keeps_its_measurements_in_the_bucket_and_the_job_goes_on(
    hub: FakeHub, at: Places
) -> None:
    hub.people["ada"]["isPro"] = False
    contract = at.contract(tracked())
    contract.submit()
    (there,) = hub.jobs.all.values()
    assert there.body["volumes"][0]["source"] == SPACE
    told = at.wait_for(JobTracked)
    assert told.url == ""
    assert told.note.startswith("There is no live dashboard. The account has no plan or credits for the Space")
    assert told.note.endswith(f"What the job measures is kept in the bucket {SPACE}.")
    there.run().end()
    assert contract.wait().status == "completed"
    assert len(at.events(JobTracked)) == 1
    assert at.jobs.state(f"ada/{there.id}").dashboard == told.note


@pytest.mark.parametrize("status", [402, 403, 409, 429, 500])
def test_a_bucket_that_cannot_be_had_neither_loses_nor_doubles_the_job(hub: FakeHub, at: Places, status: int) -> None:
    hub.faults.append(Fault(f"/api/buckets/{SPACE}", status=status))
    contract = at.contract(tracked())
    contract.submit()
    (there,) = hub.jobs.all.values()
    assert "volumes" not in there.body
    assert there.body["environment"]["TRACKIO_DIR"] == "/tmp/trackio"  # the script finds all it needs
    assert at.wait_for(JobTracked).note.startswith("There is no live dashboard.")
    there.run().end()
    assert contract.wait().status == "completed"
    assert len(hub.jobs.all) == 1
    assert hub.spaces.created == []
    assert at.books.ledger.compute.held == 0


@pytest.mark.parametrize("status", [429, 500])
def test_trouble_that_passes_is_told_after_a_while_and_then_forgotten(hub: FakeHub, at: Places, status: int) -> None:
    hub.faults.append(Fault("/api/repos/create", status=status, times=4))
    at.contract(tracked()).submit()
    (there,) = hub.jobs.all.values()
    there.run()
    at.wait_for(JobTracked, lambda told: bool(told.url))
    first, last = at.events(JobTracked)
    assert first.note.startswith("The dashboard cannot be had at the moment")
    assert (last.url, last.note) == (f"{hub.url}/spaces/{SPACE}", "")


def breaks(hub: FakeHub) -> None:
    hub.repos["space"][SPACE]["runtime"]["stage"] = "BUILD_ERROR"


def is_deleted(hub: FakeHub) -> None:
    del hub.repos["space"][SPACE]


def becomes_public(hub: FakeHub) -> None:
    hub.repos["space"][SPACE]["private"] = False


@pytest.mark.parametrize(
    ("happens", "said"), [(breaks, "BUILD_ERROR"), (is_deleted, "deleted"), (becomes_public, "made public")]
)
def test_a_dashboard_that_is_no_more_what_it_was_is_told_once(
    hub: FakeHub, at: Places, happens: Callable[[FakeHub], None], said: str
) -> None:
    at.contract(tracked()).submit()
    (there,) = hub.jobs.all.values()
    there.run()
    at.wait_for(JobTracked)
    happens(hub)
    told = at.wait_for(JobTracked, lambda told: bool(told.note))
    assert said in told.note
    there.end()
    at.wait_for(JobEnded)
    assert len(at.events(JobTracked)) == 2


def test_somebody_elses_space_of_that_name_is_left_alone_and_the_job_runs(hub: FakeHub, at: Places) -> None:
    hub.repos["space"][SPACE] = space(SPACE, private=True)
    at.contract(tracked()).submit()
    assert "It was left alone" in at.wait_for(JobTracked).note
    assert hub.repos["space"][SPACE]["siblings"] == space(SPACE)["siblings"]


def test_a_dashboard_that_answers_nonsense_is_asked_again(hub: FakeHub, at: Places) -> None:
    _, trackio = begun(hub, at)
    for body in (b"<html>", b"{}", b'{"data": 3}', b'{"data": [1, {"name": []}, null]}'):
        hub.faults.append(Fault("/space-host", status=200, body=body, times=2))
    hub.faults.append(Fault("/space-host", status=401, times=1))
    trackio.log(RUN, 1, loss=0.5)
    assert at.wait_for(JobMeasured).points == ({"loss": 0.5, "step": 1.0},)


def test_a_job_that_is_found_after_a_crash_is_tracked(hub: FakeHub, at: Places) -> None:
    begun(hub, at)
    again = at.again(
        [entry for entry in at.entries if not isinstance(entry.event, JobSubmitted | JobTracked | JobLogged)]
    )
    again.wait_for(JobTracked)
    assert len(hub.jobs.all) == len(hub.spaces.created) == len(hub.spaces.commits) == 1
    again.jobs.close()


# --- on this machine --------------------------------------------------------------------------------


def here(folder: Path, job: str = "here-0123456789abcdef") -> tuple[SessionJob, Callable[[int], None]]:
    """A job here, and what writes the next so many files that its run leaves."""
    request = spend(where="here", namespace="", flavor="", price_micro_usd_per_hour=0, track="pets")
    inbox = folder / "jobs" / job / "trackio" / "inbox" / "w"
    inbox.mkdir(parents=True)
    steps = itertools.count(1)

    def write(files: int) -> None:
        for step in itertools.islice(steps, files):
            stamp = f"2026-11-27T{step // 3600:02d}:{step // 60 % 60:02d}:{step % 60:02d}.000000+00:00"
            record = {"kind": "metric", "timestamp": stamp, "step": step, "metrics": {"loss": 1 / step}}
            (inbox / f"{step:08d}.jsonl").write_text(json.dumps(record))

    return SessionJob(LABEL, job, request, LocalJobs(folder)), write


def test_all_that_a_run_left_is_told_also_when_it_ended_long_before_the_app_came_back(tmp_path: Path) -> None:
    job, write = here(tmp_path)
    write(1_200)
    job.done.set()
    told: list[Event] = []
    tell_tracked(job, lambda _, events: told.extend(events), threading.Event())
    until(lambda: sum(len(event.points) for event in told if isinstance(event, JobMeasured)) == 1_200)


def test_a_disk_that_is_full_for_a_while_does_not_end_the_reading(tmp_path: Path) -> None:
    job, write = here(tmp_path)
    write(1)
    tries: list[list[Event]] = []

    def tell(_: SessionJob, events: Iterable[Event]) -> None:
        tries.append(list(events))
        if len(tries) == 1:
            raise Problem("The conversation cannot be saved: No space left on device.", "Make room.")

    tell_tracked(job, tell, threading.Event())
    until(lambda: tries)
    write(1)
    measured = until(lambda: [event for event in tries[-1] if isinstance(event, JobMeasured)] if tries[1:] else None)
    assert [point["step"] for point in measured[0].points] == [2]
    job.done.set()


def test_files_of_a_run_that_would_fill_the_memory_are_read_in_turns(tmp_path: Path) -> None:
    job, write = here(tmp_path)
    write(6)
    for file in (tmp_path / "jobs" / job.job / "trackio" / "inbox" / "w").iterdir():
        with file.open("a") as more:
            more.write("\n" + " " * 5_000_000)
    tracker = job.place.tracker(job.job, job.label, job.request)
    assert tracker is not None
    first, second = tracker.read(""), tracker.read("")
    assert (len(first.points), first.up) == (4, False)
    assert (len(second.points), second.up) == (2, True)


# --- what counts ----------------------------------------------------------------------------------


def watch() -> JobWatch:
    return JobWatch("j", tracked())


def forecasts(events: list[Event]) -> list[JobForecast]:
    return [event for event in events if isinstance(event, JobForecast)]


def test_a_dashboard_that_lags_behind_the_log_does_not_seem_to_begin_again() -> None:
    both, alone = watch(), watch()
    told: dict[JobWatch, list[Event]] = {both: [], alone: []}
    for step in range(10, 400, 10):
        for one, events in told.items():
            line = f"{{'loss': {1 / step}, 'step': {step}, 'total_steps': 1000}}\n"
            events += one.read(line, float(step))
        told[both] += both.tracked([{"reward": 1.0, "step": float(step - 5)}], [], float(step))[1]
    assert forecasts(told[both]) == forecasts(told[alone]) != []


def test_a_job_that_only_tracks_is_forecast_and_watched() -> None:
    one = watch()
    told: list[Event] = []
    for step in range(1, 200):
        point: Point = {"train/loss": 1 / step, "step": float(step), "total_steps": 1000.0}
        told += one.tracked([point], [], step * 2.0)[1]
    assert forecasts(told) != []
    _, events = one.tracked([{"train/loss": None, "step": 200.0}], [], 400.0)
    assert [event.rule for event in events if isinstance(event, JobAlarm)] == ["nan"]


def test_an_alert_of_several_lines_is_known_by_its_first() -> None:
    one = watch()
    events = one.read("[TRACKIO WARN] Odd: first\nsecond (step 3)\n", 1.0)
    assert [event.text for event in events if isinstance(event, JobAlerted)] == ["Odd: first"]
    _, events = one.tracked([], [Alert("warn", "Odd: first\nsecond", 3), Alert("error", "Odd: first", 3)], 2.0)
    assert [event.level for event in events if isinstance(event, JobAlerted)] == ["error"]


def test_nothing_new_says_nothing() -> None:
    assert watch().tracked(TrackerReport().points, TrackerReport().alerts, 1.0) == ((), [])
