"""What the page asks about models: which there are and at what price, and which one a session thinks with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agent.models.listing import Chosen, Listing, estimate
from agent.models.own_servers import Offer
from agent.models.selection import Selection
from agent.payers import Payer
from tools.desk import Problem
from ui.guard import Refusal, read_form
from ui.login import Asker

if TYPE_CHECKING:
    from agent.session import Session

T = TypeVar("T")
_UNKEPT = {"cache-control": "no-store"}


@dataclass(frozen=True)
class Models:
    """Where the answers come from. Each is called in a thread, may take seconds, and may raise Problem.

    payers: by owner; none for who is not signed in. current: by owner and session, which is "" while there is none. choose: for a session of its
    owner, the model, the address of an own server or "", and who pays or ""; it takes effect with the next call.
    """

    listing: Callable[[], Listing]
    own: Callable[[], Sequence[Offer]]
    payers: Callable[[str], Sequence[Payer]]
    current: Callable[[str, str], Selection]
    choose: Callable[[str, str, str, str, str], Selection]
    inside: Callable[[], Sequence[Offer]] = tuple  # the model inside the app, for everybody


@dataclass(frozen=True)
class Door:
    """How the app's routes know who asks: for a look, for a change, and whose a session is."""

    asker: Callable[[Request], Asker]
    known: Callable[[Request], Asker]
    open: Callable[[str, Asker], Awaitable[Session]]


class _Choice(BaseModel):
    model_config = ConfigDict(extra="forbid")
    session: str = Field(max_length=100)
    model: str = Field(min_length=1, max_length=200)
    base_url: str = Field(default="", max_length=200)
    bill_to: str = Field(default="", max_length=100)


class ModelRoutes:
    """GET models and POST model."""

    def __init__(self, models: Models, door: Door) -> None:
        self._models, self._door = models, door

    async def offered(self, request: Request) -> Response:
        """All that can be chosen, or with part=current only what is. What cannot be told is empty; trouble says why."""
        asker = self._door.asker(request)
        session = request.query_params.get("session", "")
        if session:
            await self._door.open(session, asker)
        if request.query_params.get("part") == "current":
            current = await _told(self._models.current, asker.owner, session)
            return JSONResponse({"current": _selection(current)}, headers=_UNKEPT)
        listing, own, payers, current = await asyncio.gather(
            _told(self._models.listing),
            _told(self._own, asker),
            _told(self._models.payers, asker.owner),
            _told(self._models.current, asker.owner, session),
        )
        presets, rows = ([], []) if isinstance(listing, Problem) else _listed(listing)
        return JSONResponse(
            {
                "presets": presets,
                "models": rows,
                "own": [] if isinstance(own, Problem) else [_offer(offer) for offer in own],
                "payers": [] if isinstance(payers, Problem) else [_payer(payer) for payer in payers],
                "current": _selection(current),
                "trouble": " ".join(_troubles(listing, payers)),
            },
            headers=_UNKEPT,
        )

    async def choose(self, request: Request) -> Response:
        """Choose for a session. An address is taken from the owner of this machine only, and from what was found on it."""
        form = await read_form(request, _Choice)
        asker = self._door.known(request)
        await self._door.open(form.session, asker)
        if form.base_url:
            own = await run_in_threadpool(self._own, asker)
            if form.base_url not in {offer.base_url for offer in own}:
                raise Refusal(403, "No model server was found at that address.", "Start it, or set MODEL_BASE_URL.")
        try:
            chosen = await run_in_threadpool(
                self._models.choose, asker.owner, form.session, form.model, form.base_url, form.bill_to
            )
        except Problem as problem:
            raise Refusal(409, problem.message, problem.hint) from None
        return JSONResponse(_selection(chosen))

    def _own(self, asker: Asker) -> Sequence[Offer]:
        return [*(self._models.own() if asker.own_machine else ()), *self._models.inside()]


async def _told(ask: Callable[..., T], *args: object) -> T | Problem:
    try:
        return await run_in_threadpool(ask, *args)
    except Problem as problem:
        return problem


def _troubles(listing: Listing | Problem, payers: object) -> list[str]:
    """What could not be told, or is old, in words."""
    first = f"{listing.message} {listing.hint}".strip() if isinstance(listing, Problem) else listing.trouble
    second = f"{payers.message} {payers.hint}".strip() if isinstance(payers, Problem) else ""
    return [words for words in (first, second) if words]


def _listed(listing: Listing) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The presets, and all models with the provider that each would be pinned to."""
    presets = [
        {"name": preset.name, "id": preset.id, "available": preset.chosen is not None}
        | (_prices(preset.chosen) if preset.chosen else {})
        | {"note": preset.note}
        for preset in listing.presets()
    ]
    models = [{"id": model.id, **_prices(listing.resolve(model.id))} for model in listing.models if model.live]
    return presets, models


def _prices(chosen: Chosen) -> dict[str, Any]:
    """Tokens, and micro-dollars per million tokens and per session; null for what is not known."""
    return {
        "provider": chosen.provider,
        "window": chosen.window,
        "in": chosen.price_in,
        "out": chosen.price_out,
        "estimate": estimate(chosen),
        "tools": chosen.supports_tools,
        "note": chosen.note,
    }


def _selection(selection: Selection | Problem) -> dict[str, Any] | None:
    if isinstance(selection, Problem):
        return None
    return {
        "id": selection.chosen.model_id,
        **_prices(selection.chosen),
        "base_url": selection.base_url,
        "bill_to": selection.bill_to,
    }


def _offer(offer: Offer) -> dict[str, Any]:
    models = [{"id": one.id, "window": one.window, "most": one.most} for one in offer.models]
    return {"name": offer.name, "base_url": offer.base_url, "models": models}


def _payer(payer: Payer) -> dict[str, Any]:
    return {
        "name": payer.name,
        "bill_to": payer.bill_to,
        "plan": payer.plan,
        "available": payer.available,
        "note": payer.note,
    }
