"""Who decides about a request: the user's settings, or the user. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.demands.rules import ASK, violations
from agent.money.ledger import Ledger, fits, over_budget
from agent.settings import Approve
from tools.cards import Demand, Request, Spend


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
