"""What can go wrong with a paid job, as a person sees it: real browser, real app, real client, over the fake Hub.

After each trouble the Hub has no job twice and none that runs, and no money is lost, held or spent twice.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from agent.money.ledger import folded
from tests.doubles.hub import Fault, Job
from tests.journeys.paying import LAB, MINUTE, TASK, Payer, Task, paying
from tests.ui.serving import until

pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]

SUBMIT = "/api/jobs/ada$"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Payer]:
    data = tmp_path_factory.mktemp("paying")
    with paying(data) as payer:
        yield payer
        assert "Traceback" not in payer.app.log
    kept = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    assert b"hf_ada" not in kept


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield context
    context.close()


@pytest.fixture
def payer(running: Payer) -> Iterator[Payer]:
    yield running
    running.calm()


@pytest.fixture(scope="module")
def tab(context: BrowserContext) -> Page:
    """One tab for all: each task in it is a new one."""
    return context.new_page()


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    faults: list[str] = []
    note = lambda error: faults.append(str(error))  # noqa: E731
    tab.on("pageerror", note)
    yield tab
    tab.remove_listener("pageerror", note)
    assert faults == []


@pytest.fixture
def task(payer: Payer, page: Page) -> Task:
    return Task(payer, page)


# --- before it runs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (402, "wants credits for a job in the namespace 'ada': Pre-paid balance is 0. Add credits at"),
        (403, "Sign in with the right to start and manage Jobs"),
        (429, "The Hub is asked too much: wait 60 s. Then try again."),
    ],
)
def test_a_refused_job_says_on_its_card_what_is_missing_and_what_would_work(task: Task, status: int, says: str) -> None:
    body = b'{"error": "Pre-paid balance is 0"}'
    task.payer.hub.faults.append(Fault(SUBMIT, method="POST", status=status, body=body, times=1))
    task.ask().approve()
    task.shows("not started", says)
    expect(task.card.get_by_role("button", name="Stop this job")).to_be_hidden()
    task.is_over(0, started=0)


def test_two_tabs_that_approve_at_once_start_one_job(task: Task) -> None:
    task.ask()
    other = task.page.context.new_page()
    other.goto(task.page.url)
    expect(other.locator(".approval.pending")).to_be_visible()
    at = task.page.evaluate("Date.now() + 700")
    for page in (task.page, other):
        page.evaluate(
            "at => setTimeout(() => [...document.querySelectorAll('.approval.pending button')]"
            ".find((one) => one.textContent === 'Approve').click(), at - Date.now())",
            at,
        )
    task.there.say("step 1").end(ran=20)
    for page in (task.page, other):
        expect(page.locator(".approval")).to_contain_text("approved by you")
        expect(page.locator("#ml-timeline-place .job .chip")).to_have_text("completed")
        expect(page.locator(".approval .error")).to_have_count(0)
    other.close()
    task.is_over(MINUTE)
    assert len(task.answers) == 1


@pytest.mark.parametrize("skew", [-86_400.0, 86_400.0], ids=["a day behind", "a day ahead"])
def test_a_hub_whose_clock_is_wrong_bills_the_same(task: Task, skew: float) -> None:
    task.payer.hub.jobs.skew = skew
    there = task.start().say("step 1")
    expect(task.card.locator(".job-time")).to_contain_text(re.compile(r"≤ \$0\.14 · \d(\.\d)? s"))  # not a day
    there.end(ran=125)
    task.shows("completed", "2 min 5 s", "It cost $0.04 of the $0.14 that were held")
    task.is_over(3 * MINUTE)


def test_a_job_on_the_account_of_an_organisation_says_who_pays(task: Task) -> None:
    task.ask("Train it for the lab")
    expect(task.asked.locator(".facts")).to_contain_text(f"paid by{LAB}")
    task.approve()
    there = task.there.say("step 1")
    assert there.namespace == LAB
    task.shows("running", f"paid by {LAB}")
    there.end("CANCELED", reason="SPEND_LIMIT", ran=60)
    task.shows("cancelled", f"{LAB} has reached its spending limit. Raise the limit at", "let another namespace pay")
    task.is_over(MINUTE)


def test_a_lost_answer_is_looked_up_and_the_job_found(task: Task) -> None:
    task.payer.hub.faults.append(Fault(SUBMIT, method="POST", status=502, after=True, times=1))
    task.start().say("step 1").end(ran=20)
    task.shows("completed", "It cost $0.014")
    task.is_over(MINUTE)


def test_a_job_that_is_listed_late_is_found_after_all(task: Task) -> None:
    task.payer.hub.jobs.lists_after = 7.0
    task.payer.hub.faults.append(Fault(SUBMIT, method="POST", status=502, after=True, times=1))
    there = task.start().say("step 1")
    task.shows("looking for it", "its money stays held")
    task.shows("running")
    expect(task.page.locator(".notice", has_text="was started after all")).to_be_visible()
    there.end(ran=20)
    task.shows("completed", "It cost $0.014")
    task.is_over(MINUTE)


@pytest.fixture(scope="module")
def meanwhile(running: Payer, context: BrowserContext) -> dict[str, Task]:
    """Two tasks that take their time while others are tried: one whose submit failed, and one that gets late."""
    lost, late = (Task(running, context.new_page()) for _ in range(2))
    running.hub.faults.append(Fault(SUBMIT, method="POST", status=500, times=1))
    lost.ask().approve()
    until(lambda: not running.hub.faults[-1].times)
    late.ask().approve()
    threading.Thread(target=dawdle, args=(late.there,), daemon=True).start()
    return {"lost": lost, "late": late}


def dawdle(job: Job) -> None:
    """Eight steps of 200 in a minute of the Hub's time, of which half passes in two seconds; then it stands still."""
    for step in range(4, 56, 4):
        if job.over:
            return
        job.say(f"{{'loss': {2 - step / 400:.3f}, 'step': {step}, 'total_steps': 200}}")
        time.sleep(2.1)
        job.started = (job.started or 0) - 27
    while not job.over:  # the Hub's clock stands still for it, however long the tests between take
        time.sleep(0.5)
        job.started = (job.started or 0) + 0.5


