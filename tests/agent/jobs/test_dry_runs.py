"""A short run before a long one: what it foretells is on the card before anybody agrees, and where it came from."""

from __future__ import annotations

import pytest

from agent.events import Entry, Event
from agent.job_events import JobEnded, JobForecast, JobLogged, JobSubmitted
from agent.jobs.dry_runs import foreseen
from agent.jobs.progress import JobWatch
from tests.doubles.desk import RecordingDesk, desk
from tests.doubles.hub import FakeHub
from tests.doubles.jobs import Places, spend
from tools.cards import Foreseen, Spend
from tools.jobs import job_run
from tools.jobs.here.words import HERE
from tools.problem import Problem

DRY = spend(timeout_seconds=600)
REAL = spend(steps=1_000)
BEGAN = 1_000.0


def journal(*told: tuple[float, Event]) -> list[Entry]:
    submitted = JobSubmitted(label="l", job="ada/dry", call="c", where="jobs", title="t")
    return [
        Entry(seq=n, at=BEGAN + at, event=event) for n, (at, event) in enumerate([(0.0, submitted), *told], start=1)
    ]


def stepped(at: float, *steps: float, **more: float) -> tuple[float, Event]:
    points: tuple[dict[str, float | None], ...] = tuple({"step": step, **more} for step in steps)
    return at, JobLogged(job="ada/dry", offset=1, text="", points=points)


def ended(at: float, ran: float) -> tuple[float, Event]:
    return at, JobEnded(job="ada/dry", status="completed", seconds=ran)


def steady(first: float = 60.0) -> list[tuple[float, Event]]:
    """Two steps a second from the first on, which comes late."""
    return [stepped(first + 0.5 * n, n) for n in range(1, 21)]


def test_what_a_steady_run_foretells_is_around_its_pace_with_its_start_before() -> None:
    found = foreseen(journal(*steady(), ended(71.0, 71.0)), "ada/dry", DRY, request=REAL)
    assert found.steps_per_second == pytest.approx(2.0)
    assert found.start_seconds == pytest.approx(60.0)
    assert found.seconds_low is not None
    assert found.seconds_high is not None
    assert 60 + 300 < found.seconds_low < 60 + 500 < found.seconds_high < 60 + 1_200
    assert found.words.endswith("for 1,000 steps: from 2 steps/s in dry run ada/dry on l4x1")


def test_the_slow_beginning_is_not_part_of_the_pace() -> None:
    compiling = [stepped(20.0, 1), stepped(50.0, 2)]
    found = foreseen(journal(*compiling, *(stepped(50 + n, 2 + n) for n in range(1, 19))), "ada/dry", DRY, request=REAL)
    assert found.steps_per_second == pytest.approx(1.0)


def test_the_wait_for_a_machine_is_no_part_of_what_is_paid() -> None:
    waited = foreseen(journal(*steady(400.0), ended(411.0, 71.0)), "ada/dry", DRY, request=REAL)
    at_once = foreseen(journal(*steady(60.0), ended(71.0, 71.0)), "ada/dry", DRY, request=REAL)
    assert waited.start_seconds == pytest.approx(at_once.start_seconds)


def test_the_money_is_of_whole_minutes_of_all_machines_and_of_no_time_limit() -> None:
    def money(**more: object) -> int:
        told = foreseen(
            journal(*steady()), "ada/dry", DRY.model_copy(update=more), request=REAL.model_copy(update=more)
        )
        assert told.seconds_high is not None
        assert told.micro_usd_high is not None
        assert told.micro_usd_high % 13_333 == 0
        return told.micro_usd_high

    assert money() == money(timeout_seconds=60) > 0
    assert money(nodes=4) == 4 * money()


def test_a_run_of_which_only_the_end_is_told_has_the_pace_that_trainer_says() -> None:
    summary = {"train_runtime": 10.0, "train_steps_per_second": 4.0}
    assert foreseen(journal(stepped(30.0, 40, **summary)), "ada/dry", DRY, request=REAL).steps_per_second == 4.0


