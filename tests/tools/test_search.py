"""Searching the Hub and looking at one repository, as the model does it."""

from __future__ import annotations

import threading
import time

import pytest

from tests import AT_ONCE
from tests.doubles.desk import desk
from tests.doubles.hub import FakeHub, Fault
from tools.cards import ReposFound
from tools.hub.hub import Hub
from tools.problem import Problem, Stopped
from tools.search import hub_info, hub_search


def test_a_search_returns_facts_and_shows_a_card(hub: FakeHub) -> None:
    here = desk(Hub("hf_ada", hub.url))
    found = hub_search(here, "model", " tiny \n bert ")
    assert [repo["id"] for repo in found] == ["ada/tiny-bert"]
    assert found[0]["parameters"] == 4_400_000
    assert found[0]["licence"] == "apache-2.0"
    (card,) = here.cards
    assert isinstance(card, ReposFound)
    assert card.query == "tiny bert"
    assert card.repos[0].facts[:3] == ("1.2k downloads", "7 likes", "4.4M parameters")


def test_datasets_and_spaces_are_found_too(hub: FakeHub) -> None:
    here = desk(Hub("", hub.url))
    (pets,) = hub_search(here, "dataset", "pets")
    assert (pets["licence"], pets["tasks"]) == ("mit", ["text-classification"])
    (namer,) = hub_search(here, "space", "names for pets")
    assert (namer["sdk"], namer["stage"], namer["summary"]) == ("gradio", "RUNNING", "Suggest names for pets")


def test_no_more_are_returned_than_asked_for(hub: FakeHub) -> None:
    assert len(hub_search(desk(Hub("", hub.url)), "model", "a", limit=1)) == 1


def test_nothing_found_is_an_empty_list(hub: FakeHub) -> None:
    assert hub_search(desk(Hub("", hub.url)), "model", "unheard-of") == []


def test_a_model_tells_what_it_is_made_of(hub: FakeHub) -> None:
    told = hub_info(desk(Hub("", hub.url)), "model", "ada/pet-classifier")
    assert told["base_models"] == ["ada/tiny-bert"]
    assert told["datasets"] == ["ada/pets"]
    assert told["bytes"] == 17_600_000
    assert told["files"][-1] == ".gitattributes"


def test_a_model_tells_its_papers(hub: FakeHub) -> None:
    assert hub_info(desk(Hub("", hub.url)), "model", "ada/tiny-bert")["papers"] == ["2601.04242"]


def test_a_repository_may_be_named_by_its_address(hub: FakeHub) -> None:
    here = desk(Hub("", hub.url))
    assert hub_info(here, "dataset", "https://huggingface.co/datasets/ada/pets")["id"] == "ada/pets"
    assert hub_info(here, "space", "spaces/ada/pet-namer")["hardware"] == "cpu-basic"


def test_thousands_of_files_and_tags_are_cut(hub: FakeHub) -> None:
    hub.repos["dataset"]["ada/pets"]["siblings"] = [{"rfilename": f"part-{n}.bin"} for n in range(9_000)]
    hub.repos["dataset"]["ada/pets"]["tags"] = [f"tag-{n}" for n in range(900)]
    told = hub_info(desk(Hub("", hub.url)), "dataset", "ada/pets")
    assert (told["file_count"], len(told["files"]), len(told["tags"])) == (9_000, 30, 15)


@pytest.mark.parametrize(
    ("kind", "query", "limit"),
    [("models", "x", 5), ("", "x", 5), ("model", " ", 5), ("model", "x", 0), ("model", "x", 51)],
)
def test_wrong_values_are_named(kind: str, query: str, limit: int) -> None:
    with pytest.raises(Problem) as caught:
        hub_search(desk(), kind, query, limit=limit)
    assert caught.value.hint


@pytest.mark.parametrize("id", ["", "a/b/c", "../etc", "ada/../bo", "ada/x?y=1", "ada/x#y", "ada /x", "a" * 300, "é/x"])
def test_what_is_no_name_never_reaches_the_hub(id: str) -> None:
    with pytest.raises(Problem, match="no name"):
        hub_info(desk(), "model", id)


def test_stop_ends_a_search_while_the_hub_is_silent(hub: FakeHub) -> None:
    hub.faults.append(Fault("/api/models", delay=30))
    here = desk(Hub("", hub.url))
    threading.Timer(0.2, here.stop.set).start()
    started = time.monotonic()
    with pytest.raises(Stopped):
        hub_search(here, "model", "x")
    assert time.monotonic() - started < AT_ONCE
    assert here.cards == []
