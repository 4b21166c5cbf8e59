"""What can be chosen in an app, and what it thinks with when nobody chooses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.models.catalogue import Catalogue
from agent.models.choices import KEPT_SECONDS, Choices
from agent.settings import Settings
from tests.doubles.answering import VLLM, Answering
from tests.doubles.hub import FakeHub, Fault
from tools.problem import Problem
from tools.web import Web


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.people["ada"]["orgs"] = [{"name": "lab", "canPay": True, "plan": "team"}]
        yield hub


@pytest.fixture
def clock() -> Clock:
    return Clock()


def choices(hub: FakeHub, clock: Clock, folder: Path, ports: tuple[int, ...] = (), **settings: Any) -> Choices:
    tokens = {"hf:ada": "hf_ada", "hf:bo": "hf_bo", "hf:old": "hf_expired"}
    made = Settings(data_dir=folder, places=hub.places(), **settings)
    return Choices(
        made, Catalogue(Web(hub.places()), clock), lambda owner: tokens.get(owner, ""), ports=ports, clock=clock
    )


def test_nobody_choosing_means_the_first_preset_that_is_to_be_had(hub: FakeHub, clock: Clock, tmp_path: Path) -> None:
    here = choices(hub, clock, tmp_path, bill_to="lab")
    assert here.default().chosen.model_id == "zai-org/GLM-5.3-Flash:novita"
    assert (here.default().base_url, here.default().bill_to, here.default().chosen.note) == ("", "lab", "")
    hub.router_models = hub.router_models[1:]
    clock.now += KEPT_SECONDS
    found = here.default().chosen
    assert found.model_id == "zai-org/GLM-5.3:novita"
    assert found.note == "The router lists no model 'zai-org/GLM-5.3-Flash'. The next is 'strong'."


def test_a_set_model_is_pinned_and_a_wrong_one_is_not_replaced(hub: FakeHub, clock: Clock, tmp_path: Path) -> None:
    found = choices(hub, clock, tmp_path, model_id="cheap").default().chosen
    assert found.model_id == "openai/gpt-oss-120b:novita"
    with pytest.raises(Problem, match="lists no model 'x/y'"):
        choices(hub, clock, tmp_path, model_id="x/y").default()


def test_a_set_server_is_thought_with_though_the_router_is_away(hub: FakeHub, clock: Clock, tmp_path: Path) -> None:
    hub.faults.append(Fault("/router", status=500))
    with Answering(VLLM) as server:
        here = choices(hub, clock, tmp_path, model_base_url=f"{server.base_url}/", model_id="Qwen/Qwen3-8B")
        found = here.default()
        here.default()
        assert (found.base_url, found.chosen.model_id, found.chosen.window) == (
            server.base_url,
            "Qwen/Qwen3-8B",
            40_960,
        )
        assert found.chosen.price_in == 0
        assert len(server.asked) == 1
        assert here.select("local", "Qwen/Qwen3-8B", server.base_url, bill_to="") == found


def test_a_server_that_does_not_tell_its_window_is_not_asked_each_time(
    hub: FakeHub, clock: Clock, tmp_path: Path
) -> None:
    with Answering({}) as server:
        here = choices(hub, clock, tmp_path, model_base_url=server.base_url, model_id="x")
        assert here.default().chosen.window is None
        asked = len(server.asked)
        here.default()
        assert len(server.asked) == asked


def test_what_a_server_elsewhere_costs_is_not_known(hub: FakeHub, clock: Clock, tmp_path: Path) -> None:
    here = choices(hub, clock, tmp_path, model_base_url="http://model.invalid/v1", model_id="x")
    chosen = here.default().chosen
    assert (chosen.provider, chosen.window, chosen.price_in, chosen.price_out) == ("model.invalid", None, None, None)


def test_servers_on_this_machine_are_offered_and_not_the_default(hub: FakeHub, clock: Clock, tmp_path: Path) -> None:
    with Answering(VLLM) as server:
        here = choices(hub, clock, tmp_path, ports=(server.port,))
        assert here.default().base_url == ""
        assert server.asked == []
        assert [offer.name for offer in here.own()] == ["vLLM"]
        assert here.select("local", "Qwen/Qwen3-8B", server.base_url, bill_to="").base_url == server.base_url
        assert choices(hub, clock, tmp_path, ports=(server.port,), on_space=True).own() == ()


def test_payers_are_asked_of_the_hub_once_in_five_minutes_and_for_each_user(
    hub: FakeHub, clock: Clock, tmp_path: Path
) -> None:
    here = choices(hub, clock, tmp_path)
    for _ in range(3):
        assert [payer.name for payer in here.payers("hf:ada")] == ["ada", "lab"]
        assert [payer.name for payer in here.payers("hf:bo")] == ["bo"]
        assert here.payers("visitor:x") == ()
    assert sum(asked.path == "/api/whoami-v2" for asked in hub.asked) == 2
    clock.now += KEPT_SECONDS
    hub.people["ada"]["orgs"] = []
    assert [payer.name for payer in here.payers("hf:ada")] == ["ada"]


def test_nobody_bills_an_organization_that_is_not_theirs(hub: FakeHub, clock: Clock, tmp_path: Path) -> None:
    here = choices(hub, clock, tmp_path)
    assert here.select("hf:ada", "fast", "", bill_to="lab").bill_to == "lab"
    for owner in ("hf:bo", "visitor:x"):
        with pytest.raises(Problem, match="'lab' cannot pay for you"):
            here.select(owner, "fast", "", bill_to="lab")
    with pytest.raises(Problem):
        here.payers("hf:old")
