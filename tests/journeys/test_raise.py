"""A budget of nothing, and a job that costs money: the card says what is missing, and one click raises it and starts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.doubles.hub import FakeHub
from tests.doubles.hub.jobs import Job
from tests.doubles.model_server import ModelServer, by_turn
from tests.journeys.acts import say, start
from tests.journeys.running import App
from tests.journeys.test_whole import code, page  # noqa: F401
from tests.ui.serving import until

pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]

TRAIN = [
    code(
        "I train on one L4.",
        "end = job_run('print(1)', title='Train a small model', flavor='l4x1', timeout='1h', expected='20m', "
        "why='24 GB are enough for it.')\nprint(end['status'])",
    ),
    code("I report.", "final_answer('Trained.')"),
]


def plays(job: Job) -> None:
    """Two seconds of work, told as ten minutes."""

    def work() -> None:
        for step in range(1, 11):
            time.sleep(0.2)
            job.say(f"{{'loss': {2 / step:.3f}, 'step': {step}}}")
        job.end(ran=600)

    threading.Thread(target=work, daemon=True).start()


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        fake.jobs.plays = plays
        yield fake


@pytest.fixture
def app(hub: FakeHub, tmp_path: Path) -> Iterator[App]:
    environ = hub.environ() | {"HF_TOKEN": "hf_ada"}
    with ModelServer(by_turn(TRAIN)) as server, App(tmp_path, MODEL_BASE_URL=server.base_url, **environ) as app:
        yield app


def test_one_click_raises_the_budget_and_starts_the_job_which_is_settled(
    page: Page,  # noqa: F811
    hub: FakeHub,
    app: App,
) -> None:
    start(page, app.url)
    say(page, "Train it for under $3")
    card = page.locator(".approval.pending")
    expect(card).to_be_visible()
    expect(card.locator(".costs")).to_contain_text("costs at most$0.80of $0.00 left in the budget: $0.80 is missing")
    yes = card.locator("button.primary")
    expect(yes).to_have_text("Raise the budget to $0.80 and start")

    time_limit = card.get_by_label("Time limit in minutes")
    time_limit.fill("300")  # more than was said
    expect(yes).to_have_text("Raise the budget to $4.00 and start")
    yes.click()
    expect(card.get_by_role("alert")).to_contain_text("It may cost up to $4.00, and the user said “under $3”.")
    expect(card.get_by_role("alert")).to_contain_text("Change the request, or what is pinned.")
    assert not hub.jobs.all
    time_limit.fill("120")
    expect(yes).to_have_text("Raise the budget to $1.60 and start")
    yes.click()

    answered = page.locator(".approval")
    expect(answered).to_contain_text("approved by you")
    expect(answered).to_contain_text("raised by you from $0.00 to $1.60")
    expect(page.locator(".job .chip")).to_have_text("completed")
    expect(page.locator(".end")).to_contain_text("Trained.")
    compute = page.locator(".account", has_text="Compute").locator(".sum")
    expect(compute).to_have_text("$0.14 / $1.60")
    (job,) = hub.jobs.all.values()
    assert job.body["timeoutSeconds"] == 7200

    page.reload()
    expect(page.locator(".approval")).to_contain_text("raised by you from $0.00 to $1.60")
    assert "Traceback" not in app.log


def test_two_tabs_that_click_at_once_start_one_job_and_raise_once(
    page: Page,  # noqa: F811
    hub: FakeHub,
    app: App,
) -> None:
    start(page, app.url)
    say(page, "Train it")
    expect(page.locator(".approval.pending")).to_be_visible()
    second = page.context.new_page()
    start(second, page.url)
    expect(second.locator(".approval.pending")).to_be_visible()
    second.locator(".approval.pending").get_by_label("Time limit in minutes").fill("120")
    expect(second.locator("button.primary", has_text="$1.60")).to_be_visible()
    at = time.time() * 1000 + 1500
    for tab in (page, second):  # both at the same moment, by their own clocks
        tab.evaluate(
            "at => void setTimeout(() => document.querySelector('.approval button.primary').click(), at - Date.now())",
            at,
        )
    for tab in (page, second):
        expect(tab.locator(".end")).to_contain_text("Trained.", timeout=40_000)
        expect(tab.locator(".approval")).to_contain_text("raised by you from $0.00 to")
    until(lambda: all(job.over for job in hub.jobs.all.values()))
    (job,) = hub.jobs.all.values()
    raised = "$0.80" if job.body["timeoutSeconds"] == 3600 else "$1.60"
    for tab in (page, second):
        expect(tab.locator(".account", has_text="Compute").locator(".sum")).to_have_text(f"$0.14 / {raised}")
        expect(tab.locator(".approval")).to_have_count(1)
    second.close()