@pytest.mark.parametrize(
    "real",
    [
        {"flavor": "a100-large"},
        {"nodes": 2},
        {"where": "here", "place": HERE, "flavor": "", "price_micro_usd_per_hour": 0},
    ],
)
def test_other_hardware_is_said_and_nothing_is_foretold_from_it(real: dict[str, object]) -> None:
    other = REAL.model_copy(update=real)
    found = foreseen(journal(*steady()), "ada/dry", DRY, request=other)
    assert found.words == f"measured on l4x1, not on {other.machines}: no forecast of time"
    assert (found.seconds_low, found.micro_usd_high) == (None, None)
    watch = JobWatch("j", other.model_copy(update={"foreseen": found}))
    assert watch.tick(10.0) == []


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ([], "has told of no steps"),
        ([(5.0, JobLogged(job="ada/dry", offset=1, text="hello\n", points=({"loss": 1.0},)))], "has told of no steps"),
        ([(5.0, JobLogged(job="ada/other", offset=1, text="", points=({"step": 1.0},)))], "has told of no steps"),
        ([stepped(5.0, 1, 2, 3)], "only once: its pace is not known"),
        ([stepped(5.0, 1), stepped(5.0 + 1e-9, 1e11)], "nothing can be foreseen"),
    ],
)
def test_a_run_that_says_nothing_of_its_pace_is_a_problem(told: list[tuple[float, Event]], says: str) -> None:
    with pytest.raises(Problem, match=says):
        foreseen(journal(*told), "ada/dry", DRY, request=REAL)


def test_the_first_forecast_comes_before_the_first_step_and_gives_way_to_what_is_measured() -> None:
    known = foreseen(journal(*steady(), ended(71.0, 71.0)), "ada/dry", DRY, request=REAL)
    watch = JobWatch("j", REAL.model_copy(update={"foreseen": known}))
    (first,) = watch.tick(10.0)
    assert isinstance(first, JobForecast)
    assert known.seconds_low == pytest.approx(first.seconds_low, abs=0.1)
    assert known.seconds_high == pytest.approx(first.seconds_high, abs=0.1)
    assert watch.tick(30.0) == []  # it still installs, as the dry run did
    told: list[Event] = []
    for step in range(1, 200):  # five times as slow
        told += watch.read(f"{{'loss': 1.0, 'step': {step}}}\n", 60 + 2.5 * step)
    forecasts = [event for event in told if isinstance(event, JobForecast)]
    assert forecasts[-1].seconds_low < 60 + 2_500 < forecasts[-1].seconds_high


def test_the_user_is_told_of_an_overrun_that_only_the_run_itself_shows() -> None:
    """A forecast from the dry run alone raises no alarm: it was on the card."""
    known = foreseen(journal(*steady()), "ada/dry", DRY, request=REAL)
    watch = JobWatch("j", REAL.model_copy(update={"foreseen": known, "timeout_seconds": 60}))
    assert [event.kind for at in range(10, 300, 10) for event in watch.tick(float(at))].count("job_alarm") == 0


# --- the whole way, over the fake Hub ---


def dry(hub: FakeHub, at: Places) -> str:
    """The id of a job that has made six steps and ended."""
    contract = at.contract(DRY, "dry")
    job = contract.submit()
    (there,) = hub.jobs.all.values()
    there.run()
    for step in range(1, 7):
        there.say(f"{{'loss': 1.0, 'step': {step}}}")
        at.wait_for(JobLogged, lambda event, step=step: any(point.get("step") == step for point in event.points))  # type: ignore[misc]
    there.end(ran=60)
    contract.wait()
    return job


def asking(at: Places) -> RecordingDesk:
    return desk(jobs=at.jobs, sign=lambda request: at.contract(request, "real"))


def asked(asking: RecordingDesk) -> Spend:
    (request,) = asking.asked
    assert isinstance(request, Spend)
    return request


def test_a_dry_runs_pace_is_on_the_card_and_in_the_jobs_first_forecast(hub: FakeHub, at: Places) -> None:
    job, real = dry(hub, at), asking(at)
    job_run(real, "print(1)", flavor="l4x1", timeout="1h", steps=10_000, dry_run=job, wait=False)
    known = asked(real).foreseen
    assert isinstance(known, Foreseen)
    assert (known.job, known.on) == (job, "l4x1")
    assert known.micro_usd_low is not None
    assert list(hub.jobs.all.values())[-1].run()
    assert at.wait_for(JobForecast).seconds_low > 0


def test_a_dry_run_is_known_after_a_restart(hub: FakeHub, at: Places) -> None:
    job = dry(hub, at)
    before = at.jobs.foresee(job, REAL)
    after = at.again()
    assert after.jobs.foresee(job, REAL) == before
    after.jobs.close()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"dry_run": "ada/6a0000", "steps": 10}, "has no job 'ada/6a0000'"),
        ({"dry_run": "ada/6a0000"}, "A run of 0 steps"),
        ({"steps": -1}, "A run of -1 steps"),
        ({"steps": 10**10}, "up to 1,000,000,000"),
    ],
)
def test_a_dry_run_that_nobody_made_is_a_problem_before_anybody_is_asked(
    at: Places, given: dict[str, object], says: str
) -> None:
    real = asking(at)
    with pytest.raises(Problem) as problem:
        job_run(real, "print(1)", flavor="l4x1", **given)  # type: ignore[arg-type]
    assert says in str(problem.value)
    assert not real.asked
