from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.consent.policy import judge
from agent.events import BudgetSet, Event, MoneyReleased, MoneyReserved, MoneySettled
from agent.job_events import JobBilled
from agent.money.books import Books
from agent.money.ledger import Account, Ledger, after, limit_for
from agent.settings import micro_usd
from tools.cards import Delete, Demand, Question, Spend
from tools.jobs.here.words import HERE
from tools.jobs.remote.words import JOBS
from tools.problem import Problem


def spend(price: int = 1_000_000, seconds: int = 3600) -> Spend:
    return Spend(
        title="t", where="jobs", place=JOBS, script="x", timeout_seconds=seconds, price_micro_usd_per_hour=price
    )


def fold(*events: Event) -> Ledger:
    ledger = Ledger()
    for event in events:
        ledger = after(ledger, event)
    return ledger


def test_a_hold_is_price_times_timeout_rounded_up() -> None:
    assert spend(1_000_000, 3600).hold_micro_usd == 1_000_000
    assert spend(1, 1).hold_micro_usd == 1
    assert spend(0, 3600).hold_micro_usd == 0


def test_settling_replaces_the_hold_by_the_real_cost() -> None:
    ledger = fold(BudgetSet(micro_usd=10), MoneyReserved(hold="a", micro_usd=8), MoneySettled(hold="a", micro_usd=3))
    assert (ledger.free("compute"), ledger.compute.spent, ledger.compute.held) == (7, 3, 0)


def test_releasing_gives_everything_back() -> None:
    ledger = fold(BudgetSet(micro_usd=10), MoneyReserved(hold="a", micro_usd=8), MoneyReleased(hold="a"))
    assert ledger.free("compute") == 10


def test_settling_or_releasing_twice_changes_nothing() -> None:
    events: list[Event] = [BudgetSet(micro_usd=10), MoneyReserved(hold="a", micro_usd=8)]
    end = MoneySettled(hold="a", micro_usd=3)
    assert fold(*events, end) == fold(*events, end, end) == fold(*events, end, MoneyReleased(hold="a"))


def test_a_bill_replaces_what_was_settled_once() -> None:
    settled: list[Event] = [
        BudgetSet(micro_usd=10),
        MoneyReserved(hold="a", micro_usd=8),
        MoneySettled(hold="a", micro_usd=3),
    ]
    bill = JobBilled(job="j", label="a", micro_usd=9)
    other = bill.model_copy(update={"micro_usd": 1})
    assert fold(*settled, bill).compute.spent == 9
    assert fold(*settled, bill, other, bill) == fold(*settled, bill)
    assert fold(*settled, JobBilled(job="j", label="a", micro_usd=None), bill).compute.spent == 3


def test_a_bill_above_the_hold_may_pass_the_limit_and_then_nothing_fits() -> None:
    bill = JobBilled(job="j", label="a", micro_usd=12)
    ledger = fold(
        BudgetSet(micro_usd=10), MoneyReserved(hold="a", micro_usd=8), MoneySettled(hold="a", micro_usd=8), bill
    )
    assert ledger.free("compute") == -2


def test_what_costs_nothing_runs_also_when_a_bill_has_passed_the_limit() -> None:
    free = Spend(title="t", where="here", place=HERE, script="1", timeout_seconds=60, price_micro_usd_per_hour=0)
    ledger = Ledger(compute=Account(limit=10, spent=12))
    assert judge(free, "within-budget", ledger).do == "allow"
    assert limit_for(ledger, 0) == 10
    books = Books(lambda event: event, [])
    books.ledger = ledger
    assert books.agree(0) is None
    assert books.reserve("c1", 0) is None
    assert books.reserve("c2", 1) is not None


