"""All that can be chosen to think with here: the router's models, the servers of this machine, and who pays."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from agent.models import own_servers
from agent.models.catalogue import Catalogue
from agent.models.listing import Listing
from agent.models.own_servers import Offer, OwnModel
from agent.models.payers import Payer, payers
from agent.models.selection import Selection, own, select
from agent.settings import DEFAULT_MODEL, Settings
from tools.hub.hub import Hub

KEPT_SECONDS = 300.0
MOST_KEPT = 1_000
T = TypeVar("T")


class Choices:
    """One per app; safe for all threads. What was asked of the Hub or of a set server is kept for five minutes.

    token_of: an owner's own Hugging Face token, or "": never one that the owner of a Space lends to visitors.
    """

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        token_of: Callable[[str], str],
        *,
        ports: Collection[int] = tuple(own_servers.PORTS.values()),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._token_of, self._ports, self._clock = settings, token_of, ports, clock
        self.catalogue = catalogue
        self._payers: dict[str, tuple[float, tuple[Payer, ...]]] = {}  # by fingerprint of the token
        self._windows: dict[str, tuple[float, int | None]] = {}  # by model of the set server
        self._lock = threading.Lock()

    def listing(self) -> Listing:
        return self.catalogue.listing()

    def own(self) -> tuple[Offer, ...]:
        """The server that is set, or else those that were found on this machine, which are never used unasked."""
        url = self._settings.model_base_url.rstrip("/")
        if not url:
            return own_servers.find(on_space=self._settings.on_space, ports=self._ports)
        model, key = self._settings.model_id or DEFAULT_MODEL, self._settings.model_api_key
        window = self._cached(self._windows, model, lambda: own_servers.window_of(url, model, key))
        return (Offer(urlsplit(url).netloc.rpartition("@")[2], url, (OwnModel(model, window),)),)

    def payers(self, owner: str) -> Sequence[Payer]:
        """Who can pay for this owner; none for who has no token. Raises Problem when the Hub cannot be asked."""
        token = self._token_of(owner)
        if not token:
            return ()
        mark = hashlib.sha256(token.encode()).hexdigest()
        hub = self._settings.places.hf_endpoint
        return self._cached(self._payers, mark, lambda: payers(Hub(token, hub).account()))

    def default(self) -> Selection:
        """What a new session thinks with: the set server, MODEL_ID, or the first preset that is to be had."""
        if self._settings.model_base_url:
            [offer] = self.own()
            return Selection(own(offer.models[0].id, offer.base_url, [offer]), offer.base_url)
        if self._settings.model_id:
            chosen = self.catalogue.resolve(self._settings.model_id)
        else:
            preset = self.catalogue.default()
            chosen = preset.chosen or self.catalogue.resolve(preset.id)
        return Selection(chosen, "", self._settings.bill_to)

    def select(self, owner: str, model: str, base_url: str, *, bill_to: str) -> Selection:
        """What the owner chose, checked. Raises Problem for what is not offered."""
        offers = self.own() if base_url else ()
        able = self.payers(owner) if bill_to else ()
        return select(model, base_url, bill_to, catalogue=self.catalogue, offers=offers, payers=able)

    def _cached(self, kept: dict[str, tuple[float, T]], key: str, ask: Callable[[], T]) -> T:
        now = self._clock()
        with self._lock:
            known = kept.get(key)
        if known and 0 <= now - known[0] < KEPT_SECONDS:
            return known[1]
        value = ask()
        with self._lock:
            if len(kept) >= MOST_KEPT:
                kept.clear()
            kept[key] = now, value
        return value
