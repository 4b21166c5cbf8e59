"""Thinking is paid before it is done: every model call holds the most it can cost, and is settled by its real usage.

The most is a true bound: no token is shorter than a byte, what the provider has counted before need not be guessed
again, and max_tokens bounds the reply. A call whose bound does not fit is not made before a person gave a new cap.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from agent.events import Event, MoneyReleased, MoneySettled
from agent.models.deltas import Broken, Cancel, Delta, Done, NotAsked, Reasoning, Restarted, Text, Thinker, Usage
from agent.models.router import plain_messages
from tools.cards import Answer, RaiseCap
from tools.money import usd_exact
from tools.problem import Problem, RunEnd

REPLY_TOKENS = 16_384  # the longest reply that is paid for, thought included
SHORTEST_REPLY = 2_048  # less is not worth asking for; rather the cap is raised
SLACK_TOKENS = 512  # what a chat template adds
SLACK_PER_MESSAGE = 16
BYTES_PER_TOKEN = 3  # for the estimate of a call whose usage nobody told; most text has 4 or more
CAP_STEP = 500_000  # micro-dollars by which a new cap is proposed
NO_USAGE = "estimate: the provider told no usage"
BROKE_OFF = "estimate: the call broke off"
BROKE_OFF_COUNTED = "usage and list price: the call broke off"
BY_USAGE = "usage and list price"
CUT_SHORT = "worst case: the app ended during the call"


@dataclass(frozen=True)
class TokenPrices:
    """Whole micro-dollars per million tokens."""

    input: int
    output: int
    cached: int | None = None  # of input tokens read from the provider's cache; None: they cost the full price

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> int:
        """Micro-dollars, rounded up."""
        cached = min(cached_tokens, input_tokens)
        cached_price = self.input if self.cached is None else self.cached
        in_millionths = (input_tokens - cached) * self.input + cached * cached_price + output_tokens * self.output
        return -(-in_millionths // 1_000_000)


class CapReached(RunEnd):
    """The next call does not fit under the cap, and nobody raised it."""

    why = "budget"

    def __init__(self, cap: int) -> None:
        """cap: micro-dollars."""
        super().__init__(
            f"The limit of {usd_exact(cap)} for thinking does not allow the next call. Raise it and send a message to go on."
        )


class ThinkingAccount(Protocol):
    """Whole micro-dollars, as all of the books."""

    @property
    def limit(self) -> int: ...
    @property
    def spent(self) -> int: ...
    @property
    def holds(self) -> Mapping[str, int]: ...  # of calls that are open


class ThinkingLedger(Protocol):
    @property
    def thinking(self) -> ThinkingAccount: ...
    @property
    def total(self) -> int | None: ...  # the limit for compute and thinking together; None: there is none
    def free(self, of: Literal["thinking"]) -> int: ...


class ThinkingBooks(Protocol):
    """A session's books, as far as a model call needs them. Models know no more of money."""

    @property
    def ledger(self) -> ThinkingLedger: ...
    def reserve_thinking(self, micro_usd: int) -> str: ...  # the hold's id; "" if it does not fit
    def set_budget(self, micro_usd: int, of: Literal["thinking"]) -> None: ...  # raises Problem below what is used
    def emit(self, event: Event) -> None: ...


class SecondPayer(Protocol):
    """Who pays beside the session's own limit: the owner of the Space for a visitor, for example."""

    def reserve(self, hold: str, micro_usd: int) -> None: ...  # raises Problem when it does not fit
    def settle(self, hold: str, micro_usd: int) -> None: ...


