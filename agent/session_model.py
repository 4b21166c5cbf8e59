"""What one session thinks with: chosen once, kept, and paid for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from agent.events import Entry, ModelChosen
from agent.models.deltas import Thinker
from agent.models.metered import Counted, Metered, Purse, TokenPrices
from agent.models.selection import Wish
from agent.money.books import Books
from agent.resources import Resources
from tools.cards import Answer, RaiseCap
from tools.problem import Problem


class SessionModel:
    def __init__(self, resources: Resources, books: Books, entries: Sequence[Entry]) -> None:
        self._resources, self._books = resources, books
        self._chosen = next((e.event for e in reversed(entries) if isinstance(e.event, ModelChosen)), None)
        self._counted = Counted()
        self._bill_is_readable = True
        self._lock = threading.Lock()

    @property
    def chosen(self) -> ModelChosen | None:
        return self._chosen

    def choose(self, wish: Wish) -> ModelChosen:
        """Think with another model from the next run on. Raises Problem when there is no such model."""
        return self._take(self._resources.choose(wish))

    def thinker(self, ask: Callable[[RaiseCap], tuple[Answer, RaiseCap]]) -> Thinker:
        """The model for one run; paid from the session's limit for thinking unless it costs nothing.

        ask: put a card before the user when that limit is reached.
        """
        known = self._chosen
        chosen = self._take(self._resources.keep(known) if known else self._resources.choose(Wish()))
        model, other = self._resources.thinker(chosen)
        if chosen.free:
            return model
        if chosen.input_price is None or chosen.output_price is None:
            raise Problem(
                f"Nobody says what {chosen.model} costs, so no limit can be kept.", "Pick another model or provider."
            )
        prices = TokenPrices(chosen.input_price, chosen.output_price, chosen.cached_price)
        return Metered(model, prices, Purse(self._books, ask, other), window=chosen.window, counted=self._counted)

    def reconcile(self) -> None:
        """Correct what thinking has cost to what the bill says, once the bill knows of every call that was charged.

        A bill comes late, and until it is whole it says too little. One that may not be read is not asked for again.
        """
        if not self._bill_is_readable or (self._chosen and self._chosen.free):
            return
        try:
            bill = self._resources.bill()
        except Problem:
            self._bill_is_readable = False
            return
        if bill is not None:
            self._books.correct_thinking(bill.micro_usd, bill.requests)

    def _take(self, chosen: ModelChosen) -> ModelChosen:
        with self._lock:
            if chosen != self._chosen:
                self._books.emit(chosen)
                self._chosen = chosen
        return chosen
