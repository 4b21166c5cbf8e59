"""Who decides about a request: the user's settings, or the user. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from agent.demands.rules import ASK, violations
from agent.money.ledger import Ledger, fits, over_budget
from agent.settings import Approve
from tools.cards import Delete, Demand, GoOn, Question, RaiseCap, Request, Spend
from tools.jobs import cron

R = TypeVar("R", bound=Request)


@dataclass(frozen=True)
class Verdict:
    do: Literal["allow", "ask", "deny"]
    reason: str = ""
    hint: str = ""  # what to do next, where that is not just to accept it


@dataclass(frozen=True)
class Rule(Generic[R]):
    """How requests of one kind are judged."""

    kind: type[R]
    unasked: Callable[[R, Approve, Ledger], Verdict]  # where no person answers; nothing that is pinned is against it
    check: Callable[[R, float], object] = lambda request, now: None  # noqa: ARG005  # as edited; raises Problem


def _within_budget(request: Spend, approve: Approve, ledger: Ledger) -> Verdict:
    if not fits(request, ledger):
        return Verdict("deny", over_budget(request, ledger))
    if approve == "none":
        return _NOBODY
    if request.schedule:
        return Verdict("deny", "what starts again by itself needs a person's word")
    return Verdict("allow", "within the budget that was given")


def _never(request: Request, approve: Approve, ledger: Ledger) -> Verdict:  # noqa: ARG001
    return _NOBODY


_NOBODY = Verdict("deny", "nobody is there to ask")
_TABLE = (
    Rule(Spend, _within_budget, cron.planned),  # a longer time limit may reach into the next run of its schedule
    Rule(Delete, _never),
    Rule(Question, _never),
    Rule(RaiseCap, _never),
    Rule(GoOn, _never),
)
RULES: Mapping[type[Request], Rule[Any]] = {rule.kind: rule for rule in _TABLE}


def judge(
    request: Request,
    approve: Approve,
    ledger: Ledger,
    *,
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
    return RULES[type(request)].unasked(request, approve, ledger)
