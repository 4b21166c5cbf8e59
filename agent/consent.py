"""How a request gets its answer in one session: by the policy, or by a person."""

from __future__ import annotations

import threading
from typing import TypeVar, cast

from agent.approval import Approvals
from agent.books import Books
from agent.events import ApprovalAnswered
from agent.outside import Outside
from agent.pinned import Pinned
from agent.policy import judge
from tools.cards import Answer, Request
from tools.desk import Refused

R = TypeVar("R", bound=Request)


class Consents:
    def __init__(self, session: str, outside: Outside, books: Books, approvals: Approvals, pinned: Pinned) -> None:
        self._session, self._outside, self._books = session, outside, books
        self._approvals, self._pinned = approvals, pinned

    def get(self, call: str, request: R, stop: threading.Event) -> tuple[Answer, R]:
        """The answer, and the request as agreed. Waits for a person; raises Stopped, and Refused for what is pinned."""
        pinned = self._pinned
        verdict = judge(request, self._outside.approve, self._books.ledger, pinned.demands, pinned.made)
        if verdict.do == "ask":
            self._outside.notices.asked(self._session, request)
            said: ApprovalAnswered = self._approvals.ask(call, request, stop)
        else:
            yes = verdict.do == "allow"
            answer = Answer(verdict="yes" if yes else "no", reason=verdict.reason)
            said = self._approvals.decide(call, request, answer)
            if verdict.hint:
                raise Refused(verdict.reason, verdict.hint)
        if said.answer.verdict == "yes":
            pinned.agreed(said.request)
        return said.answer, cast(R, said.request)  # an edit keeps the kind
