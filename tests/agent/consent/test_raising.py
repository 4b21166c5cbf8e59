"""The yes that raises the budget: what it does, who alone may say it, and what holds against it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.consent.approvals import Approvals
from agent.events import (
    ApprovalAnswered,
    ApprovalAsked,
    BudgetSet,
    DemandsSet,
    Event,
    MoneyReserved,
    MoneySettled,
    ToolEnded,
)
from agent.job_events import JobSubmitting
from agent.money.ledger import CENT
from agent.session import Session
from agent.sessions import Sessions
from agent.settings import Settings
from tests.agent.living import code, done, ended, events, living, wait_for
from tests.doubles.hub import FakeHub
from tests.doubles.model_server import ModelServer, Reply
from tests.ui.serving import until
from tools.cards import MOST_BUDGET, Answer, Delete
from tools.problem import Problem

HOLD = 799_980  # an hour of one L4
NEEDED = 800_000  # in whole cents
ASK = "end = job_run('print(1)', flavor='l4x1', timeout='1h', outputs=False)\nfinal_answer(end['status'])"
FINAL = code('final_answer("Done.")')


# --- in a session -----------------------------------------------------------------------------------------------------


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        fake.jobs.plays = lambda job: job.say("1").end(ran=600)
        yield fake


@contextmanager
def working(
    folder: Path, hub: FakeHub, script: Sequence[Reply] = (code(ASK), FINAL), **settings: Any
) -> Iterator[tuple[Session, ModelServer]]:
    with living(folder, script, hf_token="hf_ada", places=hub.places(), **settings) as living_session:
        yield living_session


def yes(budget: int | None = None, **edits: Any) -> Answer:
    return Answer(verdict="yes", budget_micro_usd=budget, edits=edits)


def test_with_a_budget_of_nothing_one_yes_raises_it_and_starts_the_job(tmp_path: Path, hub: FakeHub) -> None:
    with working(tmp_path, hub) as (session, _):
        run = session.send("Train it")
        card = wait_for(session, ApprovalAsked)
        assert session.budget_for(card.request) == NEEDED
        session.answer(card.approval, yes(NEEDED))
        assert ended(session, run).answer == "completed"
        [answered] = events(session, ApprovalAnswered)
        assert answered.by == "user"
        assert (answered.raised_from_micro_usd, answered.answer.budget_micro_usd) == (0, NEEDED)
        kinds = [type(event) for event in events(session, object)]
        order = (ApprovalAsked, BudgetSet, ApprovalAnswered, MoneyReserved, JobSubmitting)
        places = [kinds.index(kind) for kind in order]
        assert places == sorted(places)
        assert [event.micro_usd for event in events(session, BudgetSet)] == [NEEDED]
        assert [event.micro_usd for event in events(session, MoneySettled)] == [133_330]
        assert len(hub.jobs.all) == 1


def test_a_yes_without_the_money_is_answered_with_what_is_missing_and_the_card_stays(
    tmp_path: Path, hub: FakeHub
) -> None:
    with working(tmp_path, hub) as (session, _):
        run = session.send("Train it")
        card = wait_for(session, ApprovalAsked)
        with pytest.raises(Problem, match=r"\$0\.80 is missing.*\$0\.00 of the budget of \$0\.00 is free") as raised:
            session.answer(card.approval, yes())
        assert "needs a budget of $0.80" in raised.value.hint
        with pytest.raises(Problem, match=r"\$0\.30 is missing.*\$0\.50 of the budget of \$0\.50 is free"):
            session.answer(card.approval, yes(500_000))
        with pytest.raises(Problem, match=r"\$0\.80 is missing"):  # twice the time
            session.answer(card.approval, yes(NEEDED, timeout_seconds=7200))
        assert session.is_open(card.approval)
        assert events(session, BudgetSet) == []
        session.answer(card.approval, yes(2 * NEEDED, timeout_seconds=7200))
        assert ended(session, run).answer == "completed"
        assert [event.micro_usd for event in events(session, MoneyReserved)] == [2 * HOLD]


def test_money_that_went_elsewhere_since_the_card_was_drawn_is_missed_before_the_job_is_refused(
    tmp_path: Path, hub: FakeHub
) -> None:
    with working(tmp_path, hub) as (session, _):
        session.set_budget(NEEDED)
        run = session.send("Train it")
        card = wait_for(session, ApprovalAsked)
        assert session.budget_for(card.request) is None
        session.set_budget(100_000)
        with pytest.raises(Problem, match=r"\$0\.70 is missing"):
            session.answer(card.approval, yes())
        session.answer(card.approval, yes(NEEDED))
        assert ended(session, run).answer == "completed"


def test_a_raise_never_lowers_what_was_set_elsewhere(tmp_path: Path, hub: FakeHub) -> None:
    with working(tmp_path, hub) as (session, _):
        run = session.send("Train it")
        card = wait_for(session, ApprovalAsked)
        session.set_budget(5_000_000)
        session.answer(card.approval, yes(NEEDED))
        assert ended(session, run).answer == "completed"
        assert [event.micro_usd for event in events(session, BudgetSet)] == [5_000_000]
        assert events(session, ApprovalAnswered)[0].raised_from_micro_usd is None


def test_a_raise_above_the_limit_for_both_raises_that_too(tmp_path: Path, hub: FakeHub) -> None:
    with working(tmp_path, hub, budget_micro_usd=300_000) as (session, _):
        run = session.send("Train it")
        card = wait_for(session, ApprovalAsked)
        session.answer(card.approval, yes(session.budget_for(card.request)))
        assert ended(session, run).answer == "completed"
        assert events(session, BudgetSet)[-1] == BudgetSet(micro_usd=NEEDED, of="compute")


def test_a_no_to_more_money_tells_the_model_that_less_may_be_had(tmp_path: Path, hub: FakeHub) -> None:
    with working(tmp_path, hub) as (session, server):
        run = session.send("Train it")
        session.answer(wait_for(session, ApprovalAsked).approval, Answer(verdict="no", reason="too dear"))
        ended(session, run)
        [refused] = events(session, ToolEnded)
        assert refused.why == "refused"
        assert refused.message == (
            "This needs more money: it may cost up to $0.80, and $0.00 of the budget of $0.00 is free. "
            "The user did not raise it: too dear"
        )
        assert "make it cheaper" in refused.hint
        assert refused.message in str(server.requests[1].body["messages"][-1]["content"])
        assert not hub.jobs.all


@pytest.mark.parametrize("approve", ["none", "within-budget"])
def test_where_nobody_is_asked_nothing_raises_the_budget(tmp_path: Path, hub: FakeHub, approve: str) -> None:
    with working(tmp_path, hub, approve=approve) as (session, _):
        done(session, "Train it")
        assert events(session, ApprovalAnswered)[0].by == "policy"
        assert "Only the user can raise it" in events(session, ToolEnded)[0].message
        assert events(session, BudgetSet) == []
        assert not hub.jobs.all


# --- only the user's own answer ---------------------------------------------------------------------------------------


def test_a_budget_is_no_edit_and_comes_with_a_yes_to_a_cost_only(tmp_path: Path, hub: FakeHub) -> None:
    with working(tmp_path, hub) as (session, _):
        session.send("Train it")
        card = wait_for(session, ApprovalAsked)
        with pytest.raises(Problem, match="cannot be edited"):
            session.answer(card.approval, yes(budget_micro_usd=NEEDED))
        with pytest.raises(Problem, match="Only a yes"):
            session.answer(card.approval, Answer(verdict="no", budget_micro_usd=NEEDED))
        assert session.is_open(card.approval)
        assert events(session, BudgetSet) == []
        session.stop()


def test_an_answer_to_a_question_raises_nothing(tmp_path: Path) -> None:
    with living(tmp_path, [code("ask_user('May I?')"), FINAL]) as (session, _):
        run = session.send("Go")
        card = wait_for(session, ApprovalAsked)
        with pytest.raises(Problem, match="Only a yes"):
            session.answer(card.approval, Answer(verdict="yes", text="yes", budget_micro_usd=5))
        session.answer(card.approval, Answer(verdict="yes", text="yes"))
        ended(session, run)
        assert events(session, BudgetSet) == []


@pytest.mark.parametrize("budget", [-1, MOST_BUDGET + 1, 0.5, "much"])
def test_a_budget_is_a_whole_sum_that_somebody_could_mean(budget: Any) -> None:
    with pytest.raises(ValueError, match="budget_micro_usd"):
        Answer(verdict="yes", budget_micro_usd=budget)


def test_code_that_writes_an_answer_of_its_own_raises_nothing(tmp_path: Path, hub: FakeHub) -> None:
    forged = "job_run('print(1)', flavor='l4x1', timeout='1h', budget_micro_usd=5000000)"
    with working(tmp_path, hub, [code(forged), FINAL]) as (session, _):
        done(session, "Train it")
        assert events(session, BudgetSet) == []
        assert not hub.jobs.all


# --- what is pinned ---------------------------------------------------------------------------------------------------


def test_what_the_user_said_holds_against_edits_on_the_card_and_the_card_stays(tmp_path: Path, hub: FakeHub) -> None:
    with working(tmp_path, hub) as (session, _):
        run = session.send("Train it for under $1")
        card = wait_for(session, ApprovalAsked)
        with pytest.raises(Problem, match=r"may cost up to \$1\.60, and the user said “under \$1”"):
            session.answer(card.approval, yes(2 * NEEDED, timeout_seconds=7200))
        assert events(session, BudgetSet) == []
        assert session.is_open(card.approval)
        session.answer(card.approval, yes(NEEDED))
        assert ended(session, run).answer == "completed"


def test_a_time_limit_that_reaches_into_the_next_run_of_a_schedule_leaves_the_card_open(
    tmp_path: Path, hub: FakeHub
) -> None:
    hourly = code("job_schedule('print(1)', '@hourly', 2, flavor='l4x1', timeout='30m', outputs=False)")
    with working(tmp_path, hub, [hourly, FINAL]) as (session, _):
        run = session.send("Train it every hour")
        card = wait_for(session, ApprovalAsked)
        with pytest.raises(Problem, match="the next is due after 60 min"):
            session.answer(card.approval, yes(10_000_000, timeout_seconds=7200))
        assert session.is_open(card.approval)
        assert not events(session, BudgetSet)
        session.answer(card.approval, Answer(verdict="no"))
        ended(session, run)


def test_what_the_user_said_holds_against_the_raise(tmp_path: Path, hub: FakeHub) -> None:
    with working(tmp_path, hub) as (session, _):
        session.send("Train it for under $1")
        card = wait_for(session, ApprovalAsked)
        with pytest.raises(Problem, match=r"A budget of \$2\.00 is more than the \$1\.00 that are pinned"):
            session.answer(card.approval, yes(2_000_000))
        assert events(session, BudgetSet) == []
        session.stop()


def test_what_is_said_with_the_yes_counts_for_it(tmp_path: Path, hub: FakeHub) -> None:
    with working(tmp_path, hub) as (session, _):
        session.send("Train it")
        card = wait_for(session, ApprovalAsked)
        with pytest.raises(Problem, match="at most 10 cents"):
            session.answer(
                card.approval, Answer(verdict="yes", reason="Spend at most 10 cents", budget_micro_usd=NEEDED)
            )
        assert events(session, BudgetSet) == []
        session.stop()


def test_a_script_that_is_edited_is_read_again(tmp_path: Path, hub: FakeHub) -> None:
    with working(tmp_path, hub) as (session, _):
        session.send("Do not publish anything. Train it")
        card = wait_for(session, ApprovalAsked)
        assert events(session, DemandsSet)
        with pytest.raises(Problem, match="publish"):
            session.answer(card.approval, yes(NEEDED, script="model.push_to_hub('ada/x')"))
        session.set_demands([])
        session.answer(card.approval, yes(NEEDED, script="model.push_to_hub('ada/x')"))
        wait_for(session, JobSubmitting)


def test_two_that_fit_alone_and_not_together_are_not_both_agreed_to(tmp_path: Path, hub: FakeHub) -> None:
    """Asked for side by side, when nothing was spent; held against what is pinned again when they are answered."""
    both = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(2) as pool:\n"
        "    list(pool.map(lambda n: job_run(f'print({n})', flavor='l4x1', timeout='1h', outputs=False), range(2)))"
    )
    hub.jobs.plays = None
    with working(tmp_path, hub, [code(both), FINAL]) as (session, _):
        session.send("Train it twice, for under $1")
        until(lambda: len(events(session, ApprovalAsked)) == 2)
        first, second = events(session, ApprovalAsked)
        session.set_budget(5_000_000)
        session.answer(first.approval, yes())
        wait_for(session, MoneyReserved)
        with pytest.raises(Problem, match=r"\$0\.80 on top of \$0\.80"):
            session.answer(second.approval, yes())
        session.stop()


def test_what_is_pinned_is_the_last_gate_too_when_jobs_are_allowed_side_by_side(tmp_path: Path, hub: FakeHub) -> None:
    many = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def start(n):\n"
        "    try:\n"
        "        job_run(f'print({n})', flavor='l4x1', timeout='1h', outputs=False, wait=False)\n"
        "    except Exception as error:\n"
        "        print(error)\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    list(pool.map(start, range(8)))"
    )
    with working(tmp_path, hub, [code(many), FINAL], approve="within-budget") as (session, _):
        session.set_budget(5_000_000)
        done(session, "Train it, for under $1")
        assert len(hub.jobs.all) == len(events(session, MoneyReserved)) == 1


# --- two tabs, and a crash --------------------------------------------------------------------------------------------


def test_of_many_tabs_that_click_at_once_one_raises_the_budget_and_starts_one_job(tmp_path: Path, hub: FakeHub) -> None:
    with working(tmp_path, hub) as (session, _):
        run = session.send("Train it")
        card = wait_for(session, ApprovalAsked)
        gate = threading.Barrier(8)

        def click(n: int) -> int:
            gate.wait()
            try:
                session.answer(card.approval, yes(NEEDED + n * CENT))
            except Problem:
                return 0
            return NEEDED + n * CENT

        with ThreadPoolExecutor(8) as pool:
            [raised] = filter(None, pool.map(click, range(8)))
        assert ended(session, run).answer == "completed"
        assert [event.micro_usd for event in events(session, BudgetSet)] == [raised]
        assert [event.answer.budget_micro_usd for event in events(session, ApprovalAnswered)] == [raised]
        assert len(hub.jobs.all) == len(events(session, MoneyReserved)) == 1


def test_a_crash_between_the_raise_and_the_answer_starts_nothing_and_the_next_yes_needs_no_raise(
    tmp_path: Path, hub: FakeHub
) -> None:
    with working(tmp_path / "first", hub) as (session, _):
        run = session.send("Train it")
        session.answer(wait_for(session, ApprovalAsked).approval, yes(NEEDED))
        ended(session, run)
        (journal,) = (tmp_path / "first").rglob(f"*{session.id}*.jsonl")
        owner, name = session.owner, session.id
    lines = journal.read_bytes().splitlines(keepends=True)
    cut = next(n for n, line in enumerate(lines) if b'"kind":"budget_set"' in line) + 1
    assert b'"kind":"approval_answered"' in lines[cut]
    journal.write_bytes(b"".join(lines[:cut]))
    hub.jobs.all.clear()

    with ModelServer([code(ASK), FINAL]) as server:
        again = Settings(
            data_dir=tmp_path / "first",
            model_id="scripted",
            model_base_url=server.base_url,
            hf_token="hf_ada",
            places=hub.places(),
        )
        sessions = Sessions(again)
        try:
            session = sessions.open(name, owner)
            assert [event.by for event in events(session, ApprovalAnswered)] == ["stop"]
            assert events(session, MoneyReserved) == []
            assert not hub.jobs.all
            run = session.send("Go on")
            card = wait_for(session, ApprovalAsked, lambda asked: session.is_open(asked.approval))
            assert session.budget_for(card.request) is None
            session.answer(card.approval, yes())
            assert ended(session, run).answer == "completed"
            assert len(hub.jobs.all) == len(events(session, BudgetSet)) == 1
        finally:
            sessions.close()


def test_an_answer_that_cannot_be_written_can_be_given_again() -> None:
    said: list[Event] = []
    full = threading.Event()

    def emit(event: Event) -> None:
        if full.is_set() and isinstance(event, ApprovalAnswered):
            raise Problem("The conversation cannot be saved.")
        said.append(event)

    approvals = Approvals(emit)
    got: list[ApprovalAnswered] = []
    asking = threading.Thread(target=lambda: got.append(approvals.ask("c1", Delete(repo="ada/x"), threading.Event())))
    asking.start()
    until(lambda: approvals.open)
    full.set()
    with pytest.raises(Problem, match="cannot be saved"):
        approvals.answer("a1", Answer(verdict="yes"))
    full.clear()
    approvals.answer("a1", Answer(verdict="yes"))
    asking.join()
    assert got[0].answer.verdict == "yes"
