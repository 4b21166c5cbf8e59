"""Which model thinks: from the user's wish, the settings and what the router lists, to one that can be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.events import ModelChosen
from agent.models import embedded
from agent.models.catalogue import Catalogue
from agent.models.choices import Choices
from agent.models.deltas import Thinker
from agent.models.embedded import EmbeddedModel
from agent.models.listing import Chosen
from agent.models.metered import SecondPayer
from agent.models.own_servers import Offer, OwnModel, window_of
from agent.models.payers import whose_token
from agent.models.router import RouterModel
from agent.models.selection import Selection, Wish
from agent.models.visitor_caps import VisitorCaps
from agent.settings import DEFAULT_MODEL, Settings
from tools.problem import Problem
from tools.web import Web

EMBEDDED = "embedded:"  # stands where a server's address does


@dataclass(frozen=True)
class ModelFacts:
    model_id: str
    base_url: str
    ready: bool
    missing: str  # one sentence: what is missing and how to add it; "" when ready


class Picker:
    """For all sessions of the app; safe for all threads. token_of: an owner's own Hugging Face token, or ""."""

    def __init__(self, settings: Settings, web: Web, token_of: Callable[[str], str]) -> None:
        self._settings, self._token_of = settings, token_of
        self.choices = Choices(settings, Catalogue(web), token_of)
        self._purse = VisitorCaps(settings.data_dir, settings.owner_cap_per_visitor, settings.owner_cap_per_day)

    def facts(self, owner: str) -> ModelFacts:
        """The default model, without asking anybody for it."""
        settings = self._settings
        missing = ""
        if not settings.model_base_url and whose_token(self._token_of(owner), settings) == "nobody":
            if (inside := embedded.offer()) and inside.default:
                return ModelFacts(inside.name, EMBEDDED, True, "")
            missing = (
                "Sign in with Hugging Face to give the agent a model to think with."
                if settings.on_space
                else "There is no model yet: set HF_TOKEN to use Hugging Face's models, or MODEL_BASE_URL to use your own server."
            )
        base_url = settings.model_base_url or settings.places.router_url
        return ModelFacts(settings.model_id or DEFAULT_MODEL, base_url, not missing, missing)

    def choose(self, owner: str, wish: Wish) -> ModelChosen:
        """The model that a session keeps from here on. Raises Problem when there is none, or not that one."""
        settings, facts = self._settings, self.facts(owner)
        own = settings.model_base_url
        if EMBEDDED in (wish.base_url, "" if wish.model else facts.base_url):
            return self._embedded(wish.model)
        if own and wish.base_url == own and wish.model:  # any model of the set server may be named
            window = window_of(own, wish.model, settings.model_api_key)
            return ModelChosen(model=wish.model, base_url=own, window=window, free=True, wish=wish.model)
        whose = whose_token(self._token_of(owner), settings)
        if not wish.base_url and not (own and not wish.model) and whose == "nobody":
            raise Problem(
                facts.missing or "Hugging Face's models need a token.", "" if facts.missing else "Set HF_TOKEN."
            )
        if wish.model:
            selection = self.choices.select(owner, wish.model, wish.base_url, bill_to=wish.bill_to)
        else:
            selection = self.choices.default()
        chosen = selection.chosen
        return ModelChosen(
            model=chosen.model_id,
            base_url=selection.base_url or settings.places.router_url,
            provider=chosen.provider,
            window=chosen.window,
            input_price=chosen.price_in,
            output_price=chosen.price_out,
            cached_price=chosen.price_cached,
            free=bool(selection.base_url),
            wish=wish.model,
            # A Space's BILL_TO is not for visitors with tokens of their own.
            bill_to=selection.bill_to if wish.model or not settings.on_space or whose == "owner" else "",
            note=chosen.note,
        )

    def inside(self) -> tuple[Offer, ...]:
        """The model inside this app, as the page offers it."""
        offer = embedded.offer()
        if offer is None:
            return ()
        return (
            Offer(f"Inside this app, {offer.device}. {offer.speed}", EMBEDDED, (OwnModel(offer.name, offer.window),)),
        )

    def keep(self, owner: str, chosen: ModelChosen) -> ModelChosen:
        """What a session goes on with: the same, unless it was the default and that is another now, or it is gone."""
        settings = self._settings
        on_router = chosen.base_url == settings.places.router_url
        may = whose_token(self._token_of(owner), settings) != "nobody" if on_router else self._is_here(chosen.base_url)
        if on_router and may:
            chosen = self._repriced(chosen)
        if chosen.wish:
            return chosen if may else self.choose(owner, Wish())
        default = settings.model_id
        same = not settings.model_base_url and _bare(default or chosen.model) == _bare(chosen.model)
        return chosen if on_router and same and may else self.choose(owner, Wish())

    def thinker(self, owner: str, chosen: ModelChosen, session: str) -> tuple[Thinker, SecondPayer | None]:
        """The model to ask, and who pays beside the session's own limit. The Hugging Face token goes to the router alone."""
        settings = self._settings
        if chosen.base_url == EMBEDDED:
            return EmbeddedModel(chosen.model), None
        if chosen.base_url != settings.places.router_url:
            key = settings.model_api_key if chosen.base_url == settings.model_base_url else ""
            return RouterModel(chosen.model, chosen.base_url, key, window=chosen.window), None
        lent = self._token_of(owner)
        by_owner = whose_token(lent, settings) == "owner"
        token = settings.hf_token if by_owner else lent
        bill_to = settings.bill_to if by_owner else chosen.bill_to
        model = RouterModel(
            chosen.model, chosen.base_url, token, bill_to=bill_to, session_id=session, window=chosen.window
        )
        return model, _Share(self._purse, owner, session) if by_owner else None

    def _embedded(self, wish: str) -> ModelChosen:
        offer = embedded.offer()
        if offer is None:
            raise Problem("There is no model inside this app.", embedded.why_not())
        note = f"It runs inside this app ({offer.device}). {offer.speed}"
        return ModelChosen(
            model=offer.name,
            base_url=EMBEDDED,
            provider="embedded",
            window=offer.window,
            free=True,
            wish=wish,
            note=note,
        )

    def _repriced(self, chosen: ModelChosen) -> ModelChosen:
        """The same model at the same provider, at today's price. Where nobody tells one, the last known holds."""
        try:
            now = self.choices.catalogue.resolve(chosen.model)
        except Problem:
            return chosen
        if now.model_id != chosen.model or now.price_in is None or now.price_out is None:
            return chosen
        prices = {"input_price": now.price_in, "output_price": now.price_out, "cached_price": now.price_cached}
        return chosen.model_copy(update=prices)

    def _is_here(self, base_url: str) -> bool:
        if base_url == EMBEDDED:
            return bool(self.inside())
        return base_url == self._settings.model_base_url or any(
            offer.base_url == base_url for offer in self.choices.own()
        )


@dataclass(frozen=True)
class _Share:
    """A visitor's share of the owner's money, as the session's purse sees it."""

    purse: VisitorCaps
    visitor: str
    session: str

    def reserve(self, hold: str, micro_usd: int) -> None:
        self.purse.reserve(self.visitor, f"{self.session}/{hold}", micro_usd)

    def settle(self, hold: str, micro_usd: int) -> None:
        self.purse.settle(f"{self.session}/{hold}", micro_usd)


def selected(chosen: ModelChosen, router_url: str) -> Selection:
    """What a session thinks with, as the page's list of models has it."""
    as_listed = Chosen(
        chosen.model,
        chosen.provider,
        chosen.window,
        chosen.input_price,
        chosen.output_price,
        chosen.cached_price,
        supports_tools=None,
        note=chosen.note,
    )
    return Selection(as_listed, "" if chosen.base_url == router_url else chosen.base_url, chosen.bill_to)


def _bare(model: str) -> str:
    """Without the provider or the route after its colon."""
    return model.partition(":")[0]
