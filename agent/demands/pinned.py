"""What is pinned in one session: heard in the user's words, pinned by the agent in them, set by the user on the page."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Sequence

from agent.demands.clauses import LONGEST_TEXT
from agent.demands.heard import demands_in, names_in
from agent.demands.heard_terms import amount_in, licence_in
from agent.demands.rules import after_rewinding, folded, made_by, merged
from agent.events import ApprovalAnswered, DemandsSet, Entry, Event, Rewound, UserSaid
from agent.job_events import JobSubmitting
from agent.undo import standing, turn_to_undo
from tools.cards import Answer, Demand, Request
from tools.problem import Problem

MOST = 50  # demands of a session
_SHORTEST = 3  # characters that can say something


class Pinned:
    """All methods may be called from any thread."""

    def __init__(
        self, emit: Callable[[Event], object], past: Sequence[Entry], entries: Callable[[], Iterable[Entry]]
    ) -> None:
        """past: what the journal holds already. entries: the whole of it, as it stands when it is called."""
        self._emit, self._entries = emit, entries
        self._lock = threading.RLock()
        self._demands = folded(past)
        self.made = {name for entry in past for name in _made(entry.event)}

    @property
    def demands(self) -> tuple[Demand, ...]:
        return self._demands

    def heard(self, said: str | Answer) -> None:
        """Pin what the user's own words demand."""
        text = said if isinstance(said, str) else f"{said.text}\n{said.reason}"
        with self._lock:
            self._put(merged(self._demands, demands_in(text))[:MOST], "app")

    def agreed(self, request: Request) -> None:
        """What the user agreed to may load later what it makes."""
        self.made |= made_by(request)

    def pin(self, demand: Demand) -> None:
        """Pin for the agent. Raises Problem unless the user's own words say so, and what is pinned stays as strict as it was."""
        with self._lock:
            said = self._user_texts()
            if len(_flat(demand.text)) < _SHORTEST or not any(_flat(demand.text) in text for text in said):
                raise Problem(
                    f"The user never wrote {demand.text[:80]!r}.",
                    "text must be the user's own words, copied letter by letter from one of their messages.",
                )
            _check_value(demand)
            self._check_strictness(demand)
            if len(self._demands) >= MOST:
                raise Problem(f"{MOST} demands are pinned already.", "Keep the others in your plan.")
            if demand not in self._demands:
                self._put((*self._demands, demand), "agent")

    def set(self, demands: Sequence[Demand]) -> None:
        """The user's own list, whole. What comes without a value is read as if it had been said."""
        if len(demands) > MOST:
            raise Problem(f"{len(demands)} demands are too many.", f"Pin at most {MOST}.")
        listed: list[Demand] = []
        for demand in demands:
            if not demand.text.strip() or len(demand.text) > LONGEST_TEXT or len(demand.value) > LONGEST_TEXT:
                raise Problem("A demand needs words.", f"Write it in 1 to {LONGEST_TEXT} characters.")
            read = demands_in(demand.text) if demand.about == "other" and demand not in self._demands else ()
            listed += [one for one in read or (demand,) if one not in listed]
        with self._lock:
            self._put(tuple(listed), "user")

    def take_back(self, run: str = "") -> None:
        """Take back this run and all after it, or the last one; its words demand nothing any more. Raises Problem."""
        with self._lock:
            seq = turn_to_undo(self._entries(), run)
            self._emit(Rewound(seq=seq))
            demands = after_rewinding(self._entries(), seq)
            if demands or self._demands:  # told also if nothing changed: what was set since then is forgotten, too
                self._demands = demands
                self._emit(DemandsSet(demands=demands, by="app"))

    def _put(self, demands: tuple[Demand, ...], by: str) -> None:
        if demands != self._demands:
            self._emit(DemandsSet.model_validate({"demands": demands, "by": by}))
            self._demands = demands

    def _user_texts(self) -> list[str]:
        """The user's messages and answers that stand."""
        texts = []
        for entry in standing(self._entries()):
            match entry.event:
                case UserSaid(text=text):
                    texts.append(_flat(text))
                case ApprovalAnswered(by="user", answer=answer):
                    texts += [_flat(answer.text), _flat(answer.reason)]
        return texts

    def _check_strictness(self, demand: Demand) -> None:
        """A second "must" of a kind widens what the first allows; that is the user's to say."""
        for one in self._demands:
            if one.about != demand.about or not one.value or one.value == demand.value or one.rule != demand.rule:
                continue
            if demand.rule == "must" and demand.about in ("base_model", "data", "method", "licence"):
                raise Problem(
                    f"“{one.text}” is pinned already, and {demand.value or demand.text!r} would widen it.",
                    "Ask the user with ask_user; their answer counts, and they can change what is pinned on the page.",
                )


def _check_value(demand: Demand) -> None:
    """What code will check must stand in the words."""
    value, text = demand.value, demand.text
    if not value:
        return
    named = _flat(value) in _flat(text) or value in {_flat(name) for name in names_in(text)}
    stands = {
        "budget": value == str(amount_in(text)),
        "licence": value == licence_in(text),
        "privacy": value in ("private", "publish", "local"),
    }.get(demand.about, named)
    if not stands:
        raise Problem(
            f"The value {value!r} does not stand in the words {text[:80]!r}.",
            "Take it from them (for a budget the micro-dollars, 3000000 for $3), or leave it empty.",
        )


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().lower()


def _made(event: Event) -> set[str]:
    return made_by(event.request) if isinstance(event, JobSubmitting) else set()
