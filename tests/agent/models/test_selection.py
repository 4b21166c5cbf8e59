"""What a session may be set to think with: only what is offered, with its window and price."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.models.catalogue import Catalogue
from agent.models.own_servers import Offer, OwnModel
from agent.models.payers import Payer
from agent.models.selection import Selection, select
from tests.doubles.hub import FakeHub
from tools.problem import Problem
from tools.web import Web

OFFERS = (Offer("Ollama", "http://127.0.0.1:11434/v1", (OwnModel("qwen3:4b", 8_192), OwnModel("big", None, 65_536))),)
PAYERS = (Payer("ada", ""), Payer("lab", "lab"), Payer("full", "full", available=False, note="It is empty."))


@pytest.fixture
def catalogue() -> Iterator[Catalogue]:
    with FakeHub() as hub:
        yield Catalogue(Web(hub.places()))


def selected(catalogue: Catalogue, model: str, base_url: str = "", bill_to: str = "") -> Selection:
    return select(model, base_url, bill_to, catalogue=catalogue, offers=OFFERS, payers=PAYERS)


def test_a_model_of_the_router_is_pinned_and_paid_by_whom_the_user_said(catalogue: Catalogue) -> None:
    for asked in ("strong", "zai-org/GLM-5.3", "zai-org/GLM-5.3:novita"):
        found = selected(catalogue, asked, bill_to="lab")
        assert (found.chosen.model_id, found.base_url, found.bill_to) == ("zai-org/GLM-5.3:novita", "", "lab")


@pytest.mark.parametrize(("bill_to", "words"), [("google", "cannot pay for you"), ("full", "It is empty")])
def test_one_who_cannot_pay_is_not_billed(catalogue: Catalogue, bill_to: str, words: str) -> None:
    with pytest.raises(Problem, match=words):
        selected(catalogue, "fast", bill_to=bill_to)


def test_who_is_not_signed_in_may_still_choose(catalogue: Catalogue) -> None:
    found = select("fast", "", "", catalogue=catalogue, offers=(), payers=())
    assert found.chosen.model_id == "zai-org/GLM-5.3-Flash:novita"


def test_an_own_server_is_taken_as_found_and_bills_nobody(catalogue: Catalogue) -> None:
    found = selected(catalogue, "qwen3:4b", OFFERS[0].base_url, bill_to="lab")
    assert found == Selection(found.chosen, OFFERS[0].base_url, "")
    assert (found.chosen.model_id, found.chosen.window) == ("qwen3:4b", 8_192)
    assert (found.chosen.price_in, found.chosen.price_out) == (0, 0)
    unknown = selected(catalogue, "big", OFFERS[0].base_url).chosen
    assert unknown.window is None
    assert unknown.note == "Ollama does not say how much it reads at once."


def test_an_address_or_a_model_that_was_not_found_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(Problem, match="No model server was found at that address"):
        selected(catalogue, "qwen3:4b", "http://169.254.169.254/v1")
    with pytest.raises(Problem, match="Ollama has no model 'llama'") as problem:
        selected(catalogue, "llama", OFFERS[0].base_url)
    assert problem.value.hint == "It has qwen3:4b, big."
