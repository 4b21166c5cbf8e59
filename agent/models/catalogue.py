"""The live catalogue: what the Hugging Face router lists now, read at most every five minutes for all sessions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from agent.models.listing import Chosen, Listing, Preset, read_listing
from tools.problem import Problem
from tools.web import Web

FRESH_SECONDS = 300.0
AGAIN_SECONDS = 20.0  # after a failure
PATIENCE = 10.0  # seconds for one reading
LIMIT_BYTES = 5_000_000


class Catalogue:
    """What the router lists. One reading at a time, whoever asks; safe for all threads. clock: Unix time."""

    def __init__(self, web: Web, clock: Callable[[], float] = time.time) -> None:
        self._web, self._clock = web, clock
        self._reading = threading.Lock()
        self._listing: Listing | None = None
        self._failed: tuple[float, Problem] | None = None  # when, and why

    def listing(self) -> Listing:
        """The list, at most five minutes old, or older with the reason in trouble.

        Raises Problem when the router was never read and cannot be read now.
        """
        if not self._due():
            return self._known()
        # Who has an older list does not wait for another's reading; who has none, does.
        if self._reading.acquire(blocking=self._listing is None):
            try:
                if self._due():
                    self._read()
            finally:
                self._reading.release()
        return self._known()

    def resolve(self, id: str) -> Chosen:
        """Pin an id to a provider: Listing.resolve, with a word on a list that is old."""
        listing = self.listing()
        chosen = listing.resolve(id)
        return replace(chosen, note=f"{chosen.note} {listing.trouble}".strip())

    def presets(self) -> tuple[Preset, ...]:
        return self.listing().presets()

    def default(self) -> Preset:
        """The first preset that the router offers: Listing.default."""
        return self.listing().default()

    def _due(self) -> bool:
        now = self._clock()
        if self._failed and 0 <= now - self._failed[0] < AGAIN_SECONDS:
            return False
        return self._listing is None or not 0 <= now - self._listing.read_at < FRESH_SECONDS

    def _known(self) -> Listing:
        listing, failed = self._listing, self._failed
        if listing is None:
            raise failed[1] if failed else Problem("The list of models was not read yet.", "Try again.")
        if failed is None:
            return listing
        at = time.strftime("%Y-%m-%d %H:%M", time.gmtime(listing.read_at))
        return replace(listing, trouble=f"The list of models is from {at} UTC: {failed[1].message}")

    def _read(self) -> None:
        began = time.monotonic()
        url = f"{self._web.places.router_url}/models"

        def check() -> None:
            if time.monotonic() - began > PATIENCE:
                raise Problem("The router did not send its list of models in time.", "Try again in a minute.")

        try:
            try:
                page = self._web.get(url, accept="application/json", limit_bytes=LIMIT_BYTES, fresh=True, check=check)
            except Problem as problem:  # its hint is for who reads papers
                raise Problem(
                    f"The router's list of models cannot be had: {problem.message}",
                    "Check the network and send your message again, or use a model server of your own.",
                ) from None
            if page.status != 200:
                raise Problem(f"The router answered {page.status} for its list of models.", "Try again in a minute.")
            try:
                self._listing = read_listing(page.body, self._clock())
            except ValueError:
                raise Problem("The router's list of models makes no sense.", "Try again in a minute.") from None
            self._failed = None
        except Problem as problem:
            self._failed = self._clock(), problem