def test_a_submit_that_failed_is_looked_for_with_its_money_held(meanwhile: dict[str, Task], payer: Payer) -> None:
    lost = meanwhile["lost"]
    lost.shows("looking for it", "did not say whether it was started", "its money stays held")
    expect(lost.page.locator(".account", has_text="Compute")).to_contain_text("$0.14 held")
    assert not lost.jobs


# --- the log --------------------------------------------------------------------------------------


def silent(task: Task, there: Job) -> None:
    task.page.wait_for_timeout(6_500)


def cut(task: Task, there: Job) -> None:
    there.cut()
    until(lambda: there.connections == 2)


def replayed_in_another_order(task: Task, there: Job) -> None:
    there.say("late", at=there.jobs.now() + 5).say("early", at=there.jobs.now() - 5)
    until(lambda: "early" in task.log)
    there.jobs.replays = lambda lines: sorted(lines)
    cut(task, there)


def ended_before_its_log(task: Task, there: Job) -> None:
    there.end(log=False, ran=20)
    task.page.wait_for_timeout(700)
    there.say("uploading")


def ended_after_its_log(task: Task, there: Job) -> None:
    there.log_ended = True
    until(lambda: there.connections > 1)


LOGS = [silent, cut, replayed_in_another_order, ended_before_its_log, ended_after_its_log]


@pytest.mark.parametrize("trouble", LOGS, ids=lambda trouble: trouble.__name__)
def test_trouble_with_the_log_is_none_of_the_job(task: Task, trouble: Callable[[Task, Job], None]) -> None:
    there = task.start().say("step 1", "step 1")
    until(lambda: task.log)
    trouble(task, there)
    if trouble is not ended_before_its_log:
        expect(task.card.locator(".chip")).to_have_text("running")
    if trouble is not ended_after_its_log:
        there.say("the last line")
    there.end(ran=20)
    task.shows("completed", "It cost $0.014")
    said = "".join(f"{line}\n" for _, line in there.log)
    assert task.log == said
    task.shows_log(*(line for _, line in there.log))
    expect(task.page.locator(".notice:visible")).to_have_count(0)
    task.is_over(MINUTE)


