"""What the router lists: read live, priced to the micro-dollar, and pinned to one provider."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.models.catalogue import AGAIN_SECONDS, FRESH_SECONDS, Catalogue
from agent.models.listing import Chosen, Listing, estimate, price, read_listing
from tests.doubles.hub import FakeHub, Fault
from tests.doubles.router_list import MODELS, listing, model, provider
from tools.problem import Problem
from tools.services import Places
from tools.web import Web

PATH = "/router/v1/models"


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def listed(*models: dict[str, Any]) -> Listing:
    return read_listing(json.dumps(listing(*(models or MODELS))).encode(), 0.0)


def readings(hub: FakeHub) -> int:
    return sum(asked.path == PATH for asked in hub.asked)


# --- reading it live ---


def test_the_list_is_read_from_the_router_and_kept_for_five_minutes(hub: FakeHub) -> None:
    clock = Clock()
    catalogue = Catalogue(Web(hub.places()), clock)
    assert [one.id for one in catalogue.listing().models] == [told["id"] for told in MODELS]
    clock.now += FRESH_SECONDS - 1
    catalogue.listing()
    assert readings(hub) == 1
    hub.router_models = [model("ada/new")]
    clock.now += 2
    assert [one.id for one in catalogue.listing().models] == ["ada/new"]
    assert readings(hub) == 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault(PATH, status=500),
        Fault(PATH, status=429, headers={"retry-after": "60"}),
        Fault(PATH, status=200, body=b"<html>"),
        Fault(PATH, status=200, body=b'{"data": []}'),
        Fault(PATH, status=200, body=b"[" * 100_000),
        Fault(PATH, status=200, body=b'{"data": ["x"]}', cut=True),
        Fault(PATH, location="https://evil.example/v1/models"),
    ],
    ids=["down", "throttled", "no JSON", "empty", "nested", "cut", "sent elsewhere"],
)
def test_an_older_list_is_used_and_said_to_be_old_when_the_router_fails(hub: FakeHub, fault: Fault) -> None:
    clock = Clock()
    catalogue = Catalogue(Web(hub.places()), clock)
    before = catalogue.resolve("zai-org/GLM-5.3")
    hub.faults.append(fault)
    clock.now += FRESH_SECONDS + 1
    after = catalogue.resolve("zai-org/GLM-5.3")
    assert after.model_id == before.model_id
    assert before.note == ""
    assert after.note.startswith("The list of models is from 2026-09-21 14:13 UTC:")


def test_after_a_failure_the_router_is_left_alone_for_a_moment_and_then_asked_again(hub: FakeHub) -> None:
    clock = Clock()
    catalogue = Catalogue(Web(hub.places()), clock)
    catalogue.listing()
    clock.now += FRESH_SECONDS + 1
    hub.faults.append(Fault(PATH, status=500, times=1))
    assert catalogue.listing().trouble
    clock.now += AGAIN_SECONDS - 1
    assert catalogue.listing().trouble
    assert readings(hub) == 2
    clock.now += 2
    assert catalogue.listing().trouble == ""
    assert readings(hub) == 3


def test_without_any_list_the_reason_is_told(hub: FakeHub) -> None:
    hub.faults.append(Fault(PATH, status=503))
    with pytest.raises(Problem, match="answered 503"):
        Catalogue(Web(hub.places())).listing()


def test_many_threads_cause_one_reading(hub: FakeHub) -> None:
    hub.faults.append(Fault(PATH, delay=0.2))
    catalogue = Catalogue(Web(hub.places()))
    gate = threading.Barrier(8)

    def ask(_: int) -> int:
        gate.wait()
        return len(catalogue.listing().models)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {len(MODELS)}
    assert readings(hub) == 1


def test_no_token_is_sent_for_the_list(hub: FakeHub) -> None:
    Catalogue(Web(hub.places())).listing()
    assert "authorization" not in hub.asked[-1].headers


# --- prices ---


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("0.15", 150_000),
        ("0.435", 435_000),
        ("1.69", 1_690_000),
        ("15", 15_000_000),
        ("0.30000000000000004", 300_000),
        ("0.0000001", 1),
        ("0.1234561", 123_457),
        ("0", 0),
        ("-1", None),
        ("1e999999999", None),
        ("NaN", None),
        ("Infinity", None),
        ("true", None),
        ('"0.1"', None),
        ("null", None),
    ],
)
def test_a_price_is_read_to_the_micro_dollar_or_not_at_all(text: str, micro: int | None) -> None:
    body = json.dumps(listing(model("a/b", provider("p", prices=(1, 123_456)))))
    found = read_listing(body.replace("123456", text).encode(), 0.0).models[0].providers[0]
    assert found.price_out == micro
    assert found.price_in == 1_000_000


@given(st.integers(1, 10**12), st.integers(0, 6))
def test_every_price_in_whole_micro_dollars_is_exact(micro: int, zeros: int) -> None:
    assert price(Decimal(f"{micro // 10**6}.{micro % 10**6:06d}" + "0" * zeros)) == micro


def test_a_missing_price_is_unknown_and_a_free_one_is_nothing() -> None:
    unknown, free, partly = (
        listed(
            model(
                "a/b",
                provider("unknown", prices=None),
                provider("free", prices=None, is_free=True),
                provider("partly", prices=None, pricing={"input": 1}),
            )
        )
        .models[0]
        .providers
    )
    assert (unknown.price_in, unknown.price_out, estimate(unknown)) == (None, None, None)
    assert (free.price_in, free.price_out, estimate(free)) == (0, 0, 0)
    assert (partly.price_in, estimate(partly)) == (1_000_000, None)


def test_the_estimates_of_the_presets_are_those_of_the_published_table() -> None:
    found = {preset.name: estimate(preset.chosen) for preset in listed().presets() if preset.chosen}
    assert found == {"fast": 95_000, "strong": 876_000, "best": 2_100_000, "cheap": 35_000}


@given(*[st.integers(0, 10**9)] * 4)
def test_an_estimate_is_rounded_up(price_in: int, price_out: int, tokens_in: int, tokens_out: int) -> None:
    chosen = Chosen("a/b:p", "p", None, price_in, price_out, None, None)
    exact = Fraction(tokens_in * price_in + tokens_out * price_out, 10**6)
    assert estimate(chosen, tokens_in, tokens_out) == ceil(exact)


def test_a_listed_price_of_cached_input_is_kept() -> None:
    told = provider("p", pricing={"input": 1, "output": 2, "cached_input": 0.1})
    assert listed(model("a/b", told)).resolve("a/b").price_cached == 100_000
    assert listed().resolve("zai-org/GLM-5.3").price_cached is None


# --- choosing a provider ---

MANY = listed(
    model(
        "ada/many",
        provider("small", 65_536, (0.01, 0.01), throughput=900.0),
        provider("dead", 1_000_000, (0.02, 0.02), throughput=900.0, status="error"),
        provider("gone", 1_000_000, (0.02, 0.02), throughput=900.0, status="offline"),
        provider("silent", 1_000_000, None, throughput=900.0),
        provider("slow", 131_072, (0.3, 0.5), throughput=10.0),
        provider("quick", 128_000, (0.5, 2.0), throughput=90.0),
        provider("vague", None, (0.01, 0.01), throughput=None),
    ),
    model("ada/narrow", provider("a", 8_192), provider("b", 65_536), provider("c", None)),
    model("ada/unknown", provider("a", None)),
    model("ada/down", provider("a", status="error")),
    model("ada/image", writes="image"),
)


@pytest.mark.parametrize(
    ("asked", "pinned"),
    [
        ("ada/many", "ada/many:quick"),
        ("ada/many:fastest", "ada/many:quick"),
        ("ada/many:cheapest", "ada/many:slow"),  # by output, as the router does
        ("ada/many:preferred", "ada/many:slow"),
        ("ada/many:small", "ada/many:small"),
        ("ada/many:SILENT", "ada/many:silent"),
        (" ADA/Many:Fastest ", "ada/many:quick"),
        ("ada/narrow", "ada/narrow:b"),
        ("ada/unknown", "ada/unknown:a"),
    ],
)
def test_an_id_is_pinned_to_a_live_wide_and_priced_provider(asked: str, pinned: str) -> None:
    chosen = MANY.resolve(asked)
    assert chosen.model_id == pinned
    assert chosen.provider == pinned.partition(":")[2]


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ("ada/many", ""),
        ("ada/many:small", "small reads only 65,536 tokens at once."),
        ("ada/many:dead", "dead is not live just now."),
        ("ada/many:silent", "silent does not say what it costs."),
        ("ada/narrow", "b reads only 65,536 tokens at once."),
        ("ada/unknown", "a does not say how much it reads at once."),
        (
            "ada/many:preferred",
            "The order in your settings is not known here: the router's first was taken.",
        ),
    ],
)
def test_what_a_user_should_know_of_a_choice_is_noted(asked: str, word: str) -> None:
    assert MANY.resolve(asked).note == word


def test_the_order_of_the_list_does_not_change_the_choice() -> None:
    providers = [provider(name, prices=(1, 1)) for name in "edcba"]
    for order in (providers, providers[::-1]):
        assert listed(model("a/b", *order)).resolve("a/b").model_id == "a/b:a"
        assert listed(model("a/b", *order)).resolve("a/b:cheapest").model_id == "a/b:a"


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        ("zai-org/GLM-5.3-Flush", "lists no model 'zai-org/GLM-5.3-Flush'", "zai-org/GLM-5.3-Flash"),
        ("GLM-5.3", "lists no model 'GLM-5.3'", "zai-org/GLM-5.3"),
        ("zai-org/GLM-5.3:cerebras", "'cerebras' does not serve zai-org/GLM-5.3", "It is served by novita."),
        ("", "lists no model ''", "huggingface.co/models"),
        ("x" * 5000, "lists no model 'xxx", "huggingface.co/models"),
        ("a/b\n:c", "lists no model", ""),
    ],
)
def test_an_id_that_is_not_listed_is_refused_with_near_names(asked: str, message: str, hint: str) -> None:
    with pytest.raises(Problem, match=message) as problem:
        listed().resolve(asked)
    assert hint in problem.value.hint
    assert len(problem.value.message) < 200


def test_a_model_that_nobody_serves_now_is_refused_until_it_is_live() -> None:
    with pytest.raises(Problem, match="No provider of ada/down is live"):
        MANY.resolve("ada/down")


def test_a_model_that_writes_no_text_is_not_listed() -> None:
    assert "ada/image" not in {one.id for one in MANY.models}


def test_entries_that_make_no_sense_are_left_out_and_the_others_stay() -> None:
    odd: list[Any] = [
        None,
        "x",
        [],
        {"id": 5, "providers": []},
        {"id": "no slash", "providers": [provider("p")]},
        {"id": "a/b", "providers": "none"},
        {"id": "a/c", "providers": [None, {"provider": "evil\nname"}, {"provider": "cheapest"}]},
        {"id": "<b>/x", "providers": [provider("p")]},
        {"id": "a/b:c", "providers": [provider("p")]},
    ]
    widths = [provider("p", window) for window in (True, -1, 0, "9", 10**12)]  # type: ignore[arg-type]
    found = listed(*odd, *(model(f"a/w{n}", told) for n, told in enumerate(widths)), model("a/good"))
    assert [one.id for one in found.models] == [*(f"a/w{n}" for n in range(5)), "a/good"]
    assert {one.providers[0].window for one in found.models[:5]} == {None}


ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["live", "a/b", "p"])
)
FIELDS = (
    ["data", "id", "providers", "provider", "status", "context_length", "pricing", "input", "output", "is_free"],
    ["architecture", "output_modalities", "throughput", "first_token_latency_ms", "supports_tools"],
)
TREES = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*FIELDS[0], *FIELDS[1]]),
            inner,
            max_size=8,
        )
    ),
    max_leaves=30,
)


@given(TREES, TREES)
def test_whatever_the_router_sends_is_read_or_refused_in_one_way(whole: Any, entry: Any) -> None:
    told = {"id": "a/b", "providers": [{"provider": "p", "status": "live", "context_length": entry, "pricing": entry}]}
    for body in (json.dumps(whole), json.dumps({"data": [entry, told, {"id": "a/c", "providers": [entry]}]})):
        try:
            found = read_listing(body.encode(), 0.0)
        except ValueError:
            continue
        for one in found.models:
            for each in one.providers:
                assert all(p is None or (type(p) is int and p >= 0) for p in (each.price_in, each.price_out))
                assert each.window is None or each.window > 0
            if one.live:
                assert found.resolve(one.id).model_id.startswith(f"{one.id}:")
        found.presets()


@given(st.text(max_size=40))
def test_whatever_is_typed_is_refused_as_a_problem(typed: str) -> None:
    with pytest.raises(Problem, match="lists no model"):
        MANY.resolve(typed)
    with pytest.raises(Problem, match="does not serve ada/many"):
        MANY.resolve(f"ada/many:-{typed}")


# --- presets ---


def test_the_presets_are_offered_by_name_with_fast_as_the_default() -> None:
    assert {preset.name: preset.chosen and preset.chosen.model_id for preset in listed().presets()} == {
        "fast": "zai-org/GLM-5.3-Flash:novita",
        "strong": "zai-org/GLM-5.3:novita",
        "best": "moonshotai/Kimi-K3:together",
        "cheap": "openai/gpt-oss-120b:novita",
    }
    assert listed().default().name == "fast"


def test_a_preset_that_is_not_listed_any_more_is_marked_and_the_next_is_offered() -> None:
    left = listed(*(told for told in MODELS if "Flash" not in told["id"] and "Kimi" not in told["id"]))
    fast, strong, best, cheap = left.presets()
    assert fast.chosen is None
    assert fast.note == "The router lists no model 'zai-org/GLM-5.3-Flash'. The next is 'strong'."
    assert best.note.endswith("The next is 'cheap'.")
    assert strong.chosen is not None
    assert cheap.chosen is not None
    assert left.default().name == "strong"
    assert left.default().note == fast.note


def test_with_no_preset_left_there_is_no_default() -> None:
    with pytest.raises(Problem, match="none of the preset models"):
        listed(model("a/b")).default()


def test_without_a_network_it_is_said_what_could_not_be_read_and_what_to_do() -> None:
    catalogue = Catalogue(Web(Places(router_url="http://127.0.0.1:9")))
    with pytest.raises(Problem, match="list of models cannot be had") as problem:
        catalogue.default()
    assert "Check the network" in problem.value.hint
