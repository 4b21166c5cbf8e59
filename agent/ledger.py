"""Money of one session, folded from its journal. Whole micro-dollars; pure; no clock.

free = budget - held - spent. A hold is the most a job can cost; settling replaces it by what it did cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from agent.events import BudgetSet, Entry, Event, MoneyReleased, MoneyReserved, MoneySettled


@dataclass(frozen=True)
class Ledger:
    budget: int = 0
    spent: int = 0
    holds: tuple[tuple[str, int], ...] = ()

    @property
    def held(self) -> int:
        return sum(micro_usd for _, micro_usd in self.holds)

    @property
    def free(self) -> int:
        return self.budget - self.spent - self.held


def after(ledger: Ledger, event: Event) -> Ledger:
    """The ledger once event has happened. A repeated hold, settlement or release changes nothing."""
    match event:
        case BudgetSet(micro_usd=budget):
            return replace(ledger, budget=budget)
        case MoneyReserved(hold=hold, micro_usd=micro_usd) if hold not in dict(ledger.holds):
            return replace(ledger, holds=(*ledger.holds, (hold, micro_usd)))
        case MoneySettled(hold=hold, micro_usd=micro_usd) if hold in dict(ledger.holds):
            return replace(_without(ledger, hold), spent=ledger.spent + micro_usd)
        case MoneyReleased(hold=hold):
            return _without(ledger, hold)
        case _:
            return ledger


def folded(entries: Iterable[Entry]) -> Ledger:
    ledger = Ledger()
    for entry in entries:
        ledger = after(ledger, entry.event)
    return ledger


def _without(ledger: Ledger, hold: str) -> Ledger:
    return replace(ledger, holds=tuple(h for h in ledger.holds if h[0] != hold))
