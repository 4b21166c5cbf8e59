"""A session's books: its journal's writer and the money folded with it, under one lock.

Reserving is one step for all threads: what is free is looked at and taken before anybody else can look.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Literal

from agent.events import BudgetSet, Entry, Event, MoneyCorrected, MoneyReserved, Of
from agent.money.ledger import Ledger, after, bounded, cost_and_free, folded, limit_for
from tools.money import usd
from tools.problem import Problem


class Books:
    """All methods may be called from any thread."""

    def __init__(self, write: Callable[[Event], object], entries: Iterable[Entry]) -> None:
        """write: to the journal, at once durable for money. entries: what it holds already."""
        self._write = write
        self._lock = threading.RLock()
        self.ledger = folded(entries)

    def emit(self, event: Event) -> None:
        with self._lock:
            self._write(event)
            self.ledger = after(self.ledger, event)

    def reserve(self, hold: str, micro_usd: int, of: Of = "compute", *, most: int | None = None) -> Ledger | None:
        """Hold the money, or return the ledger that it does not fit into. most: what all may come to, whatever the limits."""
        with self._lock:
            ledger = self.ledger if most is None else bounded(self.ledger, most)
            if ledger.missing(micro_usd, of):
                return ledger
            self.emit(MoneyReserved(hold=hold, micro_usd=micro_usd, of=of))
            return None

    def reserve_thinking(self, micro_usd: int) -> str:
        """Hold money for one model call, under a new id; "" if it does not fit."""
        with self._lock:
            hold = f"think-{self.ledger.reservations + 1}"
            return hold if self.reserve(hold, micro_usd, "thinking") is None else ""

    def correct_thinking(self, billed: int, requests: int) -> None:
        """Set what thinking has cost to the bill, in micro-dollars, unless a call is open or unknown to the bill."""
        with self._lock:
            ledger = self.ledger
            difference = billed - ledger.thinking.spent
            if difference and not ledger.thinking.holds and requests >= ledger.calls:
                self.emit(MoneyCorrected(of="thinking", micro_usd=difference, source="billing"))

    def set_budget(self, micro_usd: int, of: Literal["compute", "thinking", "both"] = "compute") -> None:
        """The most this session may spend in all. A person's word only; no tool reaches this."""
        with self._lock:
            ledger = self.ledger
            accounts = [ledger.compute, ledger.thinking] if of == "both" else [ledger.account(of)]
            if micro_usd < sum(account.spent + account.held for account in accounts):
                raise Problem("That is less than what is already spent or reserved.", "Set a higher budget.")
            self.emit(BudgetSet(micro_usd=micro_usd, of=of))

    def agree(self, micro_usd: int, limit: int | None = None) -> int | None:
        """A person agrees to a cost, and may raise the limit for compute for it; returns what was raised, None if nothing.

        One step for all threads. Raises Problem when the cost does not fit under the limit given, or else the one that
        stands. What stands is never lowered by it. Whether the money is still there is for reserve to say.
        """
        with self._lock:
            now = self.ledger
            then = now if limit is None else after(now, BudgetSet(micro_usd=limit))
            if missing := then.missing(micro_usd):
                raise Problem(
                    f"{usd(missing)} is missing: {cost_and_free(micro_usd, then)}.",
                    f"It needs a budget of {usd(limit_for(now, micro_usd))}; or make it cheaper.",
                )
            if limit is None or limit <= now.compute.limit:
                return None
            self.set_budget(limit)
            return now.compute.limit
