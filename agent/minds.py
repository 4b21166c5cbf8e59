"""Which model thinks: from the user's wish, the settings and what the router lists, to one that can be asked."""

from __future__ import annotations

from dataclasses import dataclass

from agent.events import ModelChosen
from agent.metered import Thinker
from agent.models.catalogue import Catalogue
from agent.models.router import RouterModel
from agent.settings import DEFAULT_MODEL, Settings
from tools.desk import Problem
from tools.web import Web


@dataclass(frozen=True)
class Wish:
    """What the user picked. Empty: the default."""

    model: str = ""
    base_url: str = ""
    bill_to: str = ""


@dataclass(frozen=True)
class ModelFacts:
    model_id: str
    base_url: str
    ready: bool
    missing: str  # one sentence: what is missing and how to add it; "" when ready


class Minds:
    """For all sessions of the app; safe for all threads."""

    def __init__(self, settings: Settings, web: Web) -> None:
        self._settings = settings
        self.catalogue = Catalogue(web)

    def facts(self, has_token: bool) -> ModelFacts:
        """The default model, without asking anybody for it."""
        settings = self._settings
        missing = ""
        if not settings.model_base_url and not has_token:
            missing = (
                "Sign in with Hugging Face to give the agent a model to think with."
                if settings.on_space
                else "There is no model yet: set HF_TOKEN to use Hugging Face's models, or MODEL_BASE_URL to use your own server."
            )
        base_url = settings.model_base_url or settings.places.router_url
        return ModelFacts(settings.model_id or DEFAULT_MODEL, base_url, not missing, missing)

    def choose(self, wish: Wish, has_token: bool) -> ModelChosen:
        """The model that a session keeps from here on. Raises Problem when there is none, or not that one."""
        facts = self.facts(has_token)
        own = self._settings.model_base_url
        if own and wish.base_url in ("", own):
            return ModelChosen(model=wish.model or facts.model_id, base_url=own, free=True, wish=wish.model)
        if not has_token:
            raise Problem(facts.missing or "Hugging Face's models need a token.", "" if facts.missing else "Sign in.")
        chosen = self.catalogue.resolve(wish.model or self._default())
        return ModelChosen(
            model=chosen.model_id,
            base_url=self._settings.places.router_url,
            provider=chosen.provider,
            window=chosen.window,
            input_price=chosen.price_in,
            output_price=chosen.price_out,
            cached_price=chosen.price_cached,
            wish=wish.model,
            bill_to=wish.bill_to or self._settings.bill_to,
            note=chosen.note,
        )

    def kept(self, chosen: ModelChosen, has_token: bool) -> ModelChosen:
        """What a session goes on with: the same, unless it was the default and that is another now, or it is gone."""
        own = self._settings.model_base_url
        if chosen.base_url == self._settings.places.router_url:
            default = self._settings.model_id
            same = chosen.wish or (not own and _bare(default or chosen.model) == _bare(chosen.model))
            if has_token and same:
                return chosen
        elif chosen.base_url == own and chosen.wish:
            return chosen
        return self.choose(Wish(), has_token)

    def thinker(self, chosen: ModelChosen, token: str, session: str) -> Thinker:
        """The model to ask. The Hugging Face token goes to the router alone."""
        if chosen.base_url != self._settings.places.router_url:
            return RouterModel(chosen.model, chosen.base_url, self._settings.model_api_key)
        return RouterModel(chosen.model, chosen.base_url, token, bill_to=chosen.bill_to, session_id=session)

    def _default(self) -> str:
        if self._settings.model_id:
            return self._settings.model_id
        return self.catalogue.default().id


def _bare(model: str) -> str:
    """Without the provider or the route after its colon."""
    return model.partition(":")[0]
