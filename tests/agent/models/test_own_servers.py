"""Model servers on this machine: found by what they say, and never used or even asked where they should not be."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from agent.models import own_servers
from agent.models.own_servers import Offer, OwnModel, find, window_of
from tests.doubles.answering import LLAMA_CPP, LM_STUDIO, VLLM, Answer, Answering, models, ollama

OLLAMA = ollama(
    loaded={"qwen3:4b": 8_192},
    shown={
        "qwen3:4b": {"model_info": {"qwen3.context_length": 262_144}, "capabilities": ["completion", "tools"]},
        "gemma:latest": {
            "model_info": {"gemma.context_length": 131_072},
            "parameters": 'stop    "x"\nnum_ctx                        65536',
        },
        "llama:8b": {"model_info": {"llama.context_length": 131_072}},
        "embed": {"capabilities": ["embedding"]},
    },
)


def found(*answers: Mapping[str, Answer]) -> tuple[Offer, ...]:
    with ExitStack() as stack:
        servers = [stack.enter_context(Answering(one)) for one in answers]
        return find(on_space=False, ports=[server.port for server in servers])


def test_four_kinds_of_servers_are_known_by_their_ways_at_whatever_port() -> None:
    offers = found(OLLAMA, LM_STUDIO, LLAMA_CPP, VLLM)
    assert [(offer.name, offer.models) for offer in offers] == [
        (
            "Ollama",
            (
                OwnModel("qwen3:4b", 8_192, 262_144),
                OwnModel("gemma:latest", 65_536, 131_072),
                OwnModel("llama:8b", None, 131_072),  # what is in force shows when it is loaded
            ),
        ),
        ("LM Studio", (OwnModel("qwen3-4b", 32_768, 262_144), OwnModel("gemma-4", None, 131_072))),
        ("llama.cpp", (OwnModel("qwen.gguf", 16_384, 40_960),)),
        ("vLLM", (OwnModel("Qwen/Qwen3-8B", 40_960),)),
    ]
    assert all(offer.base_url.startswith("http://127.0.0.1:") and offer.base_url.endswith("/v1") for offer in offers)


def test_another_openai_compatible_server_is_offered_without_a_guess_at_its_name() -> None:
    [offer] = found({"/v1/models": models("x", "y")})
    assert (offer.name, offer.models) == ("OpenAI-compatible server", (OwnModel("x"), OwnModel("y")))


@pytest.mark.parametrize(
    "answer",
    [
        b"<!doctype html><title>My app</title>",
        404,
        500,
        {"models": []},
        {"data": []},
        {"data": [{"name": "x"}, "y", {"id": 7}, {"id": ""}, {"id": "z" * 300}]},
        [{"id": "x"}],
        b"[" * 200_000,
        b'{"data": [{"id": "x"}], "more": "' + b"x" * 5_000_000 + b'"}',
        b"\xff\xfe",
    ],
    ids=["html", "404", "500", "other json", "empty", "odd", "list", "nested", "huge", "no text"],
)
def test_a_server_that_is_something_else_is_not_offered(answer: Any) -> None:
    assert found({"/v1/models": answer, "/": b"<html>"}) == ()


def test_a_port_where_nobody_listens_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert find(on_space=False, ports=[taken.getsockname()[1]]) == ()
    assert find(on_space=False, ports=[]) == ()


def test_on_a_space_nothing_is_asked() -> None:
    with Answering(VLLM) as server:
        assert find(on_space=True, ports=[server.port]) == ()
        assert server.asked == []


def test_a_redirect_is_not_followed() -> None:
    with Answering(VLLM) as elsewhere, Answering(VLLM, location=f"{elsewhere.base_url}/models") as server:
        assert find(on_space=False, ports=[server.port]) == ()
        assert window_of(server.base_url, "Qwen/Qwen3-8B", "secret") is None
        assert elsewhere.asked == []


def test_only_the_known_ports_are_asked_unless_told_otherwise() -> None:
    assert own_servers.PORTS == {"Ollama": 11434, "LM Studio": 1234, "llama.cpp": 8080, "vLLM": 8000}


def test_a_server_that_drips_for_ever_is_given_up(dripping: int) -> None:
    with Answering(VLLM) as server:
        offers = find(on_space=False, ports=[dripping, server.port], seconds=0.5)
    assert [offer.name for offer in offers] == ["vLLM"]


@pytest.fixture
def dripping() -> Any:
    """A port whose server sends one byte of a header at a time, until it is left alone."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def drip() -> None:
            caught: list[socket.socket] = []
            while not over.wait(0.02):
                try:
                    caught.append(listener.accept()[0])
                    caught[-1].sendall(b"HTTP/1.1 200 OK\r\nx: ")
                except TimeoutError:
                    pass
                for connection in caught:
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        over.set()

        thread = threading.Thread(target=drip)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join()


@pytest.mark.parametrize(
    ("answers", "model", "window"),
    [
        (VLLM, "Qwen/Qwen3-8B", 40_960),
        (VLLM, "another", None),
        (LLAMA_CPP, "qwen.gguf", 16_384),
        (LM_STUDIO, "qwen3-4b", 32_768),
        (LM_STUDIO, "gemma-4", None),
        (OLLAMA, "qwen3:4b", 8_192),
        (OLLAMA, "llama:8b", None),
        ({"/v1/models": models("x", context_length=1_000)}, "x", 1_000),
        ({"/v1/models": models("x", context_window=2_000)}, "x", 2_000),
        ({"/v1/models": models("x", context_length="many")}, "x", None),
        ({"/v1/models": 401}, "x", None),
    ],
)
def test_the_window_of_a_set_server_is_what_is_in_force_there(
    answers: Mapping[str, Answer], model: str, window: int | None
) -> None:
    with Answering(answers) as server:
        assert window_of(server.base_url + "/", model, "sk-1") == window
        assert {headers["authorization"] for _, _, headers in server.asked} == {"Bearer sk-1"}


@pytest.mark.parametrize(
    ("base_url", "key"),
    [
        ("", ""),
        ("nonsense", ""),
        ("http://[", ""),
        ("ftp://x/v1", ""),
        ("http://127.0.0.1:1/v1", "schlüssel\n"),
        ("http://127.0.0.1:99999/v1", ""),
    ],
)
def test_an_address_or_a_key_that_is_none_has_no_window(base_url: str, key: str) -> None:
    assert window_of(base_url, "x", key) is None