# --- watching -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500])
def test_a_job_that_cannot_be_watched_says_so_while_it_is_so(task: Task, status: int) -> None:
    there = task.start().say("step 1")
    task.shows("running")
    fault = Fault(f"/api/jobs/ada/{there.id}$", status=status)
    task.payer.hub.faults.append(fault)
    task.shows("running", f"Job ada/{there.id} cannot be watched at the moment")
    fault.times = 0
    expect(task.card.locator(".notice")).to_be_hidden()
    there.end(ran=20)
    task.shows("completed", "It cost $0.014")
    task.is_over(MINUTE)


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("NO_CREDITS", ["credits of ada are used up", "Add credits at", "start it again from its last checkpoint"]),
        ("NO_SUBSCRIPTION", ["ada has no plan that includes this", "Subscribe or add credits at"]),
        ("SPEND_LIMIT", ["ada has reached its spending limit", "Raise the limit at"]),
        ("RESOURCE_GROUP_LIMIT", ["the resource group in ada has reached its limit", "Ask its administrators"]),
        ("SOMETHING_NEW", ["Hugging Face cancelled it: SOMETHING_NEW"]),
    ],
)
def test_why_the_platform_cancelled_it_is_on_the_card(task: Task, reason: str, says: list[str]) -> None:
    task.payer.hub.jobs.plays = lambda job: job.say("step 1").end("CANCELED", reason=reason, ran=60)
    task.ask().approve()
    task.shows("cancelled", *says, "It cost $0.014 of the $0.14 that were held")
    task.is_over(MINUTE)


def test_a_script_that_fails_says_so_with_its_exit_code_and_its_log(task: Task) -> None:
    message = "Job failed with exit code: 1. Reason: Error"
    task.payer.hub.jobs.plays = lambda job: job.say("ModuleNotFoundError: peft").end("ERROR", message=message, ran=20)
    task.ask().approve()
    task.shows("failed", message, "It cost $0.014")
    expect(task.opened_log()).to_contain_text("ModuleNotFoundError")
    task.is_over(MINUTE)


# --- stop -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["Stop this job", "Stop"])
def test_a_stop_that_fails_stays_on_the_screen_until_it_is_done(task: Task, by: str) -> None:
    there = task.start().say("step 1")
    task.shows("running")
    fault = Fault(f"/api/jobs/ada/{there.id}/cancel", status=500)
    task.payer.hub.faults.append(fault)
    task.page.get_by_role("button", name=by, exact=True).first.click()
    told = f"Job ada/{there.id} could not be cancelled"
    task.shows("running", told, "This is tried again until it has ended.")
    task.page.reload()  # it does not go by that
    task.shows("running", told)
    assert not there.over
    fault.times = 0
    task.shows("cancelled", "It cost $0.014")
    expect(task.page.locator(".notice.warning:visible")).to_have_count(0)
    task.is_over(MINUTE, answered=by != "Stop")


# --- going wrong ----------------------------------------------------------------------------------

DIVERGING = [1.0, 0.9, 0.8, 0.7, 90.0, 95.0, 99.0]


@pytest.mark.parametrize("choice", ["stop it", "tell me"])
def test_a_loss_that_diverges_is_told_or_ends_the_job_as_the_user_chose(task: Task, choice: str) -> None:
    task.ask()
    task.asked.get_by_label("If the training goes wrong").select_option(choice)
    task.approve()
    there = task.there
    for step, loss in enumerate(DIVERGING):
        there.say(f"{{'loss': {loss}, 'step': {step}}}")
    alarm = "Diverging: loss is 90 at step 5; it began at 0.9 and had come down to 0.8."
    if choice == "stop it":
        task.shows("cancelled", alarm, "It was stopped, as you chose for such a case: loss is 90", "It cost $0.014")
    else:
        task.shows("running", alarm)
        expect(task.card.get_by_role("button", name="Stop this job")).to_be_visible()
        there.end(ran=20)
        task.shows("completed", alarm)
    task.is_over(MINUTE)
    assert f"Job “{TASK}”: loss is 90 at step 5" in "".join(task.told)


def test_a_job_that_will_not_be_done_in_time_is_told_of_while_there_is_time(meanwhile: dict[str, Task]) -> None:
    late = meanwhile["late"]
    late.shows("running", "Overrun:", "time limit")
    spent = len(late.told)
    assert spent == 2  # the question and the alarm
    late.page.get_by_role("button", name="Stop this job").first.click()
    late.shows("cancelled", "Overrun:")
    compute = folded(late.entries).compute
    late.is_over(compute.spent)
    assert MINUTE < compute.spent <= 10 * MINUTE


# --- nobody looks ---------------------------------------------------------------------------------