def test_a_bill_of_what_runs_or_never_was_changes_nothing() -> None:
    open_: list[Event] = [BudgetSet(micro_usd=10), MoneyReserved(hold="a", micro_usd=8)]
    for label in ("a", "b"):
        assert fold(*open_, JobBilled(job="j", label=label, micro_usd=9)) == fold(*open_)
    released = [*open_, MoneyReleased(hold="a")]
    assert fold(*released, JobBilled(job="j", label="a", micro_usd=9)) == fold(*released)


@given(
    st.lists(
        st.tuples(st.sampled_from(["reserve", "settle", "release"]), st.sampled_from("abcdef"), st.integers(0, 50)),
        max_size=60,
    )
)
def test_what_is_reserved_only_when_free_never_passes_the_budget(steps: list[tuple[str, str, int]]) -> None:
    ledger = fold(BudgetSet(micro_usd=100))
    for what, hold, amount in steps:
        holds = dict(ledger.compute.holds)
        event: Event
        if what == "reserve":
            if amount > ledger.free("compute"):
                continue
            event = MoneyReserved(hold=hold, micro_usd=amount)
        elif what == "settle":
            event = MoneySettled(hold=hold, micro_usd=min(amount, holds.get(hold, 0)))
        else:
            event = MoneyReleased(hold=hold)
        ledger = after(ledger, event)
        assert ledger.compute.spent + ledger.compute.held <= ledger.compute.limit
        assert ledger.free("compute") >= 0


def test_what_does_not_fit_into_the_budget_is_asked_where_a_person_is_and_denied_elsewhere() -> None:
    poor = Ledger(compute=Account(limit=999_999))
    assert judge(spend(), "ask", poor).do == "ask"
    for approve in ("none", "within-budget"):
        verdict = judge(spend(), approve, poor)
        assert verdict.do == "deny"
        assert "may cost up to $1.00" in verdict.reason


def test_a_refusal_for_less_than_a_cent_does_not_read_as_if_it_fitted() -> None:
    """$0.105 is asked for and $0.101 is free: in whole cents, rounded alike, both would be the same."""
    verdict = judge(spend(105_000), "within-budget", Ledger(compute=Account(limit=101_000)))
    assert "may cost up to $0.11, and $0.10 of the budget of $0.101 is free" in verdict.reason
    two = Demand(about="budget", rule="must", text="at most $2", value="2000000")
    assert (
        "It may cost up to $2.01, and the user said" in judge(spend(2_004_000), "ask", Ledger(), demands=[two]).reason
    )


def test_what_is_pinned_is_held_against_a_request_before_anybody_is_asked_to_pay() -> None:
    under = Demand(about="budget", rule="must", text="under $0.50", value="500000")
    assert judge(spend(), "ask", Ledger(), demands=[under]).do == "deny"


def test_a_person_is_asked_when_there_is_one() -> None:
    rich = Ledger(compute=Account(limit=10_000_000))
    assert judge(spend(), "ask", rich).do == "ask"
    assert judge(Delete(repo="ada/x"), "ask", rich).do == "ask"


def test_nobody_there_means_no() -> None:
    rich = Ledger(compute=Account(limit=10_000_000))
    for request in (spend(), Delete(repo="ada/x"), Question(question="?")):
        assert judge(request, "none", rich).do == "deny"


def test_within_budget_allows_spending_and_nothing_else() -> None:
    rich = Ledger(compute=Account(limit=10_000_000))
    assert judge(spend(), "within-budget", rich).do == "allow"
    assert judge(Delete(repo="ada/x"), "within-budget", rich).do == "deny"
    assert judge(Question(question="?"), "within-budget", rich).do == "deny"


@pytest.mark.parametrize(("said", "micro"), [("3", 3_000_000), ("$0.50", 500_000), ("", 0)])
def test_amounts_are_read_as_people_write_them(said: str, micro: int) -> None:
    assert micro_usd(said) == micro


@pytest.mark.parametrize("said", ["-1", "nan", "inf", "three", "1e9"])
def test_what_is_no_amount_is_refused(said: str) -> None:
    with pytest.raises(Problem, match="no amount"):
        micro_usd(said)
