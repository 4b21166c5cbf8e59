"""How a request gets its answer in one session: by the policy, or by a person."""

from __future__ import annotations

import threading
import time
from typing import TypeVar, cast

from agent.consent.approvals import Approvals
from agent.consent.policy import RULES, judge
from agent.demands.pinned import Pinned
from agent.demands.rules import pinned_budget, violations
from agent.events import ApprovalAnswered
from agent.money.books import Books
from agent.money.ledger import Ledger, cost_and_free, fits, limit_for
from agent.resources import Resources
from tools.cards import Answer, Request
from tools.money import usd_exact
from tools.problem import Problem, Refused

R = TypeVar("R", bound=Request)


class Consents:
    def __init__(
        self, session: str, resources: Resources, books: Books, *, approvals: Approvals, pinned: Pinned
    ) -> None:
        self._session, self._resources, self._books = session, resources, books
        self._approvals, self._pinned = approvals, pinned

    def get(self, call: str, request: R, stop: threading.Event) -> tuple[Answer, R]:
        """The answer, and the request as agreed. Waits for a person; raises Stopped, and Refused for what is pinned."""
        pinned = self._pinned
        verdict = judge(request, self._resources.approve, self._books.ledger, demands=pinned.demands, made=pinned.made)
        if verdict.do == "ask":
            self._resources.notices.asked(self._session, request)
            said: ApprovalAnswered = self._approvals.ask(call, request, stop)
            self._tell_what_was_missing(said)
        else:
            yes = verdict.do == "allow"
            answer = Answer(verdict="yes" if yes else "no", reason=verdict.reason)
            said = self._approvals.decide(call, request, answer)
            if verdict.hint:
                raise Refused(verdict.reason, verdict.hint)
        if said.answer.verdict == "yes":
            pinned.agreed(said.request)
        return said.answer, cast(R, said.request)  # an edit keeps the kind

    def answer(self, approval: str, answer: Answer) -> None:
        """The user's own answer. Raises Problem when the question is not open or cannot be answered so; then it stays open."""
        self._approvals.answer(approval, answer, agree=lambda request: self._agree(request, answer))

    def reserve(self, hold: str, micro_usd: int) -> Ledger | None:
        """Hold the money for what was agreed, or return the ledger that it does not fit into: the last gate."""
        return self._books.reserve(hold, micro_usd, most=pinned_budget(self._pinned.demands))

    def budget_for(self, request: Request) -> int | None:
        """The limit for compute that a request needs; None if it fits under the one that stands."""
        ledger = self._books.ledger
        if fits(request, ledger):
            return None
        return limit_for(ledger, request.hold_micro_usd)

    def _agree(self, request: Request, answer: Answer) -> int | None:
        """What is pinned and the budget hold against the request as edited; the limit that was raised for it, if one was."""
        limit = answer.budget_micro_usd
        if limit is not None and not (answer.verdict == "yes" and request.hold_micro_usd):
            raise Problem("Only a yes to what costs money can raise the budget.", "Answer without it.")
        pinned = self._pinned
        pinned.heard(answer)  # before the tool goes on
        if answer.verdict == "no":
            return None
        committed = self._books.ledger.committed
        broken = violations(pinned.demands, request, committed_micro_usd=committed, made=pinned.made)
        most = pinned_budget(pinned.demands)
        if not broken and limit is not None and most is not None and limit > most:
            broken = [f"A budget of {usd_exact(limit)} is more than the {usd_exact(most)} that are pinned."]
        if broken:
            raise Problem(" ".join(broken), "Change the request, or what is pinned.")
        RULES[type(request)].check(request, time.time())
        return self._books.agree(request.hold_micro_usd, limit)

    def _tell_what_was_missing(self, said: ApprovalAnswered) -> None:
        """A no to what did not fit is a no to more money: the model reads that, and that less may be had."""
        request, ledger = said.request, self._books.ledger
        if said.answer.verdict == "yes" or fits(request, ledger):
            return
        why = f": {said.answer.reason}" if said.answer.reason else "."
        raise Refused(
            f"This needs more money: {cost_and_free(request.hold_micro_usd, ledger)}. The user did not raise it{why}",
            "Do not ask for the same again: make it cheaper, or do without it.",
        )
