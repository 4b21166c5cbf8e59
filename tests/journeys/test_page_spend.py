"""The card that asks for hardware: what it says of who pays, what for and how much, and what can be changed on it."""

from __future__ import annotations

import random
import re
import time
from datetime import UTC, datetime
from functools import reduce

import pytest
from playwright.sync_api import Locator, Page, expect

from agent.events import ApprovalAnswered, ApprovalAsked, BudgetSet, MoneyReserved, MoneySettled, UserSaid
from agent.job_events import JobSubmitting
from agent.money.ledger import Ledger, after, limit_for
from agent.session import Session
from tests.agent.living import events, tell, wait_for
from tests.doubles import scenes
from tests.doubles.hub import FakeHub
from tests.doubles.hub.jobs import flavor
from tests.journeys.test_page_modules import call, modules  # noqa: F401
from tools.cards import Answer, Foreseen, Spend
from tools.jobs.cron import planned
from tools.jobs.here.words import HERE
from tools.jobs.remote.words import SCHEDULE
from tools.money import cost

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


def ask(page: Page, session: Session, request: Spend) -> Locator:
    """The card of a request, to be looked at."""
    tell(session, UserSaid(run="r", text="go"), ApprovalAsked(approval="a", call="c", request=request))
    page.goto(f"./?session={session.id}")
    return page.locator(".approval")


def ask_for(page: Page, world: FakeHub, session: Session, call: str) -> Locator:
    """The card that a call brings up, to be answered. An A10G costs two cents a minute, a T4 one."""
    world.jobs.hardware = [flavor("a10g-small", 20_000), flavor("t4-small", 10_000)]
    session.send(call)
    wait_for(session, ApprovalAsked)
    page.goto(f"./?session={session.id}")
    return page.locator(".approval")


def answered(session: Session) -> Answer:
    return wait_for(session, ApprovalAnswered).answer


TRAIN = '/job_run script=print(1) title="Train on IMDB" flavor=a10g-small timeout=2h expected=45m'


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


def test_the_page_reckons_the_cost_of_any_time_exactly_as_the_server_does(modules: Page) -> None:  # noqa: F811
    dice = random.Random(11)
    edges = [0, 0.0005, 59.9994, 59.9995, 60, 60.0004, 60.0005, 60.001, 3600.0004, 3600.0005]
    cases = []
    for _ in range(3000):
        price = dice.choice((0, 1, 13_333 * 60, dice.randrange(1, 1_000_000_000)))
        seconds = dice.choice((dice.choice(edges), dice.uniform(0, 700_000), dice.randrange(0, 700_000)))
        many = dice.choice(({"machines": dice.randrange(1, 17)}, {"runs": dice.randrange(1, 367)}))
        cases.append((price, seconds, many))
    reckoned = call(modules, "spend", "return values[0].map((one) => m.cost(...one))", cases)
    assert reckoned == [cost(price, seconds, **many) for price, seconds, many in cases]


