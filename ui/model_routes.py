"""What the page asks about models: which there are and at what price, and which one a session thinks with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tools.problem import Problem
from ui.guard import Refusal, read_form
from ui.login import Asker

if TYPE_CHECKING:
    from agent.session import Session
    from agent.sessions import Menu

T = TypeVar("T")
_UNKEPT = {"cache-control": "no-store"}


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

    def __init__(self, menu: Menu, door: Door) -> None:
        self._menu, self._door = menu, door

    async def offered(self, request: Request) -> Response:
        """All that can be chosen, or with part=current only what is. What cannot be told is empty; trouble says why."""
        asker = self._door.asker(request)
        session = request.query_params.get("session", "")
        if session:
            await self._door.open(session, asker)
        menu, owner = self._menu, asker.owner
        if request.query_params.get("part") == "current":
            current = await _outcome(menu.now, owner, session)
            return JSONResponse({"current": _or(current, None)}, headers=_UNKEPT)
        listed, own, payers, current = await asyncio.gather(
            _outcome(menu.listed),
            _outcome(menu.servers, asker.own_machine),
            _outcome(menu.who_pays, owner),
            _outcome(menu.now, owner, session),
        )
        troubles = [f"{one.message} {one.hint}".strip() for one in (listed, payers) if isinstance(one, Problem)]
        answer = _or(listed, {"presets": [], "models": [], "trouble": ""})
        answer |= {"own": _or(own, []), "payers": _or(payers, []), "current": _or(current, None)}
        answer["trouble"] = " ".join(filter(None, [answer["trouble"], *troubles]))
        return JSONResponse(answer, headers=_UNKEPT)

    async def choose(self, request: Request) -> Response:
        """Choose for a session. An address is taken from the owner of this machine only, and from what was found on it."""
        form = await read_form(request, _Choice)
        asker = self._door.known(request)
        await self._door.open(form.session, asker)
        if form.base_url:
            own = await run_in_threadpool(self._menu.servers, asker.own_machine)
            if form.base_url not in {server["base_url"] for server in own}:
                raise Refusal(403, "No model server was found at that address.", "Start it, or set MODEL_BASE_URL.")
        wish = {"model": form.model, "base_url": form.base_url, "bill_to": form.bill_to}
        try:
            chosen = await run_in_threadpool(self._menu.pick, asker.owner, form.session, **wish)
        except Problem as problem:
            raise Refusal(409, problem.message, problem.hint) from None
        return JSONResponse(chosen)


async def _outcome(ask: Callable[..., T], *args: object) -> T | Problem:
    try:
        return await run_in_threadpool(ask, *args)
    except Problem as problem:
        return problem


def _or(told: Any, nothing: Any) -> Any:
    """What was told, or what stands for it where it could not be."""
    return nothing if isinstance(told, Problem) else told
