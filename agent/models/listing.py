"""The router's list of models, as values: who serves what, how much it reads at once, and what it costs. Pure.

A price is whole micro-dollars per million tokens, which is the same number as pico-dollars per token.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

from tools.problem import Problem

ENOUGH = 128_000  # tokens of window that a provider must have to be chosen by itself
MOST_MODELS = 5_000
MOST_PROVIDERS = 50  # of one model
DEAREST = 1_000_000  # dollars per million tokens; more is no price
WIDEST = 100_000_000  # tokens; more is no window
ROUTES = ("fastest", "cheapest", "preferred")  # what the router takes in a provider's place
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,95}", re.ASCII)
_PROVIDER = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_NOISE = Decimal("0.000001")  # micro-dollars
_CACHED = ("cached_input", "input_cache_read", "cache_read")  # documented is none of them


@dataclass(frozen=True)
class Provider:
    """One provider of one model. None: the router does not say."""

    name: str
    live: bool
    window: int | None  # tokens
    price_in: int | None  # micro-dollars per million tokens, as are the next two
    price_out: int | None
    price_cached: int | None  # of input that was read before
    free: bool
    supports_tools: bool | None
    first_token_ms: float | None
    throughput: float | None  # tokens per second


@dataclass(frozen=True)
class Listed:
    """One model and its providers, in the router's order."""

    id: str
    providers: tuple[Provider, ...]

    @property
    def live(self) -> tuple[Provider, ...]:
        return tuple(provider for provider in self.providers if provider.live)


@dataclass(frozen=True)
class Chosen:
    """What a session thinks with, fixed for its whole life. Prices as in Provider; note: what the user should know."""

    model_id: str  # as the router takes it, such as "zai-org/GLM-5.3-Flash:novita"
    provider: str
    window: int | None
    price_in: int | None
    price_out: int | None
    price_cached: int | None
    supports_tools: bool | None
    note: str = ""


@dataclass(frozen=True)
class Preset:
    """A model by what it is good for. chosen: None when the router cannot offer it now; note says why."""

    name: str
    id: str
    chosen: Chosen | None
    note: str = ""


PRESETS: tuple[tuple[str, str], ...] = (
    ("fast", "zai-org/GLM-5.3-Flash"),
    ("strong", "zai-org/GLM-5.3"),
    ("best", "moonshotai/Kimi-K3"),
    ("cheap", "openai/gpt-oss-120b:cheapest"),
)


@dataclass(frozen=True)
class Listing:
    """All models that the router listed at one moment. read_at: Unix time; trouble: why it is not read anew, or ""."""

    models: tuple[Listed, ...]
    read_at: float = 0.0
    trouble: str = ""

    @cached_property
    def _by_id(self) -> Mapping[str, Listed]:
        return {model.id.lower(): model for model in reversed(self.models)}

    def resolve(self, id: str) -> Chosen:
        """Pin an id to one provider; the same list gives the same answer.

        id: "org/model", one of those with :fastest (what no suffix means), :cheapest or :preferred, or with a
        provider's name, which is kept; or the name of a preset. Raises Problem for what the router does not list or nobody serves now.
        """
        id = id.strip()
        name, _, wanted = dict(PRESETS).get(id, id).partition(":")
        model = self._by_id.get(name.lower())
        if model is None:
            raise Problem(f"The router lists no model {_shown(name)}.", self._near(name))
        if wanted and wanted.lower() not in ROUTES:
            return _explicit(model, wanted)
        if not model.live:
            raise Problem(f"No provider of {model.id} is live just now.", "Try again later, or pick another model.")
        return _best(model, wanted.lower() or "fastest")

    def presets(self) -> tuple[Preset, ...]:
        """The presets as they stand. One that cannot be had is marked, and names the next one that can."""
        found: list[Chosen | Problem] = []
        for _, id in PRESETS:
            try:
                found.append(self.resolve(id))
            except Problem as problem:
                found.append(problem)
        presets = []
        for number, ((name, id), what) in enumerate(zip(PRESETS, found, strict=True)):
            if isinstance(what, Chosen):
                presets.append(Preset(name, id, what, what.note))
                continue
            after = [*range(number + 1, len(found)), *range(number)]
            following = next((PRESETS[n][0] for n in after if isinstance(found[n], Chosen)), "")
            offer = f" The next is {following!r}." if following else ""
            presets.append(Preset(name, id, None, what.message + offer))
        return tuple(presets)

    def default(self) -> Preset:
        """The first preset that can be had; if it is not the first of all, its note says why. Raises Problem for none."""
        presets = self.presets()
        for preset in presets:
            if preset.chosen:
                gone = "" if preset is presets[0] else presets[0].note
                note = f"{gone} {preset.note}".strip()
                return replace(preset, chosen=replace(preset.chosen, note=note), note=note)
        raise Problem("The router offers none of the preset models now.", "Type the id of another model.")

    def _near(self, name: str) -> str:
        wanted = name.lower()[:200]
        short = {id.partition("/")[2]: model.id for id, model in self._by_id.items()}
        near = [self._by_id[id].id for id in difflib.get_close_matches(wanted, self._by_id, n=3, cutoff=0.6)]
        near += [short[one] for one in difflib.get_close_matches(wanted.rpartition("/")[2], short, n=3, cutoff=0.6)]
        names = ", ".join(list(dict.fromkeys(near))[:3])
        return f"Near names are {names}." if names else "Look for its id on huggingface.co/models."


