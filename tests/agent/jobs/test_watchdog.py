"""Rules that say when a training goes wrong."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.jobs.forecast import Terms
from agent.jobs.watchdog import SILENCE, STARTING, Alarm, LossWatch
from tools.jobs.metrics import MetricReader, Point, Readings

TERMS = Terms(price_micro_usd_per_hour=1_000_000, timeout_seconds=1e6)


def watched(points: Iterable[Point], total: float | None = 200, terms: Terms = TERMS, pace: float = 2.0) -> list[Alarm]:
    watch = LossWatch(terms, total_steps=total)
    alarms: list[Alarm] = []
    for n, point in enumerate(points, start=1):
        alarms += watch.read(n * pace, Readings((dict([("step", float(n)), *point.items()]),)))
    return alarms


def losses(of: Callable[[int], float | None], steps: int = 200, noise: float = 0.02, seed: int = 0) -> list[Point]:
    dice = random.Random(seed)
    values = ((of(n), dice.gauss(0, noise)) for n in range(1, steps + 1))
    return [{"loss": None if value is None else value + jitter} for value, jitter in values]


def learned(n: int) -> float:
    return 0.3 + 2 * math.exp(-n / 30)


def test_an_honest_run_is_left_alone() -> None:
    assert watched(losses(learned)) == []


def test_an_early_fall_and_a_long_plateau_are_honest() -> None:
    assert watched(losses(lambda n: 0.3 if n > 5 else 2.3)) == []


def test_a_start_that_learns_nothing_for_a_third_is_honest() -> None:
    assert watched(losses(lambda n: 0.7 if n < 66 else 0.7 * math.exp(-(n - 66) / 30))) == []


def test_a_loss_that_is_no_number_is_told_at_once_with_the_last_that_was() -> None:
    alarms = watched(losses(lambda n: learned(n) if n < 50 else None, noise=0))
    assert [(one.rule, one.step) for one in alarms] == [("nan", 50.0)]
    assert f"the last that was: {learned(49):.4g}" in alarms[0].words


def test_a_gradient_that_overflows_once_is_honest_and_a_row_of_them_is_not() -> None:
    overflow: Point = {"grad_norm": None, "loss": 2.0}
    fine: Point = {"grad_norm": 1.0, "loss": 1.9}
    assert watched([overflow, fine, overflow, overflow, fine] * 3) == []
    assert [one.rule for one in watched([fine, *[{"grad_norm": None, "loss": 0.0}] * 9])] == ["nan"]


def test_a_loss_that_rises_far_above_its_beginning_diverges() -> None:
    alarms = watched(losses(lambda n: learned(n) if n < 80 else learned(80) * 1.2 ** (n - 80), steps=120))
    assert [one.rule for one in alarms] == ["divergence"]
    assert 80 < (alarms[0].step or 0) <= 100


def test_a_loss_that_falls_back_to_where_it_began_diverges() -> None:
    alarms = watched(losses(lambda n: learned(n) if n < 80 else 2.3))
    assert [one.rule for one in alarms] == ["divergence"]


def test_a_rate_so_high_that_the_loss_is_worst_at_once_diverges() -> None:
    first = [4.2, 9.7, 16.6, 22.1, 22.2, 19.4, 16.4, 14.7]
    alarms = watched(losses(lambda n: first[n - 1] if n <= len(first) else 10.0, steps=20, noise=0), total=20)
    assert [(one.rule, one.step) for one in alarms] == [("divergence", 8.0)]


def test_a_loss_that_climbs_to_many_times_its_best_diverges_though_it_began_higher() -> None:
    alarms = watched(losses(lambda n: 400 * 0.9**n + 1 if n < 60 else 1.1 ** (n - 60), noise=0.1))
    assert [one.rule for one in alarms] == ["divergence"]
    assert 90 < (alarms[0].step or 0) < 105


def test_a_loss_near_nothing_may_be_many_times_its_best() -> None:
    assert watched(losses(lambda n: 0.7 * 0.9**n if n < 80 else 0.01, noise=0)) == []


def test_an_explosion_is_not_measured_by_itself() -> None:
    first = [2.5, 3.7, 31.0, 3_290.0, 264_000.0]
    alarms = watched(losses(lambda n: first[n - 1] if n <= len(first) else 3.0, steps=40, noise=0), total=40)
    assert ("divergence", 5.0) in [(one.rule, one.step) for one in alarms]


def test_the_noise_of_a_long_warm_up_is_seldom_a_divergence() -> None:
    runs = [losses(lambda n: 0.95, steps=60, noise=0.17, seed=seed) for seed in range(20)]
    assert sum(bool(watched(points, total=200)) for points in runs) <= 1


def test_a_spike_that_recovers_is_honest() -> None:
    assert watched(losses(lambda n: 9.0 if n in {60, 61} else learned(n))) == []


def test_a_loss_below_zero_is_compared_by_difference() -> None:
    assert watched(losses(lambda n: 1 - 0.05 * n)) == []


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.3])
def test_a_loss_that_stays_where_it_began_is_no_progress(noise: float) -> None:
    alarms = watched(losses(lambda n: 2.3, noise=noise))
    assert [one.rule for one in alarms] == ["no_progress"]
    assert 80 <= (alarms[0].step or 0) <= 130


def test_no_progress_is_seen_through_the_noise_of_small_batches() -> None:
    runs = [watched(losses(lambda n: 1.0, steps=60, noise=0.15, seed=seed), total=60) for seed in range(20)]
    assert sum([one.rule for one in alarms][:1] == ["no_progress"] for alarms in runs) >= 17


def test_coming_down_from_a_spike_of_the_beginning_is_no_progress() -> None:
    first = [2.3, 2.2, 2.1, 1.6, 1.7, 6.7, 7.1, 4.2, 8.6, 3.9, 8.1, 2.8, 5.2, 3.1]
    alarms = watched(losses(lambda n: first[n - 1] if n <= len(first) else 2.35, noise=0.05))
    assert [one.rule for one in alarms] == ["no_progress"]


def test_a_late_spike_does_not_undo_progress() -> None:
    assert watched(losses(lambda n: 700.0 if n == 100 else learned(n))) == []


def test_a_loss_that_falls_slowly_and_goes_on_falling_is_honest() -> None:
    assert watched(losses(lambda n: 2.3 - 0.001 * n, noise=0.01)) == []


def test_a_loss_beyond_all_bounds_is_told_after_two_values() -> None:
    alarms = watched(losses(lambda n: learned(n) if n < 100 else 700.0, steps=101))
    assert [(one.rule, one.step) for one in alarms] == [("divergence", 101.0)]


def test_a_rising_accuracy_is_progress() -> None:
    points = [point | {"accuracy": n / 200} for n, point in enumerate(losses(lambda n: 2.3))]
    assert watched(points) == []


def test_learning_by_reward_is_not_judged_by_its_loss() -> None:
    points = [point | {"reward": 0.1} for point in losses(lambda n: 0.001 * n)]
    assert watched(points) == []


def test_silence_is_a_hang_only_beyond_the_rhythm_and_once() -> None:
    watch = LossWatch(TERMS, total_steps=200)
    for n in range(1, 20):
        assert watch.read(n * 2.0, Readings(({"step": float(n), "loss": 1 / n},))) == ()
    assert watch.tick(38 + SILENCE) == ()
    told = watch.tick(40 + SILENCE)
    assert [(one.rule, one.step) for one in told] == [("hang", 19.0)]
    assert f"no line for {SILENCE + 2:.0f} s at step 19 of 200" in told[0].words
    assert watch.tick(50 + SILENCE) == ()


def test_a_hang_that_ended_can_be_told_again() -> None:
    watch = LossWatch(TERMS)
    for at in (1.0, 2.0, 3.0):
        watch.read(at, Readings(({"step": at, "loss": 1.0},)))
    assert [one.rule for one in watch.tick(4 + SILENCE)] == ["hang"]
    assert watch.read(5 + SILENCE, Readings(({"step": 4.0},))) == ()
    assert [one.rule for one in watch.tick(1e5)] == ["hang"]


def test_a_pause_as_long_as_those_before_is_no_hang() -> None:
    watch, at = LossWatch(TERMS), 0.0
    for n in range(1, 61):
        at += 2.0 if n % 20 else 280.0
        watch.read(at, Readings(({"step": float(n), "loss": 1 / n},)))
    assert watch.tick(at + 1_000) == ()
    assert [one.rule for one in watch.tick(at + 2_000)] == ["hang"]


def test_before_the_first_step_there_is_more_time() -> None:
    watch = LossWatch(TERMS)
    assert watch.tick(STARTING) == ()
    assert [one.rule for one in watch.tick(STARTING + 1)] == ["hang"]


def test_lines_without_steps_are_a_hang_in_the_end() -> None:
    watch = LossWatch(TERMS)
    for at in (1.0, 2.0, 3.0):
        watch.read(at, Readings(({"step": at, "loss": 1.0},)))
    alarms: list[Alarm] = []
    for n in range(200):
        at = 4.0 + n * 10
        alarms += [*watch.tick(at), *watch.read(at + 1, Readings(()))]
    assert {one.rule for one in alarms} == {"hang"}
    assert "though the log goes on" in alarms[0].words
    assert len(alarms) == 1


def test_a_run_that_will_pass_its_time_limit_is_told_long_before_and_once() -> None:
    alarms = watched(losses(learned), terms=Terms(1_000_000, timeout_seconds=200.0))
    assert [one.rule for one in alarms] == ["overrun"]
    assert (alarms[0].step or 0) < 60
    assert "past its time limit of 3 min" in alarms[0].words


def test_a_run_that_will_pass_its_budget_is_told() -> None:
    terms = Terms(3_600_000, timeout_seconds=1e6, budget_micro_usd=100_000)  # it will take 400 s, so 400,000
    assert [one.rule for one in watched(losses(learned), terms=terms)] == ["overrun"]


def test_the_newest_forecast_is_at_hand() -> None:
    watch = LossWatch(TERMS, total_steps=100)
    assert watch.forecast is None
    for n in range(1, 30):
        watch.read(n * 2.0, Readings(({"step": float(n)},)))
    assert watch.forecast is not None
    assert watch.forecast.seconds_low < 142 < watch.forecast.seconds_high


def test_it_understands_what_the_reader_finds() -> None:
    reader, watch = MetricReader(), LossWatch(TERMS)
    alarms: list[Alarm] = []
    for n in range(1, 40):
        bar = f"\r {n}%|█  | {n}/100 [00:{n:02d}<01:00,  1.00it/s]"
        alarms += watch.read(
            float(n), reader.read(f"{bar}\n{{'loss': '{'0.5' if n < 30 else 'nan'}', 'epoch': '0.1'}}\n")
        )
    assert [(one.rule, one.step) for one in alarms] == [("nan", 30.0)]
    assert watch.forecast is not None


numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(st.floats(min_value=0, max_value=1e9), st.dictionaries(
    st.sampled_from(["step", "loss", "eval_loss", "grad_norm", "reward", "accuracy", "total_steps"]), numbers
)), max_size=60))  # fmt: skip
def test_whatever_is_measured_each_rule_speaks_in_plain_words(feed: list[tuple[float, Point]]) -> None:
    watch = LossWatch(TERMS)
    for at, point in feed:
        for alarm in (*watch.read(at, Readings((point,))), *watch.tick(at)):
            assert alarm.words.endswith(".")