def test_a_card_says_who_pays_for_what_and_warns_of_the_users_own_token(page: Page, session: Session) -> None:
    card = ask(page, session, LARGE)
    expect(card.locator(".costs")).to_contain_text("costs at most$2.51of $5.00 left in the budget")
    expect(card.locator(".costs")).to_contain_text("will probably cost$0.90")
    expect(card.locator(".notice.warning")).to_contain_text("your own Hugging Face token. Everything in it")
    facts = {
        "runs on": "Hugging Face Jobs: 4 × a100-large, $0.250001 an hour each",
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


def test_the_time_limit_and_what_an_alarm_does_can_be_changed(page: Page, world: FakeHub, paying: Session) -> None:
    card = ask_for(page, world, paying, TRAIN)
    expect(card.locator(".price")).to_have_text("≤ $2.40")
    card.get_by_label("Time limit in minutes").fill("60.5")  # a begun minute is a whole one
    expect(card.locator(".price")).to_have_text("≤ $1.22")
    card.get_by_label("Time limit in minutes").fill("600")
    expect(card.locator(".costs b.error")).to_have_text("$12.00")
    card.get_by_label("Time limit in minutes").fill("60.5")
    card.get_by_label("If the training goes wrong").select_option("stop it")
    card.get_by_role("button", name="Approve").click()
    assert answered(paying).edits == {"timeout_seconds": 3630, "on_alarm": "stop"}
    expect(card).to_contain_text("approved by you≤ $1.22")
    expect(card).to_contain_text("at most $1.22, probably $0.90")
    expect(card).to_contain_text("if the training goes wrong: stop it")


def test_the_page_reckons_the_limit_that_is_needed_exactly_as_the_server_does(modules: Page) -> None:  # noqa: F811
    dice = random.Random(7)
    cases: list[tuple[list[BudgetSet | MoneyReserved | MoneySettled], int]] = []
    for _ in range(300):
        events: list[BudgetSet | MoneyReserved | MoneySettled] = [
            BudgetSet(micro_usd=dice.randrange(0, 5_000_000), of=of)
            for of in dice.choices(("both", "compute", "thinking"), k=dice.randrange(0, 3))
        ]
        for n, of in enumerate(("compute", "thinking")):
            events.append(MoneyReserved(hold=str(n), micro_usd=dice.randrange(0, 900_000), of=of))  # type: ignore[arg-type]
            if dice.random() < 0.5:
                events.append(MoneySettled(hold=str(n), micro_usd=dice.randrange(0, 900_000)))
        cases.append((events, dice.randrange(0, 3_000_000) if dice.random() < 0.9 else 0))
    script = """
        const { Story } = await import(url.replace("ledger.js", "story.js"));
        return values[0].map(([events, cost]) => {
          const story = new Story();
          events.forEach((event, n) => story.take({ seq: n + 1, at: 0, event }));
          return story.money.limitFor(cost);
        });
    """
    told = [([event.model_dump() for event in events], cost) for events, cost in cases]
    ledgers = [reduce(after, events, Ledger()) for events, _ in cases]
    needed = [
        limit_for(ledger, cost) if ledger.missing(cost) else None
        for ledger, (_, cost) in zip(ledgers, cases, strict=True)
    ]
    assert call(modules, "story/ledger", script, told) == needed
    assert len({*needed}) > 100


def test_the_button_says_that_it_raises_the_budget_and_to_what(page: Page, world: FakeHub, paying: Session) -> None:
    card = ask_for(page, world, paying, TRAIN)
    start = card.locator("button.primary")
    expect(start).to_have_text("Approve")
    card.get_by_label("Time limit in minutes").fill("600.5")
    expect(start).to_have_text("Raise the budget to $12.02 and start")
    expect(card.locator(".costs")).to_contain_text("of $5.00 left in the budget: $7.02 is missing")
    card.get_by_label("Time limit in minutes").fill("")
    expect(start).to_have_text("Approve")
    card.get_by_label("Time limit in minutes").fill("600.5")
    start.click()
    assert answered(paying) == Answer(verdict="yes", edits={"timeout_seconds": 36_030}, budget_micro_usd=12_020_000)
    assert events(paying, BudgetSet)[-1].micro_usd == 12_020_000
    expect(card).to_contain_text("approved by you")
    assert told(card)["budget"] == "raised by you from $5.00 to $12.02"


def test_a_card_reckons_again_when_the_money_changes_and_keeps_what_was_typed(page: Page, session: Session) -> None:
    card = ask(page, session, LARGE)
    card.get_by_label("Reason").fill("a draft")
    tell(session, BudgetSet(micro_usd=1_000_000), MoneyReserved(hold="other", micro_usd=400_000))
    expect(card.locator("button.primary")).to_have_text("Raise the budget to $2.91 and start")
    expect(card.locator(".costs")).to_contain_text("of $0.60 left in the budget: $1.91 is missing")
    tell(session, BudgetSet(micro_usd=9_000_000))
    expect(card.locator("button.primary")).to_have_text("Approve")
    expect(card.get_by_label("Reason")).to_have_value("a draft")


def test_a_schedule_says_in_words_when_it_runs_and_when_it_ends(page: Page, session: Session) -> None:
    again = {"place": SCHEDULE, "schedule": "0 9 * * 1", "runs": 4}
    weekly = scenes.SPEND.model_copy(update=again | {"namespace": "ada", "token": "stored", "secrets": ("HF_TOKEN",)})
    card = ask(page, session, planned(weekly, datetime(2026, 11, 26, tzinfo=UTC).timestamp()))
    expect(card.locator(".price")).to_have_text("≤ $3.00")
    facts = told(card)
    assert facts["repeats"] == (
        "at 09:00 on Monday, UTC (0 9 * * 1), 4 times: the first on Mon, 30 Nov 2026 at 09:00 UTC,"
        " the last by Mon, 21 Dec 2026; then it is deleted"
    )
    assert facts["HF token"] == "the one you keep for jobs"
    assert "secrets" not in facts
    expect(card.get_by_label("If the training goes wrong")).to_have_count(0)


def test_a_schedule_of_an_old_session_says_what_was_known_of_it(page: Page, session: Session) -> None:
    card = ask(page, session, scenes.SPEND.model_copy(update={"place": SCHEDULE, "schedule": "@daily", "runs": 5}))
    assert told(card)["repeats"] == "@daily, 5 times; then it is deleted"


def test_a_scheduled_job_says_when_it_runs_next(page: Page, session: Session) -> None:
    request = planned(scenes.SPEND.model_copy(update={"place": SCHEDULE, "schedule": "@daily", "runs": 5}), time.time())
    held, submitting, submitted = scenes.job_start()
    assert isinstance(submitting, JobSubmitting)
    tell(session, UserSaid(run="r", text="go"), held, submitting.model_copy(update={"request": request}), submitted)
    page.goto(f"./?session={session.id}")
    card = page.locator("#ml-timeline-place .job")
    expect(card.locator(".job-head")).to_contain_text("a10g-small, at 00:00 every day, UTC")
    date = datetime.fromtimestamp(request.due[0], UTC)
    expect(card.locator(".job-time")).to_have_text(re.compile(rf"next: \w+, {date.day} \w+ {date.year} at 00:00 UTC$"))


FORESEEN = Foreseen(
    job="ada/6a01",
    on="a10g-small",
    steps_per_second=12.3,
    seconds_low=1810.0,
    seconds_high=2590.0,
    micro_usd_low=516_667,
    micro_usd_high=733_334,
    words="30 min to 43 min for 26,000 steps: from 12.3 steps/s in dry run ada/6a01 on a10g-small",
)


def test_what_a_dry_run_foretells_stands_beside_the_most_it_can_cost(page: Page, session: Session) -> None:
    request = scenes.SPEND.model_copy(update={"steps": 26_000, "foreseen": FORESEEN})
    card = ask(page, session, request)
    expect(card.locator(".costs")).to_contain_text("costs at most$0.75")
    expect(card.locator(".costs")).to_contain_text(f"will likely cost$0.52 – $0.74{FORESEEN.words}")
    assert told(card)["steps"] == "26,000"
    short = card.get_by_role("status")
    expect(short).to_be_hidden()
    card.get_by_label("Time limit in minutes").fill("40")
    expect(short).to_have_text("It may take 43 min: then it would be cut off by the time limit.")
    card.get_by_label("Time limit in minutes").fill("30")
    expect(short).to_have_text(
        "Even 30 min, the least that is likely, is past the time limit: it would be cut off unfinished."
    )
    card.get_by_label("Time limit in minutes").fill("60")
    expect(short).to_be_hidden()
    session.set_budget(500_000)
    page.reload()
    expect(short).to_have_text("Even $0.52, the least that is likely, is more than is left in the budget.")
    expect(card.get_by_role("button", name="Raise the budget to $0.75 and start")).to_be_visible()
    answer = Answer(verdict="yes", budget_micro_usd=750_000)
    tell(
        session,
        ApprovalAnswered(approval="a", answer=answer, by="user", request=request, raised_from_micro_usd=500_000),
    )
    expect(card).to_contain_text("at most $0.75, likely $0.52 – $0.74")
    assert told(card)["foreseen"] == FORESEEN.words


def test_a_dry_run_on_other_hardware_is_said_and_what_the_agent_expects_stays(page: Page, session: Session) -> None:
    words = "measured on this machine, not on a10g-small: no forecast of time"
    elsewhere = Foreseen(job="here-1", on="this machine", steps_per_second=3.0, words=words)
    card = ask(
        page, session, scenes.SPEND.model_copy(update={"foreseen": elsewhere, "likely_micro_usd": 400_000, "steps": 10})
    )
    expect(card.locator(".costs")).to_contain_text(f"will probably cost$0.40as the agent expects; {words}")
    expect(card.get_by_role("status")).to_be_hidden()


def test_what_costs_nothing_is_foretold_in_time_alone(page: Page, session: Session) -> None:
    free = {"where": "here", "place": HERE, "flavor": "", "price_micro_usd_per_hour": 0, "secrets": ()}
    card = ask(page, session, scenes.SPEND.model_copy(update=free | {"steps": 26_000, "foreseen": FORESEEN}))
    expect(card.locator(".costs")).to_contain_text("will likely take30 min – 43 min")
    expect(card.locator(".costs")).not_to_contain_text("$")


def test_of_a_sandbox_only_the_time_can_be_changed(page: Page, world: FakeHub, paying: Session) -> None:
    card = ask_for(page, world, paying, "/sandbox_run nvidia-smi flavor=t4-small lifetime=2h")
    expect(card.locator("pre")).to_have_text("nvidia-smi")
    expect(card).to_contain_text("What the agent runs in it after this is not asked about again.")
    assert told(card)["ends early"] == "after 10 min without a command"
    expect(card.locator("textarea")).to_have_count(1)  # the reason
    card.get_by_label("Time limit in minutes").fill("60")
    expect(card.locator(".price")).to_have_text("≤ $0.61")  # with a cent for its open port
    card.get_by_role("button", name="Approve").click()
    assert answered(paying).edits == {"timeout_seconds": 3600}


def told(card: Locator) -> dict[str, str]:
    """The facts of a card by name."""
    expect(card.locator(".facts")).to_be_visible()
    names, values = card.locator(".facts dt").all_inner_texts(), card.locator(".facts dd").all_inner_texts()
    return dict(zip(names, values, strict=True))