class Purse:
    """The session's money for thinking. At the cap it asks for a new one, with one card whoever else waits."""

    def __init__(
        self, books: ThinkingBooks, ask: Callable[[RaiseCap], tuple[Answer, RaiseCap]], other: SecondPayer | None = None
    ) -> None:
        self._books, self._ask, self._other = books, ask, other
        self._asking = threading.Lock()

    @property
    def free(self) -> int:
        return self._books.ledger.free("thinking")

    def hold(self, micro_usd: int, model: str) -> str:
        """Hold the money; returns the hold's id. Raises CapReached when the user does not raise the cap, and Stopped."""
        hold = self._books.reserve_thinking(micro_usd)
        while not hold:
            with self._asking:
                hold = self._books.reserve_thinking(micro_usd) or self._raised(micro_usd, model)
        if self._other:
            try:
                self._other.reserve(hold, micro_usd)
            except BaseException:
                self._books.emit(MoneyReleased(hold=hold))
                raise
        return hold

    def settle(self, hold: str, micro_usd: int, source: str, *, usage: Usage) -> None:
        self._books.emit(
            MoneySettled(
                hold=hold,
                micro_usd=micro_usd,
                source=source,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cached_tokens=usage.cached_tokens,
            )
        )
        if self._other:
            self._other.settle(hold, micro_usd)

    def release(self, hold: str) -> None:
        self._books.emit(MoneyReleased(hold=hold))
        if self._other:
            self._other.settle(hold, 0)

    def _raised(self, micro_usd: int, model: str) -> str:
        """Ask for a new cap; "" when it is raised. What is proposed leaves room for one more call like this one."""
        ledger = self._books.ledger
        account = ledger.thinking
        short = micro_usd - ledger.free("thinking")
        highest = max(account.limit, ledger.total or 0)
        proposed = -(-(highest + short + micro_usd) // CAP_STEP) * CAP_STEP
        request = RaiseCap(
            cap_micro_usd=proposed, spent_micro_usd=account.spent, needed_micro_usd=micro_usd, model=model
        )
        answer, agreed = self._ask(request)
        if answer.verdict == "no":
            raise CapReached(self._books.ledger.thinking.limit)
        with contextlib.suppress(Problem):  # less than is held by now: it does not fit, and is asked for again
            self._books.set_budget(agreed.cap_micro_usd, "thinking")
        return ""


def settle_what_was_cut_short(books: ThinkingBooks) -> None:
    """A process ended during model calls. What they cost nobody knows: the most they can have cost is charged."""
    for hold, micro_usd in list(books.ledger.thinking.holds.items()):
        books.emit(MoneySettled(hold=hold, micro_usd=micro_usd, source=CUT_SHORT))


@dataclass
class Counted:
    """The last request that the provider of a model counted: what comes after its text is new."""

    model: str = ""

    text: str = ""
    tokens: int = 0


class Metered:
    """A model each of whose calls is paid from a purse."""

    def __init__(
        self,
        model: Thinker,
        prices: TokenPrices,
        purse: Purse,
        *,
        window: int | None = None,
        counted: Counted | None = None,
    ) -> None:
        """window: tokens. counted: kept over the runs of a session, so that a new run need not guess anew."""
        self._model, self._prices, self._purse = model, prices, purse
        self.window = window
        self._counted = counted or Counted()

    @property
    def model_id(self) -> str:
        return self._model.model_id

    def stream(
        self,
        messages: Sequence[Any],
        *,
        stop_words: Sequence[str] = (),
        cancel: Cancel,
        max_tokens: int | None = None,
    ) -> Iterator[Delta]:
        """As the model's own. Raises CapReached before a call that does not fit; nothing is sent then."""
        text = _joined(messages)
        most_input = self._most_input(text, len(messages))
        longest = self._affordable(most_input, min(max_tokens or REPLY_TOKENS, REPLY_TOKENS))
        most = self._prices.cost(most_input, longest)
        call = _Call(self._purse, self._prices, text, most=most, model=self.model_id)
        call.begin()
        try:
            for delta in self._model.stream(messages, stop_words=stop_words, cancel=cancel, max_tokens=longest):
                match delta:
                    case Text(said) | Reasoning(said):
                        call.said += len(said.encode())
                    case Broken(usage=usage):
                        call.broke(usage)
                        continue
                    case Restarted():
                        call.end_early(refused=not call.said)
                        yield delta
                        call.begin()
                        continue
                    case Done(usage=usage):
                        call.end(usage)
                        if usage.input_tokens is not None:
                            known = self._counted
                            known.model, known.text, known.tokens = self.model_id, text, usage.input_tokens
                yield delta
        except NotAsked:
            call.end_early(refused=True)
            raise
        except Exception:  # the server refused or failed for good
            call.end_early(refused=not call.said)
            raise
        finally:
            call.end_early(refused=False)  # Stop: the server may have worked already

    def _affordable(self, most_input: int, longest: int) -> int:
        """How long the reply may be so that the call still fits; the wished length if even a short one does not."""
        left = self._purse.free - self._prices.cost(most_input, 0)
        fits = left * 1_000_000 // self._prices.output if self._prices.output else longest
        return int(fits) if SHORTEST_REPLY <= fits < longest else longest

    def _most_input(self, text: str, messages: int) -> int:
        """No more tokens than this can be counted for the request."""
        slack = SLACK_TOKENS + SLACK_PER_MESSAGE * messages
        known = self._counted
        if known.model == self.model_id and known.text and text.startswith(known.text):
            return known.tokens + len(text[len(known.text) :].encode()) + slack
        return len(text.encode()) + slack


class _Call:
    """One attempt at a time: held, then settled or released, once."""

    def __init__(self, purse: Purse, prices: TokenPrices, text: str, *, most: int, model: str) -> None:
        self._purse, self._prices, self._most, self._model = purse, prices, most, model
        self._input = len(text.encode()) // BYTES_PER_TOKEN + 1
        self._hold = ""
        self._counted = Usage()
        self.said = 0  # bytes

    def begin(self) -> None:
        self.said, self._counted = 0, Usage()
        self._hold = self._purse.hold(self._most, self._model)

    def end(self, usage: Usage) -> None:
        hold, self._hold = self._hold, ""
        if usage.input_tokens is None or usage.output_tokens is None:
            self._purse.settle(hold, self._estimate(), NO_USAGE, usage=usage)
        else:
            self._purse.settle(hold, self._cost(usage), BY_USAGE, usage=usage)

    def broke(self, usage: Usage) -> None:
        """Something was said before it broke off, so it is no refusal; what the provider counted is known better."""
        self.said = max(self.said, 1)
        self._counted = usage

    def end_early(self, *, refused: bool) -> None:
        """Nothing is owed for a call that was refused; what broke off is reckoned from what was heard."""
        hold, self._hold = self._hold, ""
        if not hold:
            return
        if refused:
            self._purse.release(hold)
        elif self._counted.input_tokens is not None and self._counted.output_tokens is not None:
            self._purse.settle(hold, self._cost(self._counted), BROKE_OFF_COUNTED, usage=self._counted)
        else:
            self._purse.settle(hold, self._estimate(), BROKE_OFF, usage=Usage())

    def _cost(self, usage: Usage) -> int:
        return self._prices.cost(usage.input_tokens or 0, usage.output_tokens or 0, usage.cached_tokens or 0)

    def _estimate(self) -> int:
        return min(self._most, self._prices.cost(self._input, self.said // BYTES_PER_TOKEN + 1))


def _joined(messages: Sequence[Any]) -> str:
    """All text of a request, so that a longer one begins with a shorter one that it continues."""
    return "\n".join(message["content"] for message in plain_messages(messages))
