"""What thinking costs: each call held, settled once, and never above what a person allowed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from agent.events import BudgetSet, Entry, Event, MoneyReleased, MoneyReserved, MoneySettled
from agent.job_events import JobBilled
from agent.models.deltas import Cancel, Delta, Done, NotAsked, Restarted, Text, Usage
from agent.models.metered import (
    BROKE_OFF,
    BY_USAGE,
    CUT_SHORT,
    NO_USAGE,
    CapReached,
    Metered,
    Purse,
    TokenPrices,
    settle_what_was_cut_short,
)
from agent.money.books import Books
from agent.money.ledger import THINKING_LIMIT
from tools.cards import Answer, RaiseCap
from tools.problem import Problem, Stopped

HELLO = [{"role": "user", "content": "Hello"}]
DEAR = TokenPrices(input=3_000_000, output=15_000_000)


class Spoken:
    """A model that says what it was told to say, and remembers how long a reply it was allowed."""

    model_id = "spoken"
    window: int | None = None

    def __init__(self, *deltas: Delta | BaseException) -> None:
        self.deltas = deltas
        self.asked = 0
        self.max_tokens: int | None = None

    def stream(
        self,
        messages: Sequence[Any],
        *,
        stop_words: Sequence[str] = (),
        cancel: Cancel,
        max_tokens: int | None = None,
    ) -> Iterator[Delta]:
        self.asked += 1
        self.max_tokens = max_tokens
        for delta in self.deltas:
            if isinstance(delta, BaseException):
                raise delta
            yield delta


class Money:
    """Books in memory, and a person who answers cards about the cap."""

    def __init__(self, cap: int = THINKING_LIMIT, answers: Sequence[Answer] = ()) -> None:
        self.events: list[Event] = []
        self.books = Books(self.events.append, [])
        self.books.set_budget(cap, "thinking")
        self.answers, self.asked = list(answers), list[RaiseCap]()
        self.purse = Purse(self.books, self._ask)

    def _ask(self, request: RaiseCap) -> tuple[Answer, RaiseCap]:
        self.asked.append(request)
        answer = self.answers.pop(0) if self.answers else Answer(verdict="no")
        return answer, request.model_copy(update=answer.edits)

    def settled(self) -> list[tuple[int, str]]:
        return [(event.micro_usd, event.source) for event in self.events if isinstance(event, MoneySettled)]

    @property
    def held(self) -> int:
        return self.books.ledger.thinking.held


def heard(money: Money, model: Spoken, prices: TokenPrices = DEAR, messages: Sequence[Any] = HELLO) -> list[Delta]:
    return list(Metered(model, prices, money.purse).stream(messages, cancel=Cancel()))


def test_a_call_costs_its_usage_at_the_list_price_rounded_up() -> None:
    money = Money()
    heard(money, Spoken(Text("Hi"), Done("stop", Usage(10, 3))))
    assert money.settled() == [(10 * 3 + 3 * 15, BY_USAGE)]
    assert money.held == 0


def test_tokens_from_the_cache_cost_the_cache_price_where_there_is_one() -> None:
    assert TokenPrices(100, 0, cached=10).cost(1_000_000, 0, 400_000) == 64
    assert TokenPrices(100, 0).cost(1_000_000, 0, 400_000) == 100
    assert TokenPrices(1, 1).cost(1, 0) == 1


def test_money_is_held_while_the_model_speaks() -> None:
    money = Money()
    reply = Metered(Spoken(Text("Hi"), Done("stop", Usage(1, 1))), DEAR, money.purse).stream(HELLO, cancel=Cancel())
    next(reply)
    assert money.held > 0
    list(reply)
    assert money.held == 0


def test_a_server_that_tells_no_usage_is_charged_by_an_estimate_and_said_so() -> None:
    money = Money()
    heard(money, Spoken(Text("x" * 3000), Done("stop", Usage())))
    [(cost, source)] = money.settled()
    assert source == NO_USAGE
    assert cost >= 1000 * 15


def test_a_refused_call_costs_nothing() -> None:
    money = Money()
    with pytest.raises(Problem):
        heard(money, Spoken(Problem("No.")))
    assert money.settled() == []
    assert money.held == 0


def test_a_reply_that_breaks_off_is_charged_and_the_next_attempt_is_paid_anew() -> None:
    money = Money()
    heard(money, Spoken(Text("half" * 30), Restarted("broke", 2, 0.0), Text("Hi"), Done("stop", Usage(10, 3))))
    (first, broke), (second, whole) = money.settled()
    assert (broke, whole) == (BROKE_OFF, BY_USAGE)
    assert first >= 40 * 15
    assert second == 75


def test_an_attempt_that_was_refused_before_a_word_is_not_charged() -> None:
    money = Money()
    heard(money, Spoken(Restarted("503", 2, 0.0), Text("Hi"), Done("stop", Usage(10, 3))))
    assert [source for _, source in money.settled()] == [BY_USAGE]


def test_stop_charges_what_was_asked_and_heard() -> None:
    money = Money()
    with pytest.raises(Stopped):
        heard(money, Spoken(Text("word " * 100), Stopped()))
    [(cost, source)] = money.settled()
    assert source == BROKE_OFF
    assert cost >= 500 // 3 * 15
    assert money.held == 0


def test_stop_before_the_next_attempt_is_sent_costs_nothing_more() -> None:
    money = Money()
    with pytest.raises(Stopped):
        heard(money, Spoken(Restarted("503", 2, 5.0), NotAsked()))
    assert money.settled() == []
    assert money.held == 0


def test_the_reply_is_kept_so_short_that_it_fits_under_the_cap() -> None:
    money = Money(cap=100_000)
    model = Spoken(Text("Hi"), Done("stop", Usage(10, 3)))
    heard(money, model)
    assert model.max_tokens is not None
    assert 2_048 <= model.max_tokens < 16_384
    assert money.asked == []


def test_at_the_cap_nothing_is_sent_before_a_person_raised_it() -> None:
    money = Money(cap=1_000)
    model = Spoken(Text("Hi"), Done("stop", Usage(10, 3)))
    with pytest.raises(CapReached):
        heard(money, model)
    assert model.asked == 0
    [card] = money.asked
    assert card.cap_micro_usd > card.needed_micro_usd > 1_000


def test_a_raised_cap_lets_the_call_go_on() -> None:
    money = Money(cap=1_000, answers=[Answer(verdict="yes", edits={"cap_micro_usd": 5_000_000})])
    model = Spoken(Text("Hi"), Done("stop", Usage(10, 3)))
    heard(money, model)
    assert model.asked == 1
    assert money.books.ledger.thinking.limit == 5_000_000


def test_a_cap_that_is_raised_too_little_is_asked_for_again() -> None:
    money = Money(cap=1_000, answers=[Answer(verdict="yes", edits={"cap_micro_usd": 2_000})])
    with pytest.raises(CapReached):
        heard(money, Spoken(Done("stop", Usage(10, 3))))
    assert len(money.asked) == 2


def test_no_request_can_have_more_tokens_than_are_held_for() -> None:
    """One token a byte is the worst; what the provider has counted already need not be guessed again."""
    money = Money()
    long = "é" * 10_000
    first = [{"role": "user", "content": long}]
    metered = Metered(Spoken(Text("ok"), Done("stop", Usage(5_000, 1))), DEAR, money.purse)
    list(metered.stream(first, cancel=Cancel()))
    list(metered.stream([*first, {"role": "assistant", "content": "ok"}], cancel=Cancel()))
    one, two = (event.micro_usd for event in money.events if isinstance(event, MoneyReserved))
    assert one >= DEAR.cost(20_000, 16_384)
    assert DEAR.cost(5_003, 16_384) <= two < one


def test_what_a_crash_cut_short_is_charged_at_its_worst_case_once() -> None:
    money = Money()
    reply = Metered(Spoken(Text("Hi"), Text("Ho")), DEAR, money.purse).stream(HELLO, cancel=Cancel())
    next(reply)
    after = Books(money.events.append, _entries(money.events))
    settle_what_was_cut_short(after)
    settle_what_was_cut_short(after)
    [(cost, source)] = money.settled()
    assert source == CUT_SHORT
    assert cost == next(event.micro_usd for event in money.events if isinstance(event, MoneyReserved))


def _entries(events: Sequence[Event]) -> list[Entry]:
    return [Entry(seq=seq, at=0.0, event=event) for seq, event in enumerate(events, start=1)]


# --- any order of anything -------------------------------------------------------------------------

TRACES = 100_000


class Trace:
    """One session's money lived through at random: calls side by side, jobs, retries, caps, prices, crashes."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.events: list[Event] = []
        self.owed: dict[str, int] = {}  # hold -> what the provider's usage says
        self.replies: list[Iterator[Delta]] = []
        self.jobs: dict[str, int] = {}  # label -> the most it can cost
        self.settled: dict[str, int] = {}  # label -> what it cost, or was billed
        self.over = 0  # what bills may have brought above any limit
        self.start()
        if dice.random() < 0.5:
            self.books.set_budget(dice.randrange(0, 3_000), dice.choice(["thinking", "both", "compute"]))

    def start(self) -> None:
        self.books = Books(self.events.append, _entries(self.events))
        settle_what_was_cut_short(self.books)
        self.purse = Purse(self.books, self.person)

    def person(self, request: RaiseCap) -> tuple[Answer, RaiseCap]:
        if self.dice.random() < 0.5:
            return Answer(verdict="no"), request
        cap = max(request.cap_micro_usd - self.dice.randrange(0, 200_000), self.books.ledger.thinking.limit)
        return Answer(verdict="yes"), request.model_copy(update={"cap_micro_usd": cap})

    def live(self) -> None:
        for _ in range(self.dice.randrange(2, 9)):
            self.dice.choice(
                (self.ask, self.hear, self.hear, self.hear, self.job, self.bill, self.crash, self.budget)
            )()
            self.check()
        self.crash()
        self.check()

    def ask(self) -> None:
        prices = TokenPrices(self.dice.randrange(0, 5_000), self.dice.randrange(0, 90_000))
        self.replies.append(Metered(self.model(prices), prices, self.purse).stream(HELLO, cancel=Cancel()))

    def model(self, prices: TokenPrices) -> Spoken:
        trace = self

        class Usually(Spoken):
            def stream(self, messages: Sequence[Any], **rest: Any) -> Iterator[Delta]:
                for delta in super().stream(messages, **rest):
                    if isinstance(delta, Done) and delta.usage.input_tokens is not None:
                        most = min(delta.usage.output_tokens or 0, self.max_tokens or 0)
                        delta = Done("stop", Usage(delta.usage.input_tokens, most))
                        hold = next(e.hold for e in reversed(trace.events) if isinstance(e, MoneyReserved))
                        if hold in trace.books.ledger.thinking.holds and len(trace.books.ledger.thinking.holds) == 1:
                            trace.owed[hold] = prices.cost(delta.usage.input_tokens or 0, most)
                    yield delta

        usage = Usage(self.dice.randrange(1, 500), self.dice.randrange(1, 20_000))
        ends: list[Delta | BaseException] = [Done("stop", usage), Done("stop", Usage()), Problem("No."), Stopped()]
        middle: list[Delta] = [Text("word" * self.dice.randrange(1, 50)), Restarted("broke", 2, 0.0)]
        said = [self.dice.choice(middle) for _ in range(self.dice.randrange(0, 3))]
        return Usually(*said, self.dice.choice(ends))

    def hear(self) -> None:
        if not self.replies:
            return
        reply = self.dice.choice(self.replies)
        try:
            next(reply)
        except (StopIteration, CapReached, Problem, Stopped):
            self.replies.remove(reply)

    def job(self) -> None:
        if self.jobs and self.dice.random() < 0.5:
            label = self.dice.choice(list(self.jobs))
            cost = self.dice.randrange(0, self.jobs.pop(label) + 1)
            self.books.emit(MoneySettled(hold=label, micro_usd=cost) if cost else MoneyReleased(hold=label))
            if cost:
                self.settled[label] = cost
            return
        label, most = f"job-{len(self.events)}", self.dice.randrange(0, 2_000)
        if self.books.reserve(label, most) is None:
            self.jobs[label] = most

    def bill(self) -> None:
        """A bill comes for any job: one that never was, one that still runs, one that is over, and some twice."""
        label = self.dice.choice([*self.jobs, *self.settled, "never"])
        known = any(isinstance(event, JobBilled) and event.label == label for event in self.events)
        amount = self.dice.choice([None, self.dice.randrange(0, 3_000)])
        if label in self.jobs:
            return  # only what is settled is asked for
        self.books.emit(JobBilled(job="x", label=label, micro_usd=amount))
        if label in self.settled and not known and amount is not None:
            self.over += max(0, amount - self.settled[label])
            self.settled[label] = amount

    def budget(self) -> None:
        try:
            self.books.set_budget(self.dice.randrange(0, 900_000), self.dice.choice(["thinking", "both", "compute"]))
        except Problem:
            return

    def crash(self) -> None:
        """What was going on is never heard of again; the journal is all that is left."""
        self.abandoned = self.replies  # closing them would settle their holds
        self.replies = []
        self.books, events = Books(list[Event]().append, []), self.events
        self.events = list(events)
        self.start()

    def check(self) -> None:
        ledger = self.books.ledger
        for of in ("compute", "thinking"):
            account = ledger.account(of)
            billed = self.over if of == "compute" else 0
            assert account.spent + account.held <= account.limit + billed, (of, ledger, self.events)
        assert ledger.compute.spent == sum(self.settled.values()), "a bill lost money or counted it twice"
        if ledger.total is not None:
            used = sum(account.spent + account.held for account in (ledger.compute, ledger.thinking))
            assert used <= ledger.total + self.over, (ledger, self.events)
        began, over = list[str](), list[str]()
        for event in self.events:
            if isinstance(event, MoneyReserved):
                began.append(event.hold)
            elif isinstance(event, MoneySettled | MoneyReleased):
                over.append(event.hold)
                if isinstance(event, MoneySettled) and event.source == BY_USAGE and event.hold in self.owed:
                    assert event.micro_usd == self.owed[event.hold]
        assert len(set(began)) == len(began), "a hold's name was used twice"
        assert len(set(over)) == len(over), "a hold ended twice"
        assert set(began) - set(over) == {*ledger.compute.holds, *ledger.thinking.holds}


@pytest.mark.parametrize("part", range(4))
def test_whatever_happens_in_whatever_order_no_more_is_spent_than_was_allowed(part: int) -> None:
    dice = random.Random(part)
    for _ in range(TRACES // 4):
        Trace(dice).live()


def test_the_limit_for_both_bounds_thinking_and_compute_together() -> None:
    money = Money()
    money.books.emit(BudgetSet(micro_usd=3_000_000, of="both"))
    assert money.books.reserve("job", 2_999_000) is None
    with pytest.raises(CapReached):
        heard(money, Spoken(Done("stop", Usage(1, 1))))
