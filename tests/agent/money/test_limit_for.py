"""How high a budget must be for what somebody agrees to, and that no order of events passes what was said."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.events import BudgetSet, Event, MoneyReleased, MoneySettled
from agent.money.books import Books
from agent.money.ledger import CENT, Account, Ledger, after, limit_for
from tools.problem import Problem

HOLD, NEEDED = 799_980, 800_000  # what is held for a job, and the limit in whole cents that this needs

# --- how much is needed -----------------------------------------------------------------------------------------------


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    """As limits and holds come about: one for both was set first, or never."""
    sums = st.integers(0, 3_000_000)
    thinking, compute = (Account(draw(sums), draw(sums), {"a": draw(sums)}) for _ in "tc")
    return Ledger(compute, thinking, draw(st.none() | st.integers(compute.limit, 6_000_000)))


@given(ledgers(), st.integers(0, 5_000_000))
def test_the_limit_that_is_asked_for_is_enough_and_a_cent_less_is_not(ledger: Ledger, cost: int) -> None:
    limit = limit_for(ledger, cost)
    if not ledger.missing(cost):
        assert limit == ledger.compute.limit
        return
    assert limit > ledger.compute.limit
    assert limit % CENT == 0
    assert after(ledger, BudgetSet(micro_usd=limit)).free("compute") >= cost
    assert after(ledger, BudgetSet(micro_usd=limit - CENT)).free("compute") < cost


def test_where_thinking_has_used_the_money_for_both_the_limit_counts_it_too() -> None:
    """$5 for both, $1 of it for compute, $4.80 thought away: a job of $0.50 needs $5.30, not $1.30."""
    ledger = Ledger(Account(1_000_000), Account(5_000_000, 4_800_000), total=5_000_000)
    assert ledger.free("compute") == 200_000
    assert limit_for(ledger, 500_000) == 5_300_000


def test_where_thinking_has_a_limit_of_its_own_it_does_not_count() -> None:
    assert limit_for(Ledger(Account(), Account(500_000, 480_000)), 500_000) == 500_000


# --- whatever the order -----------------------------------------------------------------------------------------------


class Life:
    """A session's money, with persons who raise and lower, and jobs that they agreed to or that try without."""

    def __init__(self, dice: random.Random) -> None:
        self.dice, self.said = dice, list[Event]()
        self.books = Books(self.said.append, [])
        self.words = {0, self.books.ledger.thinking.limit}  # every limit that a person set, and the first ones
        self.open: dict[str, int] = {}
        if dice.random() < 0.5:
            self.limit("both")

    def live(self) -> None:
        for _ in range(40):
            self.dice.choice((self.agree, self.agree, self.submit, self.settle, self.think, self.change))()
            self.check()

    def agree(self) -> None:
        """As on a card: with what it names, with less, with more, or with nothing."""
        cost = self.dice.randrange(0, 900_000)
        needed = limit_for(self.books.ledger, cost)
        limit = self.dice.choice([None, needed, needed - CENT, needed + self.dice.randrange(0, 500_000)])
        before = self.books.ledger
        if limit is not None and limit > before.compute.limit:
            self.words.add(limit)
        try:
            raised = self.books.agree(cost, limit)
        except Problem:
            assert self.books.ledger == before
            return
        assert raised == (None if limit is None or limit <= before.compute.limit else before.compute.limit)
        assert self.books.ledger.compute.limit == max(before.compute.limit, limit or 0)
        self.submit(cost)

    def submit(self, cost: int = 500_000) -> None:
        label = f"job-{len(self.said)}"
        if self.books.reserve(label, cost) is None:
            self.open[label] = cost

    def settle(self) -> None:
        if self.open:
            label = self.dice.choice(list(self.open))
            cost = self.dice.randrange(0, self.open.pop(label) + 1)
            self.books.emit(MoneySettled(hold=label, micro_usd=cost) if cost else MoneyReleased(hold=label))

    def think(self) -> None:
        cost = self.dice.randrange(0, 200_000)
        if hold := self.books.reserve_thinking(cost):
            self.books.emit(MoneySettled(hold=hold, micro_usd=cost))

    def change(self) -> None:
        self.limit(self.dice.choice(["thinking", "compute", "both"]))

    def limit(self, of: Any) -> None:
        limit = self.dice.randrange(0, 3_000_000)
        try:
            self.books.set_budget(limit, of)
        except Problem:
            return
        self.words.add(limit)

    def check(self) -> None:
        ledger = self.books.ledger
        for account in (ledger.compute, ledger.thinking):
            assert account.spent + account.held <= account.limit
            assert account.limit in self.words
        if ledger.total is not None:
            assert ledger.committed <= ledger.total
            assert ledger.total in self.words


@pytest.mark.parametrize("part", range(4))
def test_no_order_of_raises_and_submits_passes_a_limit_that_a_person_set(part: int) -> None:
    dice = random.Random(part)
    for _ in range(200):
        Life(dice).live()


def test_of_many_that_agree_at_once_none_starts_on_money_that_is_anothers() -> None:
    """All of them agreed with the same limit in mind: there is money for one."""
    for _ in range(50):
        books = Books(lambda _: None, [])
        gate = threading.Barrier(8)

        def start(n: int, books: Books = books, gate: threading.Barrier = gate) -> bool:
            gate.wait()
            try:
                books.agree(HOLD, NEEDED)
            except Problem:
                return False
            return books.reserve(f"job-{n}", HOLD) is None

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(start, range(8))) == 1
        assert (books.ledger.compute.limit, books.ledger.compute.held) == (NEEDED, HOLD)
