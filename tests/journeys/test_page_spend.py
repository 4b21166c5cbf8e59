"""The card that asks for hardware: what it says of who pays, what for and how much, and what can be changed on it."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from agent.events import ApprovalAsked, UserSaid
from tests.doubles import scenes
from tests.doubles.sessions import ToldSession
from tests.journeys.test_page_modules import call, modules  # noqa: F401
from tests.ui.serving import until
from tools.cards import Spend

pytestmark = pytest.mark.journey

LARGE = scenes.SPEND.model_copy(
    update={
        "namespace": "ada-lab",
        "flavor": "a100-large",
        "nodes": 4,
        "price_micro_usd_per_hour": 250_001,
        "timeout_seconds": 9000,
        "likely_micro_usd": 900_000,
        "why": "The 8B model needs it.",
        "token": "own",
        "secrets": ("HF_TOKEN", "WANDB_API_KEY"),
        "volumes": ("datasets/ada/pets:/data",),
        "outputs": "ada-lab/ml-intern",
        "image": "pytorch/pytorch:2.9",
        "track": "pets",
        "dashboard": "ada-lab/ml-intern-trackio-pets",
    }
)


def ask(page: Page, session: ToldSession, request: Spend) -> Locator:
    session.tell(UserSaid(run="r", text="go"), ApprovalAsked(approval="a", call="c", request=request))
    page.goto(f"./?session={session.id}")
    return page.locator(".approval")


def test_the_page_reckons_what_is_held_exactly_as_the_server_does(modules: Page) -> None:  # noqa: F811
    requests = [
        scenes.SPEND.model_copy(
            update={"price_micro_usd_per_hour": price, "timeout_seconds": seconds, "nodes": nodes, "runs": runs}
        )
        for price in (0, 1, 833_333, 40_000_007)
        for seconds in (1, 59, 60, 61, 2700, 604_800)
        for nodes, runs in ((1, 1), (3, 1), (16, 1), (1, 366))
    ]
    reckoned = call(modules, "spend", "return values[0].map((one) => m.hold(one))", [r.model_dump() for r in requests])
    assert reckoned == [request.hold_micro_usd for request in requests]


def test_a_card_says_who_pays_for_what_and_warns_of_the_users_own_token(page: Page, session: ToldSession) -> None:
    card = ask(page, session, LARGE)
    expect(card.locator(".costs")).to_contain_text("costs at most$2.50of $5.00 left in the budget")
    expect(card.locator(".costs")).to_contain_text("will probably cost$0.90")
    expect(card.locator(".notice.warning")).to_contain_text("your own Hugging Face token. Everything in it")
    facts = {
        "runs on": "Hugging Face Jobs: 4 × a100-large, $0.25 an hour each",
        "paid by": "ada-lab",
        "why this": "The 8B model needs it.",
        "HF token": "YOUR OWN",
        "secrets": "WANDB_API_KEY",
        "can read": "datasets/ada/pets, as /data",
        "keeps files in": "ada-lab/ml-intern, a private bucket",
        "live dashboard": "ada-lab/ml-intern-trackio-pets, a private Space and a private bucket for “pets”, "
        "made if they are not there yet",
        "image": "pytorch/pytorch:2.9",
    }
    assert told(card).items() >= facts.items()


def test_the_time_limit_and_what_an_alarm_does_can_be_changed(page: Page, session: ToldSession) -> None:
    card = ask(page, session, LARGE)
    expect(card.locator(".price")).to_have_text("≤ $2.50")
    card.get_by_label("Time limit in minutes").fill("60.5")  # a begun minute is a whole one
    expect(card.locator(".price")).to_have_text("≤ $1.02")
    card.get_by_label("Time limit in minutes").fill("600")
    expect(card.locator(".costs b.error")).to_have_text("$10.00")
    card.get_by_label("Time limit in minutes").fill("60.5")
    card.get_by_label("If the training goes wrong").select_option("stop it")
    card.get_by_role("button", name="Approve").click()
    until(lambda: session.answers)
    assert session.answers[0][1].edits == {"timeout_seconds": 3630, "on_alarm": "stop"}
    expect(card).to_contain_text("approved by you≤ $1.02")
    expect(card).to_contain_text("at most $1.02, probably $0.90")
    expect(card).to_contain_text("if the training goes wrong: stop it")


def test_a_schedule_says_how_often_it_runs_and_when_it_ends(page: Page, session: ToldSession) -> None:
    daily = {"namespace": "ada", "schedule": "@daily", "runs": 5, "token": "stored", "secrets": ("HF_TOKEN",)}
    card = ask(page, session, scenes.SPEND.model_copy(update=daily))
    expect(card.locator(".price")).to_have_text("≤ $3.75")
    facts = told(card)
    assert facts["repeats"].startswith("every day, 5 times, the last by ")
    assert facts["HF token"] == "the one you keep for jobs"
    assert "secrets" not in facts
    expect(card.get_by_label("If the training goes wrong")).to_have_count(0)


def test_of_a_sandbox_only_the_time_can_be_changed(page: Page, session: ToldSession) -> None:
    sandbox: dict[str, Any] = {"where": "sandbox", "flavor": "t4-small", "namespace": "ada", "idle_seconds": 600}
    request = Spend(
        title="Open a sandbox", script="nvidia-smi", timeout_seconds=7200, price_micro_usd_per_hour=410_000, **sandbox
    )
    card = ask(page, session, request)
    expect(card.locator("pre")).to_have_text("nvidia-smi")
    expect(card).to_contain_text("What the agent runs in it after this is not asked about again.")
    assert told(card)["ends early"] == "after 10 min without a command"
    expect(card.locator("textarea")).to_have_count(1)  # the reason
    card.get_by_label("Time limit in minutes").fill("30")
    expect(card.locator(".price")).to_have_text("≤ $0.20")
    card.get_by_role("button", name="Approve").click()
    until(lambda: session.answers)
    assert session.answers[0][1].edits == {"timeout_seconds": 1800}


def told(card: Locator) -> dict[str, str]:
    """The facts of a card by name."""
    expect(card.locator(".facts")).to_be_visible()
    names, values = card.locator(".facts dt").all_inner_texts(), card.locator(".facts dd").all_inner_texts()
    return dict(zip(names, values, strict=True))
