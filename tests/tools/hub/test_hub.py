"""The Hub through the real client library, against a real server."""

from __future__ import annotations

import contextlib
import logging
import threading
import time

import pytest

from tests import AT_ONCE
from tests.doubles.hub import FakeHub, Fault
from tools.hub.hub import Hub, WritableHub
from tools.problem import NotThere, Problem


def test_a_token_tells_who_is_asking(hub: FakeHub) -> None:
    assert Hub("hf_ada", hub.url).whoami() == "ada"
    with pytest.raises(Problem, match="valid token"):
        Hub("hf_wrong", hub.url).whoami()
    with pytest.raises(Problem, match="Nobody is signed in"):
        Hub("", hub.url).whoami()


def test_without_a_token_none_is_sent_even_if_the_machine_has_one(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_machine")
    Hub("", hub.url).repo("model", "ada/tiny-bert")
    assert "authorization" not in hub.asked[-1].headers


@pytest.mark.parametrize("token", ["hf_secret\n", "hf secret", "hf_sécret", "hf_secret\x00"])
def test_a_token_that_cannot_be_one_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(Problem) as caught:
        Hub(token)
    assert "secret" not in str(caught.value)


def test_the_token_is_in_no_repr_log_or_error(hub: FakeHub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    reader = Hub("hf_ada", hub.url)
    hub.faults.append(Fault("/api/models/ada", status=403, headers={"X-Error-Message": "not for you"}))
    with pytest.raises(Problem) as caught:
        reader.repo("model", "ada/tiny-bert")
    assert "hf_ada" not in f"{reader!r} {vars(caught.value)} {caplog.text} {caught.value.__cause__}"
    assert "not for you" in str(caught.value)


def test_a_private_repository_is_seen_by_its_owner_only(hub: FakeHub) -> None:
    hub.repos["model"]["ada/tiny-bert"]["private"] = True
    assert Hub("hf_ada", hub.url).repo("model", "ada/tiny-bert").private
    with pytest.raises(NotThere):
        Hub("hf_bo", hub.url).repo("model", "ada/tiny-bert")
    with pytest.raises(Problem):
        Hub("", hub.url).repo("model", "ada/tiny-bert")


def test_a_renamed_repository_is_found_under_its_new_name(hub: FakeHub) -> None:
    assert Hub("", hub.url).repo("model", "tiny-bert").id == "ada/tiny-bert"


def test_a_gated_repository_says_so(hub: FakeHub) -> None:
    gate = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to model bo/secret-llm is restricted"}
    hub.faults.append(Fault("/api/models/bo/secret-llm", status=403, headers=gate))
    with pytest.raises(Problem, match="gated"):
        Hub("hf_ada", hub.url).repo("model", "bo/secret-llm")


@pytest.mark.parametrize("path", ["/api/models", "/api/models/ada/tiny-bert"])
def test_too_many_requests_come_back_at_once_with_the_wait(hub: FakeHub, path: str) -> None:
    reader = Hub("", hub.url)

    def read() -> object:
        return reader.search("model", "x", 5) if path == "/api/models" else reader.repo("model", "ada/tiny-bert")

    limits = {"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}
    hub.faults.append(Fault(path, status=429, headers=limits))
    started = time.monotonic()
    with pytest.raises(Problem, match="wait 55 s"):
        read()
    assert time.monotonic() - started < AT_ONCE
    assert len(hub.asked) == 1


_BODIES = (b'{"error": "no"}', b"[1, 2]", b'{"errors": [3]}', b"<html>", b"", b'"text"', b"null", b"[" * 100_000)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 409, 418, 500, 503])
def test_every_status_with_any_body_is_a_problem_in_words(hub: FakeHub, status: int) -> None:
    for body in _BODIES:
        hub.faults[:] = [Fault("/api/", status=status, body=body)]
        with pytest.raises(Problem) as caught:
            Hub("hf_ada", hub.url).search("dataset", "pets", 5)
        assert len(str(caught.value)) > 20


def test_an_answer_that_makes_no_sense_is_a_problem_or_empty(hub: FakeHub) -> None:
    reader = Hub("hf_ada", hub.url)
    for body in (*_BODIES, b"{}", b"[{}]", b'[{"id": 3}]'):
        hub.faults[:] = [Fault("/api/", status=200, body=body)]
        for read in (
            lambda: reader.search("model", "x", 5),
            lambda: reader.search("space", "x", 5),
            lambda: reader.papers_search("x", 5),
        ):
            with contextlib.suppress(Problem):
                assert read() == []
        for one in (lambda: reader.repo("model", "a/b"), lambda: reader.paper_meta("1"), reader.whoami):
            with pytest.raises(Problem):
                one()


def test_odd_fields_of_one_repository_do_not_lose_it(hub: FakeHub) -> None:
    odd = {
        "downloads": "many",
        "tags": None,
        "cardData": ["?"],
        "safetensors": 7,
        "siblings": [None, {"x": 1}],
        "likes": True,
    }
    hub.repos["model"]["ada/tiny-bert"] |= odd
    repo = Hub("", hub.url).repo("model", "ada/tiny-bert")
    assert (repo.downloads, repo.likes, repo.tags, repo.files, repo.parameters) == (None, None, (), (), None)


def test_an_endless_answer_is_cut_off(hub: FakeHub) -> None:
    hub.faults.append(Fault("/papers/", status=200, body=b"x" * 11_000_000))
    with pytest.raises(Problem, match="too large"):
        Hub("", hub.url).paper_markdown("2601.04242")


def test_a_hub_that_is_down_is_a_problem() -> None:
    with pytest.raises(Problem, match="cannot be reached"):
        Hub("", "http://127.0.0.1:1").repo("model", "ada/tiny-bert")


def test_papers_keep_the_fields_that_the_library_drops(hub: FakeHub) -> None:
    first = Hub("", hub.url).papers_search("easy first", 3)[0]
    assert first.ai_summary.startswith("Training on easy rows")
    assert first.code_url == "https://github.com/ada-field/easy-first"
    assert first.keywords == ("curriculum", "text classification")
    assert first.date == "2026-01-09"


def test_papers_are_asked_for_with_the_users_token(hub: FakeHub) -> None:
    reader = Hub("hf_ada", hub.url)
    reader.paper_meta("2601.04242")
    reader.paper_markdown("2601.04242")
    assert all(asked.headers["authorization"] == "Bearer hf_ada" for asked in hub.asked)


def test_only_a_hub_made_for_writing_can_delete(hub: FakeHub) -> None:
    assert not hasattr(Hub("hf_ada", hub.url), "delete_repo")
    WritableHub("hf_ada", hub.url).delete_repo("ada/pet-classifier")
    WritableHub("hf_ada", hub.url).delete_repo("datasets/ada/pets")
    WritableHub("hf_ada", hub.url).delete_repo("spaces/ada/pet-namer")
    assert set(hub.repos["model"]) == {"ada/tiny-bert", "bo/secret-llm"}
    assert set(hub.repos["dataset"]) == {"bo/kettles"}
    assert not hub.repos["space"]
    with pytest.raises(NotThere):
        WritableHub("hf_ada", hub.url).delete_repo("ada/pet-classifier")
    with pytest.raises(Problem, match="rights"):
        WritableHub("hf_ada", hub.url).delete_repo("bo/secret-llm")


def test_many_threads_may_ask_one_hub_at_once(hub: FakeHub) -> None:
    reader = Hub("hf_ada", hub.url)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(reader.repo("model", "ada/tiny-bert").id)) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["ada/tiny-bert"] * 20