def estimate(chosen: Chosen | Provider, input_tokens: int = 500_000, output_tokens: int = 40_000) -> int | None:
    """Micro-dollars for so many tokens, rounded up, none of them cached. None where a price is not known.

    The defaults are a session of 25 steps.
    """
    if chosen.price_in is None or chosen.price_out is None:
        return None
    return -(-(input_tokens * chosen.price_in + output_tokens * chosen.price_out) // 1_000_000)


def read_listing(body: bytes, read_at: float) -> Listing:
    """The answer of GET /v1/models. An entry that makes no sense is left out. Raises ValueError when nothing is left."""
    try:
        told = json.loads(body, parse_float=Decimal, parse_constant=lambda _: None)
    except RecursionError:
        raise ValueError("too deeply nested") from None
    data = told.get("data") if isinstance(told, dict) else None
    models = [model for item in (data if isinstance(data, list) else [])[:MOST_MODELS] if (model := _model(item))]
    if not models:
        raise ValueError("no models")
    return Listing(tuple(models), read_at)


def _explicit(model: Listed, wanted: str) -> Chosen:
    for provider in model.providers:
        if provider.name.lower() == wanted.lower():
            notes = [] if provider.live else [f"{provider.name} is not live just now."]
            return _chosen(model, provider, *notes)
    names = ", ".join(provider.name for provider in model.providers) or "nobody"
    raise Problem(f"{_shown(wanted)} does not serve {model.id}.", f"It is served by {names}.")


def _best(model: Listed, route: str) -> Chosen:
    order = _ORDERS[route]
    largest = max(provider.window or 0 for provider in model.live)
    fitting = [provider for provider in model.live if (provider.window or 0) >= min(ENOUGH, largest)]
    # A budget cannot be kept with a price that nobody tells, so such a provider comes last.
    fitting = [provider for provider in fitting if estimate(provider) is not None] or fitting
    provider = min(fitting, key=order) if order else fitting[0]
    notes = [] if order else ["The order in your settings is not known here: the router's first was taken."]
    return _chosen(model, provider, *notes)


def _chosen(model: Listed, provider: Provider, *notes: str) -> Chosen:
    told = list(notes)
    if provider.window is None:
        told.append(f"{provider.name} does not say how much it reads at once.")
    elif provider.window < ENOUGH:
        told.append(f"{provider.name} reads only {provider.window:,} tokens at once.")
    if estimate(provider) is None:
        told.append(f"{provider.name} does not say what it costs.")
    return Chosen(
        model_id=f"{model.id}:{provider.name}",
        provider=provider.name,
        window=provider.window,
        price_in=provider.price_in,
        price_out=provider.price_out,
        price_cached=provider.price_cached,
        supports_tools=provider.supports_tools,
        note=" ".join(told),
    )


def _fastest(provider: Provider) -> tuple[float, float, str]:
    return -(provider.throughput or 0.0), _or_most(provider.first_token_ms), provider.name


def _cheapest(provider: Provider) -> tuple[float, float, tuple[float, float, str]]:
    return _or_most(provider.price_out), _or_most(provider.price_in), _fastest(provider)


_ORDERS: Mapping[str, Callable[[Provider], Any] | None] = {
    "fastest": _fastest,
    "cheapest": _cheapest,  # by the price of output, as the router does
    "preferred": None,
}


def _or_most(value: float | None) -> float:
    return float("inf") if value is None else value


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:80] + "…")


# --- reading ---


def _model(item: object) -> Listed | None:
    """One entry of the list; None for one that has no id, no providers or does not write text."""
    if not isinstance(item, dict) or not _fits(_ID, item.get("id")) or not isinstance(item.get("providers"), list):
        return None
    architecture = item.get("architecture")
    writes = architecture.get("output_modalities") if isinstance(architecture, dict) else None
    if isinstance(writes, list) and "text" not in writes:
        return None
    providers: dict[str, Provider] = {}
    for told in item["providers"][:MOST_PROVIDERS]:
        if provider := _provider(told):
            providers.setdefault(provider.name.lower(), provider)
    return Listed(item["id"], tuple(providers.values())) if providers else None


def _provider(told: object) -> Provider | None:
    if not isinstance(told, dict) or not _fits(_PROVIDER, told.get("provider")):
        return None
    if told["provider"].lower() in ROUTES:  # could not be told apart from a way of choosing
        return None
    pricing = told.get("pricing")
    prices: Mapping[str, object] = pricing if isinstance(pricing, dict) else {}
    free = told.get("is_free") is True
    window = told.get("context_length")
    tools = told.get("supports_tools")
    return Provider(
        name=told["provider"],
        live=told.get("status") == "live",
        window=window if type(window) is int and 0 < window <= WIDEST else None,
        price_in=0 if free else price(prices.get("input")),
        price_out=0 if free else price(prices.get("output")),
        price_cached=0 if free else next((p for name in _CACHED if (p := price(prices.get(name))) is not None), None),
        free=free,
        supports_tools=tools if isinstance(tools, bool) else None,
        first_token_ms=_measure(told.get("first_token_latency_ms")),
        throughput=_measure(told.get("throughput")),
    )


def price(dollars: object) -> int | None:
    """Dollars per million tokens -> whole micro-dollars, exactly; None for what is no price.

    What is finer than a micro-dollar is rounded up, but for the noise of a sender's own binary arithmetic.
    """
    if isinstance(dollars, bool) or not isinstance(dollars, int | Decimal) or not 0 <= dollars <= DEAREST:
        return None
    if not dollars:
        return 0
    return max(1, math.ceil(Decimal(dollars) * 1_000_000 - _NOISE))


def _measure(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 < value < 10**9:
        return None
    return float(value)


def _fits(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None
