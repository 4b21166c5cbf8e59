"""Money of one session, folded from its journal. Whole micro-dollars; pure; no clock.

Two accounts: what jobs and machines cost (compute), and what model calls cost (thinking). free = limit - held - spent.
A hold is the most a thing can cost; settling replaces it by what it did cost. A budget for both together bounds them.
What a job was settled at is replaced once more when its bill comes. That alone can pass a limit: the money is spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from agent.events import BudgetSet, Entry, Event, MoneyCorrected, MoneyReleased, MoneyReserved, MoneySettled, Of
from agent.job_events import JobBilled
from tools.cards import Request
from tools.money import usd, usd_exact, usd_free

CENT = 10_000  # micro-dollars: what a person reads and agrees to
THINKING_LIMIT = 500_000  # micro-dollars that a session may spend on model calls before anybody is asked


@dataclass(frozen=True)
class Account:
    limit: int = 0
    spent: int = 0
    holds: Mapping[str, int] = field(default_factory=dict)

    @property
    def held(self) -> int:
        return sum(self.holds.values())


@dataclass(frozen=True)
class Ledger:
    compute: Account = Account()
    thinking: Account = Account(limit=THINKING_LIMIT)
    total: int | None = None  # for both together; None: each has its own limit only
    reservations: int = 0  # so far, for ids that are unique
    calls: int = 0  # of models that were charged
    unbilled: Mapping[str, int] = field(default_factory=dict)  # compute that was settled, until its bill comes

    @property
    def committed(self) -> int:
        """Spent and held, of both accounts."""
        return sum(each.spent + each.held for each in (self.compute, self.thinking))

    def account(self, of: Of) -> Account:
        return self.compute if of == "compute" else self.thinking

    def free(self, of: Of) -> int:
        """What may still be reserved; negative when more was spent than is allowed now."""
        account = self.account(of)
        own = account.limit - account.spent - account.held
        return own if self.total is None else min(own, self.total - self.committed)

    def missing(self, micro_usd: int, of: Of = "compute") -> int:
        """What is too little to reserve so much. What costs nothing always fits, also when more was spent than is allowed."""
        return max(0, micro_usd - self.free(of)) if micro_usd else 0


def after(ledger: Ledger, event: Event) -> Ledger:
    """The ledger once event has happened. A repeated hold, settlement, release or bill changes nothing."""
    match event:
        case BudgetSet(micro_usd=limit, of=of):
            return _limited(ledger, of, limit)
        case MoneyReserved(hold=hold, micro_usd=micro_usd, of=of) if _holder(ledger, hold) is None:
            account = ledger.account(of)
            ledger = replace(ledger, reservations=ledger.reservations + 1)
            return _with(ledger, of, replace(account, holds={**account.holds, hold: micro_usd}))
        case MoneySettled(hold=hold, micro_usd=micro_usd):
            calls = ledger.calls + (hold in ledger.thinking.holds)
            settled = {hold: micro_usd} if hold in ledger.compute.holds else {}
            return replace(_freed(ledger, hold, micro_usd), calls=calls, unbilled={**ledger.unbilled, **settled})
        case JobBilled(label=label, micro_usd=micro_usd) if label in ledger.unbilled:
            unbilled = {name: cost for name, cost in ledger.unbilled.items() if name != label}
            change = 0 if micro_usd is None else micro_usd - ledger.unbilled[label]
            spent = max(0, ledger.compute.spent + change)
            return replace(ledger, compute=replace(ledger.compute, spent=spent), unbilled=unbilled)
        case MoneyReleased(hold=hold):
            return _freed(ledger, hold, 0)
        case MoneyCorrected(micro_usd=micro_usd, of=of):
            account = ledger.account(of)
            return _with(ledger, of, replace(account, spent=max(0, account.spent + micro_usd)))
        case _:
            return ledger


def limit_for(ledger: Ledger, micro_usd: int) -> int:
    """The lowest limit for compute under which so much more may be reserved, in whole cents; the one that stands if it fits.

    Where a limit for both is in the way, it is what both have used and the new sum need: raising one raises it, too.
    """
    if not ledger.missing(micro_usd):
        return ledger.compute.limit
    needed = ledger.compute.spent + ledger.compute.held + micro_usd
    if ledger.total is not None and micro_usd > ledger.total - ledger.committed:
        needed = ledger.committed + micro_usd
    return -(-needed // CENT) * CENT


def fits(request: Request, ledger: Ledger) -> bool:
    return not ledger.missing(request.hold_micro_usd)


def over_budget(request: Request, ledger: Ledger) -> str:
    return (
        f"{cost_and_free(request.hold_micro_usd, ledger)}. "
        "Only the user can raise it: by a click on the sum beside “Compute”, or with --budget"
    )


def cost_and_free(micro_usd: int, ledger: Ledger) -> str:
    free, limit = usd_free(ledger.free("compute")), usd_exact(ledger.compute.limit)
    return f"it may cost up to {usd(micro_usd)}, and {free} of the budget of {limit} is free"


def bounded(ledger: Ledger, most: int) -> Ledger:
    """As if no limit were above this sum, each by itself and both together."""
    compute, thinking = (replace(each, limit=min(each.limit, most)) for each in (ledger.compute, ledger.thinking))
    return replace(
        ledger, compute=compute, thinking=thinking, total=most if ledger.total is None else min(ledger.total, most)
    )


def folded(entries: Iterable[Entry]) -> Ledger:
    ledger = Ledger()
    for entry in entries:
        ledger = after(ledger, entry.event)
    return ledger


def _limited(ledger: Ledger, of: Literal["compute", "thinking", "both"], limit: int) -> Ledger:
    """A new limit. Whoever raises one above the limit for both raises that, too."""
    if of == "both":
        compute, thinking = replace(ledger.compute, limit=limit), replace(ledger.thinking, limit=limit)
        return replace(ledger, compute=compute, thinking=thinking, total=limit)
    total = None if ledger.total is None else max(ledger.total, limit)
    return _with(replace(ledger, total=total), of, replace(ledger.account(of), limit=limit))


def _holder(ledger: Ledger, hold: str) -> Of | None:
    if hold in ledger.compute.holds:
        return "compute"
    return "thinking" if hold in ledger.thinking.holds else None


def _freed(ledger: Ledger, hold: str, cost: int) -> Ledger:
    of = _holder(ledger, hold)
    if of is None:
        return ledger
    account = ledger.account(of)
    holds = {name: held for name, held in account.holds.items() if name != hold}
    return _with(ledger, of, replace(account, holds=holds, spent=account.spent + cost))


def _with(ledger: Ledger, of: Of, account: Account) -> Ledger:
    return replace(ledger, compute=account) if of == "compute" else replace(ledger, thinking=account)
