"""Questions and their answers. Register the waiter, then ask, then wait: an instant answer finds somebody waiting."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from agent.events import ApprovalAnswered, ApprovalAsked, Event
from tools.cards import Answer, Request
from tools.problem import Problem, Stopped

By = Literal["user", "policy", "stop"]
_REQUEST: TypeAdapter[Any] = TypeAdapter(Request)


class _Waiter:
    def __init__(self, request: Request) -> None:
        self.request = request
        self.answered = threading.Event()
        self.said: ApprovalAnswered | None = None


class Approvals:
    """The open questions of one session. The first answer to a question counts; any later one is refused."""

    def __init__(self, emit: Callable[[Event], object], asked_before: int = 0) -> None:
        """asked_before: how many questions the journal holds already, so that ids stay unique."""
        self._emit = emit
        self._ids = itertools.count(asked_before + 1)
        self._waiting: dict[str, _Waiter] = {}
        self._lock = threading.Lock()

    def ask(self, call: str, request: Request, stop: threading.Event) -> ApprovalAnswered:
        """Ask and wait. Raises Stopped when the run is stopped first; the question is closed then, too."""
        waiter = _Waiter(request)
        with self._lock:
            approval = f"a{next(self._ids)}"
            self._waiting[approval] = waiter
        self._emit(ApprovalAsked(approval=approval, call=call, request=request))
        if stop.is_set():  # Stop came between the check before this call and the registration above
            self.stop()
        waiter.answered.wait()
        said = waiter.said
        if said is None or said.by == "stop":
            raise Stopped
        return said

    def decide(self, call: str, request: Request, answer: Answer) -> ApprovalAnswered:
        """Note a decision of the policy, so that what was allowed or denied unasked can be seen."""
        with self._lock:
            approval = f"a{next(self._ids)}"
        self._emit(ApprovalAsked(approval=approval, call=call, request=request))
        said = ApprovalAnswered(approval=approval, answer=answer, by="policy", request=request)
        self._emit(said)
        return said

    def answer(
        self, approval: str, answer: Answer, by: By = "user", *, agree: Callable[[Request], int | None] = lambda _: None
    ) -> None:
        """Give the answer. Raises Problem when the question is unknown or already answered, or an edit is not possible.

        agree: what has to be done before this answer counts, and after which no other can; it returns the limit that
        was raised. When it raises Problem, the question stays open.
        """
        with self._lock:
            waiter = self._waiting.get(approval)
            if waiter is None:
                raise Problem(f"Question {approval!r} is not open.", "It may have been answered in another tab.")
            request = edited(waiter.request, answer)
            raised = agree(request)
            said = ApprovalAnswered(
                approval=approval, answer=answer, by=by, request=request, raised_from_micro_usd=raised
            )
            del self._waiting[approval]
        try:
            self._emit(said)  # on the disk before the tool goes on
        except BaseException:
            with self._lock:
                self._waiting[approval] = waiter  # not said, so it can be said again
            raise
        waiter.said = said
        waiter.answered.set()

    def stop(self) -> None:
        """Close every open question because the run was stopped."""
        for approval in list(self._waiting):
            try:
                self.answer(approval, Answer(verdict="no", reason="stopped"), by="stop")
            except Problem:
                continue  # the user's own answer was quicker

    @property
    def open(self) -> bool:
        return bool(self._waiting)

    def is_open(self, approval: str) -> bool:
        return approval in self._waiting


def edited(request: Request, answer: Answer) -> Request:
    """The request with the answer's edits in it. Raises Problem for a field that may not be edited or a value that is wrong."""
    if not answer.edits or answer.verdict == "no":
        return request
    if foreign := answer.edits.keys() - request.editable:
        raise Problem(
            f"{', '.join(sorted(foreign))} of this request cannot be edited.",
            f"These can: {', '.join(sorted(request.editable)) or 'none'}.",
        )
    try:
        changed: Request = _REQUEST.validate_python(request.model_dump() | answer.edits)
    except ValidationError as error:
        first = error.errors()[0]
        raise Problem(
            f"{'.'.join(str(part) for part in first['loc'][1:])} cannot be {first['input']!r}: {first['msg']}.",
            "Correct it.",
        ) from None
    return changed
