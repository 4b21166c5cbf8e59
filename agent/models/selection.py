"""What a session is to think with: a model, the server it runs on, and who pays. Checked against what is offered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from agent.models.catalogue import Catalogue
from agent.models.listing import Chosen
from agent.models.own_servers import Offer
from agent.models.payers import Payer, pick
from tools.problem import Problem

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Wish:
    """What the user picked. Empty: the default."""

    model: str = ""
    base_url: str = ""
    bill_to: str = ""


@dataclass(frozen=True)
class Selection:
    """base_url: of an own server, "" for the Hugging Face router. bill_to: an organization, "" for the user."""

    chosen: Chosen
    base_url: str = ""
    bill_to: str = ""


def select(
    model: str,
    base_url: str,
    bill_to: str,
    *,
    catalogue: Catalogue,
    offers: Sequence[Offer],
    payers: Sequence[Payer],
) -> Selection:
    """What was asked for, with its window and price. Raises Problem for what is not offered.

    An address is taken only from offers, the servers found on this machine: a page cannot send the app elsewhere.
    """
    if base_url:
        return Selection(own(model, base_url, offers), base_url)
    if bill_to:
        pick(payers, bill_to)
    return Selection(catalogue.resolve(model), "", bill_to)


def own(model: str, base_url: str, offers: Sequence[Offer]) -> Chosen:
    """A model of an own server. On this machine it costs nothing that could be counted; elsewhere nobody tells."""
    for offer in offers:
        if offer.base_url == base_url:
            for one in offer.models:
                if one.id == model:
                    note = "" if one.window else f"{offer.name} does not say how much it reads at once."
                    price = 0 if urlsplit(base_url).hostname in LOOPBACK else None
                    return Chosen(one.id, offer.name, one.window, price, price, price, None, note)
            names = ", ".join(one.id for one in offer.models[:5])
            raise Problem(f"{offer.name} has no model {model[:80]!r}.", f"It has {names}.")
    raise Problem("No model server was found at that address.", "Start it, or set MODEL_BASE_URL.")
