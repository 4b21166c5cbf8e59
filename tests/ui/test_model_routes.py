"""What the page is told of models and prices, and who may choose what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.models.catalogue import Catalogue
from agent.models.choices import Choices
from agent.models.menu import Menu
from agent.models.payers import Payer
from agent.models.selection import Selection, Wish
from agent.session import Session
from agent.sessions import Sessions
from agent.settings import Settings
from tests.doubles.answering import VLLM, Answering
from tests.doubles.choosing import OLLAMA, Choosing
from tests.doubles.hub import FakeHub
from tests.doubles.router_list import model, provider
from tests.ui.serving import Site, serving
from tools.web import Web
from ui.login import Login


@pytest.fixture
def choosing() -> Choosing:
    return Choosing()


@pytest.fixture
def site(tmp_path: Path, choosing: Choosing) -> Iterator[Site]:
    with (
        closing(Sessions(Settings(data_dir=tmp_path))) as sessions,
        serving(sessions, Login(), choosing.menu()) as site,
    ):
        yield site


@pytest.fixture
def session(site: Site) -> Session:
    return site.sessions.create("local")


def test_the_page_is_told_presets_models_own_servers_payers_and_what_is_current(site: Site, choosing: Choosing) -> None:
    choosing.payers = [Payer("ada", ""), Payer("lab", "lab", "team", False, "Its spending limit is reached.")]
    told = site.get("models").json
    assert told["presets"][0] == {
        "name": "fast",
        "id": "zai-org/GLM-5.3-Flash",
        "available": True,
        "provider": "novita",
        "window": 1_048_576,
        "in": 150_000,
        "out": 500_000,
        "estimate": 95_000,
        "tools": True,
        "note": "",
    }
    assert [preset["name"] for preset in told["presets"]] == ["fast", "strong", "best", "cheap"]
    assert {one["id"]: one["estimate"] for one in told["models"]}["openai/gpt-oss-120b"] == 205_000
    assert told["own"] == [
        {
            "name": "Ollama",
            "base_url": OLLAMA.base_url,
            "models": [
                {"id": "qwen3:4b", "window": 8_192, "most": 262_144},
                {"id": "big", "window": None, "most": 65_536},
            ],
        }
    ]
    assert [payer["bill_to"] for payer in told["payers"]] == ["", "lab"]
    assert told["payers"][1]["available"] is False
    assert told["current"]["id"] == "zai-org/GLM-5.3-Flash:novita"
    assert told["trouble"] == ""


def test_a_price_that_is_not_known_is_null_and_never_zero(site: Site, choosing: Choosing) -> None:
    choosing.listed = [*choosing.listed, model("ada/x", provider("p", None, None))]
    [told] = [one for one in site.get("models").json["models"] if one["id"] == "ada/x"]
    assert (told["in"], told["out"], told["estimate"], told["window"]) == (None, None, None, None)
    assert told["note"] == "p does not say how much it reads at once. p does not say what it costs."


def test_a_preset_that_is_gone_is_marked_with_the_reason(site: Site, choosing: Choosing) -> None:
    choosing.listed = choosing.listed[1:]
    told = site.get("models").json["presets"][0]
    assert told["available"] is False
    assert told["note"].endswith("The next is 'strong'.")
    assert "estimate" not in told


def test_without_the_routers_list_own_servers_and_payers_are_still_told(site: Site, choosing: Choosing) -> None:
    choosing.trouble = "The router did not answer."
    told = site.get("models").json
    assert (told["presets"], told["models"], told["current"]) == ([], [], None)
    assert told["trouble"] == "The router did not answer. Try again in a minute."
    assert told["own"]
    assert told["payers"]


def test_the_button_alone_asks_for_little(site: Site, session: Session) -> None:
    told = site.get(f"models?session={session.id}&part=current").json
    assert told.keys() == {"current"}
    assert told["current"]["estimate"] == 95_000


def test_a_choice_reaches_the_session_and_is_answered_with_what_it_means(
    site: Site, session: Session, choosing: Choosing
) -> None:
    form = {"session": session.id, "model": "openai/gpt-oss-120b:cheapest", "bill_to": "lab"}
    answer = site.post("model", form)
    assert answer.status == 200
    assert answer.json["id"] == "openai/gpt-oss-120b:novita"
    assert answer.json["bill_to"] == "lab"
    assert choosing.asked == [("local", session.id, "openai/gpt-oss-120b:cheapest", "", "lab")]
    assert site.get(f"models?session={session.id}").json["current"]["id"] == "openai/gpt-oss-120b:novita"
    assert site.get("models").json["current"]["id"] == "zai-org/GLM-5.3-Flash:novita"


def test_an_own_server_that_was_found_can_be_chosen_on_ones_own_machine(
    site: Site, session: Session, choosing: Choosing
) -> None:
    answer = site.post("model", {"session": session.id, "model": "qwen3:4b", "base_url": OLLAMA.base_url})
    assert (answer.json["base_url"], answer.json["in"], answer.json["window"]) == (OLLAMA.base_url, 0, 8_192)


@pytest.mark.parametrize("base_url", ["http://169.254.169.254/v1", "http://127.0.0.1:22/v1", "https://evil.example/v1"])
def test_an_address_that_was_not_found_here_is_refused(
    site: Site, session: Session, choosing: Choosing, base_url: str
) -> None:
    answer = site.post("model", {"session": session.id, "model": "x", "base_url": base_url})
    assert answer.status == 403
    assert choosing.asked == []


def test_a_visitor_is_neither_told_of_own_servers_nor_let_to_them(tmp_path: Path, choosing: Choosing) -> None:
    with (
        closing(Sessions(Settings(data_dir=tmp_path))) as sessions,
        serving(sessions, Login(loopback=False), choosing.menu()) as site,
    ):
        cookie = site.get("sessions").headers["set-cookie"].partition(";")[0]
        session = site.post("new", {}, Cookie=cookie).json["session"]
        assert site.get("models", Cookie=cookie).json["own"] == []
        form = {"session": session, "model": "qwen3:4b", "base_url": OLLAMA.base_url}
        assert site.post("model", form, Cookie=cookie).status == 403
        assert site.post("model", {"session": session, "model": "fast"}, Cookie=cookie).status == 200
    assert [one[2] for one in choosing.asked] == ["fast"]


def test_a_refused_choice_is_a_conflict_in_its_own_words(site: Site, session: Session, choosing: Choosing) -> None:
    choosing.refusal = "A run is going on."
    answer = site.post("model", {"session": session.id, "model": "fast"})
    assert (answer.status, answer.json["message"]) == (409, "A run is going on.")


def test_another_owners_session_is_refused_like_one_that_never_was(site: Site, choosing: Choosing) -> None:
    foreign = site.sessions.create("hf:bob")
    for id in (foreign.id, "never"):
        assert site.post("model", {"session": id, "model": "fast"}).status == 404
        assert site.get(f"models?session={id}").status == 404
    assert choosing.asked == []


def test_another_sites_page_can_neither_look_nor_choose(site: Site, session: Session, choosing: Choosing) -> None:
    evil = "https://evil.example"
    assert site.post("model", {"session": session.id, "model": "fast"}, Origin=evil).status == 403
    assert site.get("models", Origin=evil).status == 403
    assert choosing.asked == []


@pytest.mark.parametrize(
    "form",
    [{}, {"model": ""}, {"model": "x" * 201}, {"model": 5}, {"model": "x", "more": 1}, {"model": "x", "bill_to": None}],
)
def test_a_form_that_is_none_is_refused(site: Site, session: Session, form: dict[str, object]) -> None:
    assert site.post("model", {"session": session.id, **form}).status == 422


def test_where_nothing_can_be_chosen_there_is_no_such_route(tmp_path: Path) -> None:
    with closing(Sessions(Settings(data_dir=tmp_path))) as sessions, serving(sessions, Login()) as site:
        assert site.get("models").status == 404


def test_the_page_works_with_the_real_list_the_real_account_and_a_real_server(tmp_path: Path) -> None:
    with FakeHub() as hub, Answering(VLLM) as server:
        hub.people["ada"]["orgs"] = [{"name": "lab", "canPay": True}]
        settings = Settings(data_dir=tmp_path, places=hub.places())
        choices = Choices(settings, Catalogue(Web(hub.places())), lambda _: "hf_ada", ports=(server.port,))
        chosen: dict[str, Selection] = {}

        def choose(owner: str, session: str, wish: Wish) -> Selection:
            made = choices.select(owner, wish.model, wish.base_url, bill_to=wish.bill_to)
            return chosen.setdefault(session, made)

        models = Menu(
            choices.listing, choices.own, choices.payers, lambda _, id: chosen.get(id) or choices.default(), choose
        )
        with closing(Sessions(settings)) as sessions, serving(sessions, Login(), models) as site:
            told = site.get("models").json
            assert [one["name"] for one in told["payers"]] == ["ada", "lab"]
            assert [one["name"] for one in told["own"]] == ["vLLM"]
            assert (told["current"]["id"], told["trouble"]) == ("zai-org/GLM-5.3-Flash:novita", "")
            session = site.sessions.create("local").id
            refused = site.post("model", {"session": session, "model": "best", "bill_to": "google"})
            assert (refused.status, refused.json["message"]) == (409, "'google' cannot pay for you.")
            assert site.post("model", {"session": session, "model": "best", "bill_to": "lab"}).json["in"] == 3_000_000
            assert site.get(f"models?session={session}&part=current").json["current"]["bill_to"] == "lab"
