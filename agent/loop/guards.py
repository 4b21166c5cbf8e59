"""Whether the agent is still getting on. Pure: told what happened, each guard says what is to be done about it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

SAME = 3  # times the same code with the same result, until the agent is warned
ROUNDS = 2  # of a cycle, until it is
CYCLES = range(2, 6)  # steps in one round
ENOUGH = 6  # times the same within one episode, until the run ends
NUDGES = 2  # about a plan that is not finished, per run
EMPTY_REPLIES = 3  # in a row, until the run ends
CUT_OFFS = 4
_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,16}\b", re.IGNORECASE)


@dataclass(frozen=True)
class GuardVerdict:
    """did: as in Guarded. user: one sentence for the person; model: what the agent reads; both "" when all is well."""

    did: Literal["hint", "retry", "end"]
    user: str
    model: str = ""


def signature(code: str, result: str) -> str:
    """What was done and what came of it. A result that differs is another one: waiting for something is no repetition.

    Only what cannot tell progress is left out: blanks, and addresses of objects.
    """
    plain = " ".join(code.split()) + "\0" + " ".join(_ADDRESS.sub("0x", result).split())
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()


@dataclass
class Repetition:
    """Warns once per episode; an episode ends with the first step that does not fit into it, and is forgotten then."""

    _seen: list[str] = field(default_factory=list)
    _round: int = 0  # steps in a round of the episode that is on; 0: none is

    def take(self, code: str, result: str) -> GuardVerdict | None:
        sign = signature(code, result)
        if self._round and sign != self._seen[-self._round]:
            self._seen, self._round = [], 0
        self._seen.append(sign)
        if self._round:
            return self._enough(sign)
        self._seen = self._seen[-max(CYCLES) * ROUNDS :]
        self._round = _round_of(self._seen)
        if not self._round:
            return None
        if self._round == 1:
            what = f"The same code gave the same result {SAME} times"
        else:
            what = f"The last {self._round} steps came a second time, with the same results"
        return GuardVerdict(
            "hint",
            f"{what}; the agent was told to do something else.",
            f"({what}. Repeating it again will not help: read what it says, then do something different. If nothing is "
            "left to try, say what stands in the way and ask the user, or give your answer as far as it goes.)",
        )

    def _enough(self, sign: str) -> GuardVerdict | None:
        if Counter(self._seen)[sign] < ENOUGH:
            return None
        return GuardVerdict("end", f"The agent repeated itself: the same step gave the same result {ENOUGH} times.")


def _round_of(seen: Sequence[str]) -> int:
    """Steps in the round that the last steps repeat; 0 if they repeat nothing."""
    if len(seen) >= SAME and len(set(seen[-SAME:])) == 1:
        return 1
    for steps in CYCLES:
        tail = seen[-steps * ROUNDS :]
        if len(tail) == steps * ROUNDS and tail[:steps] == tail[steps:] and len(set(tail)) > 1:
            return steps
    return 0


@dataclass
class Plan:
    """Nudges an agent that wants to answer though its plan has open items."""

    _nudges: int = 0

    def ask(self, open_items: Sequence[str]) -> GuardVerdict | None:
        if not open_items or self._nudges == NUDGES:
            return None
        self._nudges += 1
        count = f"{len(open_items)} item{'s' if len(open_items) > 1 else ''}"
        items = "\n".join(f"- {text}" for text in open_items)
        return GuardVerdict(
            "hint",
            f"The agent wanted to answer with {count} of its plan open, and was asked to go on.",
            f"(Your plan still has {count} open:\n{items}\nYour answer was not given to the user yet. Go on with the "
            "plan; or update it with plan(), if it is done or does not hold any more; then answer. If only the user can "
            "help, ask, or answer again and say what is missing.)",
        )


@dataclass
class Replies:
    """Replies that nothing can be done with: empty ones, and those cut off at the server's limit."""

    _empty: int = 0
    _cut: int = 0

    @property
    def wants_more(self) -> bool:
        """Replies were cut off more than once in a row: a larger budget is worth a try."""
        return self._cut > 1

    def take(self, *, empty: bool, cut: bool) -> GuardVerdict | None:
        self._cut = self._cut + 1 if cut else 0
        self._empty = self._empty + 1 if empty and not cut else 0
        if cut:
            return self._cut_off()
        return self._was_empty() if empty else None

    def _cut_off(self) -> GuardVerdict:
        if self._cut == CUT_OFFS:
            text = f"{CUT_OFFS} replies in a row were cut off at the server's length limit."
            return GuardVerdict("end", text)
        return GuardVerdict(
            "hint",
            "The reply was cut off at the server's length limit; nothing of it ran, and the agent was told to be shorter.",
            "Your reply was cut off at the server's length limit, and nothing of it ran. Write a shorter step: less "
            "thought, and long files in several steps.",
        )

    def _was_empty(self) -> GuardVerdict:
        if self._empty == EMPTY_REPLIES:
            return GuardVerdict("end", f"The model gave {EMPTY_REPLIES} empty replies in a row.")
        return GuardVerdict("retry", "The model's reply was empty; it was asked again.")
