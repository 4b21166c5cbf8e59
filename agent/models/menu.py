"""What can be thought with, as the page shows it: plain values, prices in micro-dollars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agent.models.listing import Chosen, Listing, estimate
from agent.models.own_servers import Offer
from agent.models.payers import Payer
from agent.models.selection import Selection, Wish

Json = dict[str, Any]


@dataclass(frozen=True)
class Menu:
    """Where the answers come from. Each is called in a thread, may take seconds, and may raise Problem.

    payers: by owner; none for who is not signed in. current: by owner and session, which is "" while there is none.
    choose: for a session of its owner; it takes effect with the next run. inside: the model inside the app, for everybody.
    """

    listing: Callable[[], Listing]
    own: Callable[[], Sequence[Offer]]
    payers: Callable[[str], Sequence[Payer]]
    current: Callable[[str, str], Selection]
    choose: Callable[[str, str, Wish], Selection]
    inside: Callable[[], Sequence[Offer]] = tuple

    def listed(self) -> Json:
        """The presets, and all models with the provider that each would be pinned to; why the list is old, or ""."""
        listing = self.listing()
        presets, models = _listed(listing)
        return {"presets": presets, "models": models, "trouble": listing.trouble}

    def servers(self, own_machine: bool) -> list[Json]:
        """What needs no account: servers of this machine for who sits at it, and the model inside the app."""
        return [_offer(offer) for offer in [*(self.own() if own_machine else ()), *self.inside()]]

    def who_pays(self, owner: str) -> list[Json]:
        return [_payer(payer) for payer in self.payers(owner)]

    def now(self, owner: str, session: str) -> Json:
        return _selection(self.current(owner, session))

    def pick(self, owner: str, session: str, *, model: str, base_url: str, bill_to: str) -> Json:
        return _selection(self.choose(owner, session, Wish(model, base_url, bill_to)))


def _listed(listing: Listing) -> tuple[list[Json], list[Json]]:
    """The presets, and all models with the provider that each would be pinned to."""
    presets = [
        {"name": preset.name, "id": preset.id, "available": preset.chosen is not None}
        | (_prices(preset.chosen) if preset.chosen else {})
        | {"note": preset.note}
        for preset in listing.presets()
    ]
    models = [{"id": model.id, **_prices(listing.resolve(model.id))} for model in listing.models if model.live]
    return presets, models


def _prices(chosen: Chosen) -> Json:
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


def _selection(selection: Selection) -> Json:
    return {
        "id": selection.chosen.model_id,
        **_prices(selection.chosen),
        "base_url": selection.base_url,
        "bill_to": selection.bill_to,
    }


def _offer(offer: Offer) -> Json:
    models = [{"id": one.id, "window": one.window, "most": one.most} for one in offer.models]
    return {"name": offer.name, "base_url": offer.base_url, "models": models}


def _payer(payer: Payer) -> Json:
    return {
        "name": payer.name,
        "bill_to": payer.bill_to,
        "plan": payer.plan,
        "available": payer.available,
        "note": payer.note,
    }
