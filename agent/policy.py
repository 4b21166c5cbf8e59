"""Who decides about a request: the user's settings, or the user. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.demands import ASK, violations
from agent.ledger import Ledger
from tools.cards import Demand, Request, Spend

Approve = Literal["ask", "none", "within-budget"]
"""ask: a person answers. none: nobody is there, all is refused. within-budget: spending that fits is allowed unasked."""


@dataclass(frozen=True)
class Verdict:
    do: Literal["allow", "ask", "deny"]
    reason: str = ""
    hint: str = ""  # what to do next, where that is not just to accept it


def judge(
    request: Request,
    approve: Approve,
    ledger: Ledger,
    demands: Sequence[Demand] = (),
    made: Collection[str] = (),
) -> Verdict:
    """Allow, ask or deny. What does not fit into the budget is asked, for a person may raise it; unasked it is denied.

    demands: what the user pinned; what goes against it is denied, so that nothing else is put in its place.
    made: repositories that the session itself made.
    """
    if broken := violations(demands, request, committed_micro_usd=ledger.committed, made=made):
        return Verdict("deny", " ".join(broken), ASK)
    if approve == "ask":
        return Verdict("ask")
    if isinstance(request, Spend) and not fits(request, ledger):
        return Verdict("deny", over_budget(request, ledger))
    if approve == "within-budget" and isinstance(request, Spend) and request.schedule:
        return Verdict("deny", "what starts again by itself needs a person's word")
    if approve == "within-budget" and isinstance(request, Spend):
        return Verdict("allow", "within the budget that was given")
    return Verdict("deny", "nobody is there to ask")


def fits(request: Spend, ledger: Ledger) -> bool:
    return not ledger.missing(request.hold_micro_usd)


def over_budget(request: Spend, ledger: Ledger) -> str:
    return (
        f"{cost_and_free(request.hold_micro_usd, ledger)}. "
        "Only the user can raise it: by a click on the sum beside “Compute”, or with --budget"
    )


def cost_and_free(micro_usd: int, ledger: Ledger) -> str:
    free = usd(ledger.free("compute"))
    return f"it may cost up to {usd(micro_usd)}, and {free} of the budget of {usd(ledger.compute.limit)} is free"


def usd(micro_usd: int) -> str:
    """Dollars for the eye, rounded up to a cent so that no cost looks smaller than it is."""
    sign = "-" if micro_usd < 0 else ""
    cents = -(-abs(micro_usd) // 10_000)
    return f"{sign}${cents // 100}.{cents % 100:02d}"
