"""Prices and what fits: from the live list alone, never a guess."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.desk import desk
from tests.doubles.hub import FakeHub, Fault
from tests.doubles.hub.jobs import flavor
from tools.hub.hub import Hub
from tools.jobs import memory
from tools.jobs.hardware import hardware
from tools.jobs.prices import OLDEST, Prices, read
from tools.problem import Problem


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_prices_are_whole_micro_dollars_per_hour_rounded_up() -> None:
    assert read(flavor("a", 167)).price_micro_usd_per_hour == 10_020
    assert read(flavor("a", 0.001)).price_micro_usd_per_hour == 1
    assert read(flavor("a", 100) | {"unitLabel": "hour"}).price_micro_usd_per_hour == 100


@pytest.mark.parametrize(
    "odd",
    [
        {"unitCostMicroUSD": None},
        {"unitCostMicroUSD": 0},
        {"unitCostMicroUSD": -5},
        {"unitCostMicroUSD": True},
        {"unitCostMicroUSD": "167"},
        {"unitCostMicroUSD": float("nan")},
        {"unitCostMicroUSD": 1e15},
        {"unitLabel": "fortnight"},
        {"unitLabel": None},
    ],
)
def test_a_price_that_makes_no_sense_is_asked_about_and_never_free(odd: Mapping[str, Any]) -> None:
    prices = Prices(lambda: [{**flavor("odd", 167), **odd}])
    with pytest.raises(Problem, match="names no price for odd"):
        prices.quote("odd")


def test_an_unknown_flavor_names_those_there_are(hub: FakeHub) -> None:
    with pytest.raises(Problem, match=r"no hardware 'h900'.*l4x1"):
        Prices(Hub("", hub.url).hardware).quote("h900")


def test_a_list_is_good_for_six_hours_and_not_a_second_longer(hub: FakeHub) -> None:
    clock = Clock()
    prices = Prices(Hub("", hub.url).hardware, clock)
    assert prices.quote("l4x1").age == 0
    hub.faults.append(Fault("/api/jobs/hardware", status=500))
    clock.now += OLDEST
    assert prices.quote("l4x1").age == OLDEST
    clock.now += 1
    with pytest.raises(Problem, match="Prices are not known"):
        prices.quote("l4x1")
    hub.faults.clear()
    assert prices.quote("l4x1").age == 0


def test_a_clock_that_is_set_back_makes_no_list_young(hub: FakeHub) -> None:
    clock = Clock()
    prices = Prices(Hub("", hub.url).hardware, clock)
    prices.quote("l4x1")
    hub.faults.append(Fault("/api/jobs/hardware", status=500))
    clock.now -= 10
    with pytest.raises(Problem, match="Prices are not known"):
        prices.quote("l4x1")


def test_a_price_that_changed_is_seen_when_it_matters(hub: FakeHub) -> None:
    prices = Prices(Hub("", hub.url).hardware, Clock())
    before = prices.quote("l4x1").micro_usd_per_hour
    hub.jobs.hardware[2]["unitCostMicroUSD"] += 10
    assert prices.quote("l4x1").micro_usd_per_hour == before
    assert prices.quote("l4x1", fresh=True).micro_usd_per_hour == before + 600


@pytest.mark.parametrize(
    ("parameters", "method", "low", "high"),
    [
        (7e9, "full", 112, 122),  # 16 bytes a parameter
        (7e9, "lora", 19, 23),
        (7e9, "qlora", 9, 13),
        (7e9, "inference", 15, 19),
        (66e6, "full", 2, 6),
    ],
)
def test_memory_is_the_sum_of_its_terms(parameters: float, method: str, low: float, high: float) -> None:
    one = memory.estimate(parameters, method)
    assert low < one.total_gb < high
    assert one.words().endswith(f"= {one.total_gb:.1f} GB")
    assert "weights" in one.words()


def test_several_gpus_share_what_can_be_shared() -> None:
    small, large = read(flavor("a", 1, 1, "A100", 80)), read(flavor("b", 1, 8, "H200", 1128))
    assert not memory.estimate(7e9, "full").fits(small)
    assert memory.estimate(7e9, "full").fits(large)
    assert memory.estimate(7e9, "qlora").fits(small)
    assert not memory.estimate(1e6, "lora").fits(read(flavor("cpu-basic", 167)))


@pytest.mark.parametrize(
    ("need", "parameters"),
    [("7B full", 7e9), ("Qwen/Qwen3-0.6B", 0.6e9), ("a 350M model", 350e6), ("Qwen3-30B-A3B", 30e9), ("bert 4bit", 0)],
)
def test_a_size_is_read_as_people_write_it(need: str, parameters: float) -> None:
    assert memory.size(need) == parameters


def test_what_fits_a_model_of_the_hub_comes_from_its_own_weights(hub: FakeHub, tmp_path: Path) -> None:
    hub.repos["model"]["bo/secret-llm"]["safetensors"] = {"parameters": {"BF16": 8_190_735_360}, "total": 8_190_735_360}
    at = desk(Hub("", hub.url), folder=tmp_path)
    found = hardware(at, "bo/secret-llm lora")
    (one,) = found["estimates"]
    assert (found["parameters"], found["source"]) == (8_190_735_360, "safetensors of bo/secret-llm")
    assert one["method"] == "lora"
    assert "t4-small" not in one["fits"]
    assert "a100-large" in one["fits"]
    assert "weights 16.4" in at.said[0]
    names = [row["name"] for row in found["flavors"]]
    assert names[0] == "cpu-basic"
    assert len(names) == len(hub.jobs.hardware)


def test_a_need_without_a_method_is_told_for_each_and_one_without_a_size_is_a_problem(hub: FakeHub) -> None:
    at = desk(Hub("", hub.url))
    assert [one["method"] for one in hardware(at, "7B")["estimates"]] == ["full", "lora", "qlora"]
    assert "estimates" not in hardware(at)
    with pytest.raises(Problem, match="How large"):
        hardware(at, "something good")
    with pytest.raises(Problem, match="ada/absent"):
        hardware(at, "ada/absent lora")
    assert hardware(at, "ada/absent-7B lora")["parameters"] == 7e9
