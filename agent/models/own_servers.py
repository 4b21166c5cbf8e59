"""Model servers on this machine: found, told about, and never used unasked.

A window is told only where the server says what is in force. What a model could read at most is no window: Ollama and
LM Studio load far less than that by default, and Ollama drops without a word what does not fit.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from tools.problem import Problem

SECONDS = 2.0  # for all questions to one server together
LIMIT_BYTES = 4_000_000
MOST_MODELS = 200  # of one server
ASKED_ONE_BY_ONE = 30  # models whose window costs a request each
WIDEST = 100_000_000  # tokens

OLLAMA, LM_STUDIO, LLAMA_CPP, VLLM, UNKNOWN = "Ollama", "LM Studio", "llama.cpp", "vLLM", "OpenAI-compatible server"
PORTS: Mapping[str, int] = {OLLAMA: 11434, LM_STUDIO: 1234, LLAMA_CPP: 8080, VLLM: 8000}
_OTHERWISE = "It does not answer like a model server."


@dataclass(frozen=True)
class OwnModel:
    """A model of an own server. Tokens; None: not known. window: in force now; most: what it could be set to."""

    id: str
    window: int | None = None
    most: int | None = None


@dataclass(frozen=True)
class Offer:
    """A server that runs here. base_url: as MODEL_BASE_URL takes it."""

    name: str
    base_url: str
    models: tuple[OwnModel, ...]


def find(
    *, on_space: bool, ports: Collection[int] = tuple(PORTS.values()), seconds: float = SECONDS
) -> tuple[Offer, ...]:
    """The model servers that answer on this machine, in the order of ports. On a Space nothing is asked.

    seconds: for all of it, at most. Not to be called where an event loop runs.
    """
    return () if on_space else asyncio.run(_find(ports, seconds))


def window_of(base_url: str, model_id: str, key: str = "") -> int | None:
    """How many tokens the server at base_url says that the model reads at once; None when it does not say.

    The key goes to this server only. Takes two seconds at most; never raises. Not to be called where a loop runs.
    """

    async def read() -> int | None:
        async with _Server(base_url, key) as server:
            _, models = await _survey(server)
            return next((model.window for model in models if model.id == model_id), None)

    try:
        return asyncio.run(read())
    except (Problem, httpx2.InvalidURL, ValueError):
        return None


async def _find(ports: Collection[int], seconds: float) -> tuple[Offer, ...]:
    offers = await asyncio.gather(*(_offer(port, seconds) for port in ports))
    return tuple(offer for offer in offers if offer)


async def _offer(port: int, seconds: float) -> Offer | None:
    """What answers at this port of this machine, as long as it answers like a model server."""
    try:
        async with _Server(f"http://127.0.0.1:{port}/v1", seconds=seconds) as server:
            name, models = await _survey(server)
            return Offer(name, server.base_url, models) if models else None
    except Problem:
        return None


class _Server:
    """Bounded questions to one server: no redirects, no proxies, little time and few bytes."""

    def __init__(self, base_url: str, key: str = "", seconds: float = SECONDS) -> None:
        """Raises ValueError for an address or a key that cannot be one."""
        self.base_url, self._seconds = base_url.strip().rstrip("/"), seconds
        parts = urlsplit(self.base_url)
        if parts.port == 0:  # a port above 65535 raises by being looked at
            raise ValueError("no port")
        self.root = f"{parts.scheme}://{parts.netloc}"
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        headers |= {"authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.AsyncClient(headers=headers, follow_redirects=False, trust_env=False, timeout=seconds)

    async def __aenter__(self) -> _Server:
        self._deadline = asyncio.get_running_loop().time() + self._seconds
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def ask(self, url: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The JSON object at url, got, or posted to with a form. Raises Problem for anything else."""
        body = bytearray()
        try:
            async with (
                asyncio.timeout_at(self._deadline),
                self._client.stream("POST" if form else "GET", url, json=form) as response,
            ):
                if response.status_code != 200 or response.headers.get("content-encoding", "identity") != "identity":
                    raise Problem(_OTHERWISE)
                async for chunk in response.aiter_raw(65536):
                    body += chunk
                    if len(body) > LIMIT_BYTES:
                        raise Problem(_OTHERWISE)
            told = json.loads(body)
        except (httpx2.HTTPError, TimeoutError, ValueError, RecursionError):
            raise Problem(_OTHERWISE) from None
        if not isinstance(told, dict):
            raise Problem(_OTHERWISE)
        return told

    async def hear(self, url: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        """As ask, but empty where there is no such answer, or no time left for it."""
        try:
            return await self.ask(url, form)
        except Problem:
            return {}


async def _survey(server: _Server) -> tuple[str, tuple[OwnModel, ...]]:
    """What kind of server it is, by its own ways and not by its port, and its models. Raises Problem for no such server."""
    items = _items(await server.ask(f"{server.base_url}/models"))
    if not items:
        raise Problem(_OTHERWISE)
    owners = {str(item.get("owned_by", "")) for item in items}
    if "vllm" in owners or any("max_model_len" in item for item in items):
        return VLLM, tuple(OwnModel(item["id"], _tokens(item.get("max_model_len"))) for item in items)
    if "llamacpp" in owners:
        return LLAMA_CPP, await _llama_cpp(server, items)
    if isinstance((await server.hear(f"{server.root}/api/version")).get("version"), str):
        return OLLAMA, await _ollama(server, items)
    if studio := _items(await server.hear(f"{server.root}/api/v0/models")):
        return LM_STUDIO, _lm_studio(studio)
    windows = (_tokens(item.get("context_length")) or _tokens(item.get("context_window")) for item in items)
    return UNKNOWN, tuple(OwnModel(item["id"], window) for item, window in zip(items, windows, strict=True))


async def _llama_cpp(server: _Server, items: list[dict[str, Any]]) -> tuple[OwnModel, ...]:
    settings = (await server.hear(f"{server.root}/props")).get("default_generation_settings")
    window = _tokens(settings.get("n_ctx")) if isinstance(settings, dict) and len(items) == 1 else None
    return tuple(OwnModel(item["id"], window, _tokens(_mapping(item.get("meta")).get("n_ctx_train"))) for item in items)


async def _ollama(server: _Server, items: list[dict[str, Any]]) -> tuple[OwnModel, ...]:
    loaded = (await server.hear(f"{server.root}/api/ps")).get("models")
    in_force = {
        str(one.get("model")): _tokens(one.get("context_length"))
        for one in (loaded if isinstance(loaded, list) else [])
        if isinstance(one, dict)
    }
    models = []
    for number, item in enumerate(items):
        late = number >= ASKED_ONE_BY_ONE
        shown = {} if late else await server.hear(f"{server.root}/api/show", {"model": item["id"]})
        able = shown.get("capabilities")
        if isinstance(able, list) and "completion" not in able:
            continue
        facts = _mapping(shown.get("model_info"))
        most = next((_tokens(value) for name, value in facts.items() if name.endswith(".context_length")), None)
        set_to = re.search(r"^num_ctx\s+(\d{1,9})\s*$", str(shown.get("parameters", "")), re.MULTILINE)
        window = in_force.get(item["id"]) or (_tokens(int(set_to[1])) if set_to else None)
        models.append(OwnModel(item["id"], window, most))
    return tuple(models)


def _lm_studio(items: list[dict[str, Any]]) -> tuple[OwnModel, ...]:
    return tuple(
        OwnModel(
            item["id"],
            _tokens(item.get("loaded_context_length")) if item.get("state") == "loaded" else None,
            _tokens(item.get("max_context_length")),
        )
        for item in items
        if item.get("type") != "embeddings"
    )


def _items(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of a list of models that have an id."""
    data = told.get("data")
    found = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    return [item for item in found if isinstance(item.get("id"), str) and 0 < len(item["id"]) <= 200][:MOST_MODELS]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _tokens(value: object) -> int | None:
    return value if type(value) is int and 0 < value <= WIDEST else None
