"""Which model a session thinks with, on whose machine, with whose token, at whose cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.events import ModelChosen, MoneySettled, ToolEnded
from agent.job_events import JobSubmitting
from agent.models.selection import Wish
from agent.session import Session
from agent.sessions import Sessions
from agent.settings import Settings
from tests.agent.living import LISTED, code, done, events
from tests.doubles.model_server import ModelServer
from tools.problem import Problem
from tools.services import Places

FINAL = code('final_answer("Done.")')
SECRET = "hf_" + "o" * 30


@contextmanager
def app(folder: Path, server: ModelServer, **settings: Any) -> Iterator[Sessions]:
    places = Places(router_url=server.base_url, hf_endpoint=server.base_url)
    given: dict[str, Any] = {"model_id": "ada/thinker", "places": places} | settings
    sessions = Sessions(Settings(data_dir=folder, **given))
    try:
        yield sessions
    finally:
        sessions.close()


def asked_with(server: ModelServer) -> list[str]:
    return [asked.headers.get("authorization", "") for asked in server.requests]


def chosen(session: Session) -> list[str]:
    return [event.model for event in events(session, ModelChosen)]


def test_a_spaces_own_token_is_not_for_its_visitors(tmp_path: Path) -> None:
    with ModelServer([FINAL], models=[LISTED]) as server, app(tmp_path, server, on_space=True, hf_token=SECRET) as it:
        assert "Sign in" in it.model("visitor").missing
        end = done(it.create("visitor"), "Go")
        assert end.why == "failed"
        assert "Sign in" in end.message
        assert not server.requests


def test_who_comes_over_the_network_has_neither_the_machines_token_nor_its_secrets_nor_the_machine(
    tmp_path: Path,
) -> None:
    mine = {"hf_token": SECRET, "job_secrets": {"WANDB_API_KEY": "s3cret"}}
    with ModelServer([FINAL] * 2, models=[LISTED]) as server, app(tmp_path, server, **mine) as it:
        end = done(it.create("visitor:1"), "Go")
        assert end.why == "failed"
        assert not server.requests
        refused = it.create("visitor:2")
        done(refused, "/job_run script=print(1)")
        assert events(refused, ToolEnded)[0].why == "problem"
        assert events(refused, JobSubmitting) == []
        assert done(it.create("local"), "Go").why == "answered"


def test_an_owner_may_pay_for_visitors_up_to_a_cap_of_each_and_the_day(tmp_path: Path) -> None:
    allowed = {"on_space": True, "hf_token": SECRET, "allow_owner_token": True, "owner_cap_per_visitor": 300_000}
    with ModelServer([FINAL] * 3, models=[LISTED]) as server, app(tmp_path, server, **allowed) as it:
        session = it.create("visitor")
        assert done(session, "Go").why == "answered"
        assert asked_with(server) == [f"Bearer {SECRET}"]
        assert sum(event.micro_usd for event in events(session, MoneySettled)) > 0
    poor = allowed | {"owner_cap_per_visitor": 100}
    with ModelServer([FINAL], models=[LISTED]) as server, app(tmp_path, server, **poor) as it:
        end = done(it.create("visitor"), "Go")
        assert end.why == "failed"
        assert "Sign in" in end.message
        assert not server.requests


def test_a_visitors_own_token_comes_before_the_owners(tmp_path: Path) -> None:
    settings = {"on_space": True, "hf_token": SECRET, "allow_owner_token": True, "bill_to": "acme"}
    with ModelServer([FINAL], models=[LISTED]) as server, app(tmp_path, server, **settings) as it:
        it.lend_token("visitor", "hf_visitor", check=False)
        done(it.create("visitor"), "Go")
        assert asked_with(server) == ["Bearer hf_visitor"]
        assert "x-hf-bill-to" not in server.requests[0].headers


def test_a_model_picked_once_stays_over_a_restart_and_a_new_default(tmp_path: Path) -> None:
    with ModelServer([FINAL] * 3, models=[LISTED]) as server:
        with app(tmp_path, server, hf_token=SECRET) as it:
            session = it.create("local")
            session.choose(Wish("ada/thinker:small"))
            id = session.id
        with app(tmp_path, server, hf_token=SECRET, model_id="ada/thinker:swift") as it:
            done(it.open(id, "local"), "Go")
            assert server.requests[0].body["model"] == "ada/thinker:small"


def test_a_price_that_has_changed_is_paid_from_the_next_start_on_and_the_provider_stays(tmp_path: Path) -> None:
    with ModelServer([FINAL] * 3, models=[LISTED]) as server:
        with app(tmp_path, server, hf_token=SECRET, thinking_micro_usd=5_000_000) as it:
            session = it.create("local")
            done(session, "Go")
            id = session.id
        dearer = {"provider": "swift", "status": "live", "context_length": 200_000}
        quicker = {"provider": "quick", "status": "live", "context_length": 200_000, "throughput": 900}
        priced = [dearer | {"pricing": {"input": 30, "output": 150}}, quicker | {"pricing": {"input": 1, "output": 1}}]
        server.models[0] = {**LISTED, "providers": priced}
        with app(tmp_path, server, hf_token=SECRET, thinking_micro_usd=5_000_000) as it:
            session = it.open(id, "local")
            done(session, "Go on")
            assert chosen(session) == ["ada/thinker:swift"] * 2
            first, second = events(session, MoneySettled)
            assert second.micro_usd == 10 * first.micro_usd


def test_a_default_that_is_another_now_is_followed(tmp_path: Path) -> None:
    other = {**LISTED, "id": "bo/other"}
    with ModelServer([FINAL] * 3, models=[LISTED, other]) as server:
        with app(tmp_path, server, hf_token=SECRET) as it:
            session = it.create("local")
            done(session, "Go")
            id = session.id
        with app(tmp_path, server, hf_token=SECRET, model_id="bo/other") as it:
            session = it.open(id, "local")
            done(session, "Go")
            assert chosen(session) == ["ada/thinker:swift", "bo/other:swift"]


def test_a_set_server_never_sees_the_hugging_face_token(tmp_path: Path) -> None:
    with ModelServer([FINAL], models=[LISTED]) as server:
        own = {"hf_token": SECRET, "model_base_url": server.base_url, "model_id": "local"}
        with app(tmp_path, server, **own, places=Places(hf_endpoint=server.base_url)) as it:
            session = it.create("local")
            done(session, "Go")
            assert SECRET not in str(asked_with(server))
            assert events(session, ModelChosen)[0].free
            assert events(session, MoneySettled) == []


def test_a_slash_at_the_end_of_the_set_address_does_not_lose_the_key(tmp_path: Path) -> None:
    with ModelServer([FINAL]) as server:
        own = {"model_base_url": f"{server.base_url}/", "model_api_key": "own-key", "model_id": "local"}
        with app(tmp_path, server, **own, places=Places(hf_endpoint=server.base_url)) as it:
            assert done(it.create("local"), "Go").why == "answered"
            assert asked_with(server) == ["Bearer own-key"]


def test_an_address_that_nobody_offered_is_not_asked(tmp_path: Path) -> None:
    with ModelServer([FINAL], models=[LISTED]) as server, app(tmp_path, server, hf_token=SECRET, on_space=True) as it:
        it.lend_token("local", "hf_visitor", check=False)
        with pytest.raises(Problem):
            it.create("local").choose(Wish("any", "http://169.254.169.254/v1"))
