"""What can be chosen to think with, as a test says: for the page's routes without any network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.models.listing import Listing, read_listing
from agent.models.menu import Menu
from agent.models.own_servers import Offer, OwnModel
from agent.models.payers import Payer
from agent.models.selection import Selection, Wish, own
from tests.doubles import router_list
from tools.problem import Problem

OLLAMA = Offer(
    "Ollama", "http://127.0.0.1:11434/v1", (OwnModel("qwen3:4b", 8_192, 262_144), OwnModel("big", None, 65_536))
)


@dataclass
class Choosing:
    """asked: (owner, session, model, base_url, bill_to) of every choice. trouble: why there is no list, or ""."""

    listed: list[router_list.Json] = field(default_factory=lambda: list(router_list.MODELS))
    offers: Sequence[Offer] = (OLLAMA,)
    payers: Sequence[Payer] = (Payer("ada", ""),)
    trouble: str = ""
    refusal: str = ""
    asked: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    chosen: dict[str, Selection] = field(default_factory=dict)  # by session

    def menu(self) -> Menu:
        return Menu(self.listing, lambda: self.offers, lambda _: self.payers, self.current, self.choose)

    def listing(self) -> Listing:
        if self.trouble:
            raise Problem(self.trouble, "Try again in a minute.")
        return read_listing(json.dumps(router_list.listing(*self.listed)).encode(), 0.0)

    def current(self, owner: str, session: str) -> Selection:
        default = self.listing().default().chosen
        assert default
        return self.chosen.get(session) or Selection(default)

    def choose(self, owner: str, session: str, wish: Wish) -> Selection:
        model, base_url, bill_to = wish.model, wish.base_url, wish.bill_to
        self.asked.append((owner, session, model, base_url, bill_to))
        if self.refusal:
            raise Problem(self.refusal)
        chosen = own(model, base_url, self.offers) if base_url else self.listing().resolve(model)
        self.chosen[session] = Selection(chosen, base_url, bill_to)
        return self.chosen[session]