def test_a_closed_laptop_stops_nothing_and_the_end_is_there_when_it_is_opened(payer: Payer, task: Task) -> None:
    away = Task(payer, task.page.context.new_page())
    there = away.start().say("step 1")
    away.shows("running")
    address = away.page.url
    away.page.close()
    there.say("step 2").end(ran=20)
    page = task.page.context.new_page()
    page.goto(address)
    back = Task(payer, page)
    back.shows("completed", "It cost $0.014")
    back.shows_log("step 1", "step 2")
    expect(page.locator(".end")).to_contain_text("It ended: completed.")
    back.is_over(MINUTE)
    page.close()


def test_a_price_that_rose_since_the_card_starts_nothing_and_is_asked_for_anew(task: Task) -> None:
    task.ask("Train it, and ask again if need be")
    price(task.payer, 2 * MINUTE)
    task.approve()
    task.shows("not started", "l4x1 costs $1.59996 an hour now; $0.79998 was agreed. Nothing was started.")
    expect(task.page.locator(".approval.pending .price")).to_have_text("≤ $0.27")
    task.approve()
    task.there.say("step 1").end(ran=20)
    task.shows("completed", "It cost $0.027 of the $0.27 that were held")
    task.is_over(2 * MINUTE)
    assert len(task.answers) == 2


def test_a_price_that_fell_since_the_card_is_good(task: Task) -> None:
    price(task.payer, 2 * MINUTE)
    task.ask()
    expect(task.asked.locator(".price")).to_have_text("≤ $0.27")
    price(task.payer, MINUTE)
    task.approve()
    task.there.say("step 1").end(ran=20)
    task.shows("completed")
    task.is_over(2 * MINUTE)  # what was agreed


def price(payer: Payer, micro_usd_per_minute: int) -> None:
    next(item for item in payer.hub.jobs.hardware if item["name"] == "l4x1")["unitCostMicroUSD"] = micro_usd_per_minute


def test_who_looks_elsewhere_is_told_once_of_the_question_and_of_the_end(task: Task) -> None:
    page, url = task.page, task.payer.app.url
    page.context.grant_permissions(["notifications"], origin=url)
    task.ask()
    expect(page).to_have_title("● Needs you – ML Intern")
    away = page.context.new_page()
    away.add_init_script(AWAY)
    away.goto(page.url)
    expect(away).to_have_title("● Needs you – ML Intern")
    until(lambda: away.evaluate("told") == [f"Needs your approval: {TASK}"])
    task.approve()
    expect(page).to_have_title("… ML Intern")
    task.there.say("step 1").end(ran=20)
    task.shows("completed")
    expect(page).to_have_title("ML Intern")
    task.is_over(MINUTE)
    until(lambda: len(away.evaluate("told")) == 3)
    assert away.evaluate("told")[1:] == [f"{TASK}: completed.", "The task is done."]
    away.close()
    link = f" {url}/?session={task.session}"
    assert task.told == [
        f"ML Intern needs you: may “{TASK}” run for at most $0.14?{link}",
        f"Job “{TASK}” completed.{link}",
    ]


# A browser without a screen has no tabs that are hidden, so this one says that it is; its notifications are real.
AWAY = """
Object.defineProperty(document, "hidden", {get: () => true});
window.told = [];
window.Notification = class extends Notification {
  constructor(title, options) {
    super(title, options);
    told.push(options.body);
  }
};
"""


# --- the worst ------------------------------------------------------------------------------------


def test_a_submit_that_never_arrived_gives_its_money_back(meanwhile: dict[str, Task]) -> None:
    lost = meanwhile["lost"]
    expect(lost.card.locator(".chip")).to_have_text("not started", timeout=80_000)
    expect(lost.page.locator(".notice", has_text="was never started. Its money is free again.")).to_be_visible()
    lost.is_over(0, started=0)


def test_a_killed_app_finds_its_jobs_again_whole_and_settles_each_once(task: Task) -> None:
    """kill -9 as the Hub starts one job, while another trains."""
    app, trains = task.payer.app, Task(task.payer, task.page.context.new_page())
    trains.start().say("step 1")
    until(lambda: trains.log)
    task.payer.hub.jobs.plays = lambda _: app.kill()
    task.start().say("step 1")
    until(lambda: not app.runs)
    trains.there.say("step 2")
    app.start()
    for one in (trains, task):
        expect(one.page.locator(".end")).to_contain_text("restarted", timeout=40_000)
        one.shows("running")
        one.there.say("step 3").end(ran=20)
        one.shows("completed", "It cost $0.014")
        one.shows_log(*(line for _, line in one.there.log))
        one.is_over(MINUTE, answered=False)
