"""A session whose model costs money: pinned, held, charged, and stopped at its limit by a card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.events import ApprovalAsked, BudgetSet, ModelChosen, MoneyCorrected, MoneyReserved, MoneySettled, RunEnded
from agent.models.metered import BROKE_OFF, BROKE_OFF_COUNTED, BY_USAGE
from agent.models.selection import Wish
from agent.session import Session
from tests.agent.living import LISTED, code, done, ended, events, everything, paid, wait_for
from tests.doubles.hub import FakeHub
from tests.doubles.model_server import ModelServer, Reply
from tests.ui.serving import until
from tools.cards import Answer, RaiseCap
from tools.problem import Problem

FINAL = code('final_answer("Done.")')


def test_a_bare_name_is_pinned_to_a_provider_that_reads_enough(tmp_path: Path) -> None:
    with paid(tmp_path, [FINAL, FINAL]) as (session, server):
        done(session, "Go")
        server.models[0] = {**server.models[0], "providers": []}
        done(session, "Again")
        assert [asked.body["model"] for asked in server.requests] == ["ada/thinker:swift"] * 2
        [chosen] = events(session, ModelChosen)
        assert (chosen.window, chosen.input_price, chosen.output_price) == (200_000, 3_000_000, 15_000_000)


def test_every_call_is_held_and_charged_by_its_usage(tmp_path: Path) -> None:
    with paid(tmp_path, [code("x = 1"), FINAL]) as (session, server):
        done(session, "Go")
        settled = events(session, MoneySettled)
        held = events(session, MoneyReserved)
        assert len(settled) == len(held) == 2
        for call in settled:
            assert call.input_tokens == 100
            assert call.micro_usd == 100 * 3 + (call.output_tokens or 0) * 15
        assert all(asked.body["max_tokens"] > 0 for asked in server.requests)
        assert all(hold.micro_usd > call.micro_usd for hold, call in zip(held, settled, strict=True))


def test_at_the_limit_the_run_waits_for_the_user_and_goes_on_under_a_new_one(tmp_path: Path) -> None:
    with paid(tmp_path, [FINAL], thinking_micro_usd=1_000) as (session, server):
        run = session.send("Go")
        card = wait_for(session, ApprovalAsked)
        assert isinstance(card.request, RaiseCap)
        assert not server.requests
        session.answer(card.approval, Answer(verdict="yes", edits={"cap_micro_usd": 2_000_000}))
        assert ended(session, run).why == "answered"
        assert BudgetSet(micro_usd=2_000_000, of="thinking") in events(session, BudgetSet)


@pytest.mark.parametrize("approve", ["none", "within-budget"])
def test_where_nobody_is_asked_the_limit_ends_the_run(tmp_path: Path, approve: str) -> None:
    with paid(tmp_path, [FINAL], thinking_micro_usd=1_000, approve=approve) as (session, server):
        end = done(session, "Go")
        assert end.why == "budget"
        assert "The limit of $0.001 for thinking" in end.message
        assert not server.requests


def test_a_no_to_a_higher_limit_ends_the_run_and_the_next_message_asks_again(tmp_path: Path) -> None:
    with paid(tmp_path, [FINAL], thinking_micro_usd=1_000) as (session, _):
        run = session.send("Go")
        session.answer(wait_for(session, ApprovalAsked).approval, Answer(verdict="no"))
        assert ended(session, run).why == "budget"
        session.set_budget(1_000_000, "thinking")
        assert done(session, "Go on").why == "answered"


def test_a_model_without_a_price_is_not_used(tmp_path: Path) -> None:
    with paid(tmp_path, [FINAL]) as (session, server):
        server.models[0] = {"id": "ada/thinker", "providers": [{"provider": "coy", "status": "live"}]}
        end = done(session, "Go")
        assert end.why == "failed"
        assert "costs" in end.message
        assert not server.requests


def test_an_unknown_model_is_refused_when_it_is_picked(tmp_path: Path) -> None:
    with paid(tmp_path, [FINAL]) as (session, _):
        with pytest.raises(Problem, match="no model"):
            session.choose(Wish("ada/thinkre"))
        assert events(session, ModelChosen) == []


def test_a_picked_model_answers_from_the_next_message_on(tmp_path: Path) -> None:
    with paid(tmp_path, [FINAL, FINAL]) as (session, server):
        done(session, "Go")
        session.choose(Wish("ada/thinker:small"))
        done(session, "Go")
        assert [asked.body["model"] for asked in server.requests] == ["ada/thinker:swift", "ada/thinker:small"]


def test_the_budget_for_both_bounds_thinking(tmp_path: Path) -> None:
    with paid(tmp_path, [FINAL], budget_micro_usd=500, approve="none") as (session, server):
        assert done(session, "Go").why == "budget"
        assert not server.requests


def test_the_bill_has_the_last_word_once_it_knows_every_call(tmp_path: Path) -> None:
    with FakeHub() as hub, ModelServer([FINAL, FINAL, FINAL], models=[LISTED]) as server:
        hub.tokens["hf_" + "x" * 30] = "ada"
        places = replace(hub.places(), router_url=server.base_url)
        with paid(tmp_path, [], places=places) as (session, _):

            def billed(cents: float, requests: int) -> None:
                hub.billed = [
                    {"id": session.id, "costCents": cents, "requestCount": requests},
                    {"id": "another", "costCents": 99, "requestCount": 9},
                ]

            billed(0.5, 0)  # it comes late
            done(session, "Go")
            billed(0.75, 2)
            done(session, "Again")
            until(lambda: thought(session) == 7_500)
            assert {event.source for event in events(session, MoneyCorrected)} == {"billing"}


def thought(session: Session) -> int:
    """Micro-dollars, by the journal."""
    return sum(event.micro_usd for event in everything(session) if isinstance(event, MoneySettled | MoneyCorrected))


def test_a_bill_that_may_not_be_read_changes_nothing(tmp_path: Path) -> None:
    with paid(tmp_path, [FINAL]) as (session, _):
        assert done(session, "Go").why == "answered"
        assert events(session, MoneyCorrected) == []


def test_stop_at_the_card_stops_the_run(tmp_path: Path) -> None:
    with paid(tmp_path, [Reply("late")], thinking_micro_usd=1_000) as (session, _):
        run = session.send("Go")
        wait_for(session, ApprovalAsked)
        session.stop()
        assert ended(session, run).why == "stopped"
        assert len(events(session, RunEnded)) == 1


def test_a_new_limit_below_what_is_spent_is_refused_and_the_card_stays(tmp_path: Path) -> None:
    dear = replace(code("x = 1"), input_tokens=90_000)
    with paid(tmp_path, [dear, FINAL], thinking_micro_usd=300_000) as (session, _):
        run = session.send("Go")
        card = wait_for(session, ApprovalAsked)
        with pytest.raises(Problem, match="less than what is spent"):
            session.answer(card.approval, Answer(verdict="yes", edits={"cap_micro_usd": 5}))
        session.answer(card.approval, Answer(verdict="yes", edits={"cap_micro_usd": 2_000_000}))
        assert ended(session, run).why == "answered"


def test_stop_while_waiting_for_a_failed_server_costs_nothing(tmp_path: Path) -> None:
    with paid(tmp_path, [Reply(status=503, headers={"retry-after": "50"})]) as (session, _):
        run = session.send("Go")
        wait_for(session, MoneyReserved, lambda hold: hold.hold == "think-2")
        session.stop()
        assert ended(session, run).why == "stopped"
        assert events(session, MoneySettled) == []


def test_a_reply_that_breaks_off_is_charged_by_what_the_provider_had_counted(tmp_path: Path) -> None:
    broken = Reply("word " * 50, usage="every", input_tokens=5_000, break_after=30)
    with paid(tmp_path, [broken, FINAL]) as (session, _):
        assert done(session, "Go").why == "answered"
        first, second = events(session, MoneySettled)
        assert (first.micro_usd, first.source) == (5_000 * 3 + 30 * 15, BROKE_OFF_COUNTED)
        assert second.source == BY_USAGE


def test_a_native_call_that_breaks_off_is_no_refusal(tmp_path: Path) -> None:
    broken = Reply(tool_calls=[("plan", '{"todos": [')], break_after=1)
    with paid(tmp_path, [broken, FINAL]) as (session, _):
        assert done(session, "Go").why == "answered"
        assert [event.source for event in events(session, MoneySettled)] == [BROKE_OFF, BY_USAGE]


def test_a_new_run_holds_no_more_than_the_one_before_for_what_was_counted_already(tmp_path: Path) -> None:
    long = [code(f"print({n}, 'Abc1 def ' * 1_000)") for n in range(4)]
    with paid(tmp_path, [*long, FINAL, FINAL]) as (session, _):
        done(session, "Go")
        done(session, "Go on")
        *_, last, first = [hold.micro_usd for hold in events(session, MoneyReserved)]
        assert first - last < 30_000
