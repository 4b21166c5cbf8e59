"""What a job's card shows while it runs: curves, pace, what is still to come, alarms."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from agent.events import (
    ApprovalAsked,
    BudgetSet,
    Event,
    MoneyCorrected,
    MoneyReleased,
    MoneyReserved,
    MoneySettled,
    ToolEnded,
    UserSaid,
)
from agent.job_events import (
    JobAlarm,
    JobAlerted,
    JobBilled,
    JobForecast,
    JobLeft,
    JobLogged,
    JobMeasured,
    JobSubmitted,
    JobSubmitting,
    JobTracked,
    JobUsed,
)
from agent.session import Session
from tests.agent.living import tell, wait_for
from tests.doubles import scenes
from tests.doubles.hub import FakeHub, Fault
from tests.doubles.hub.jobs import flavor
from tests.journeys.test_page_modules import call, modules  # noqa: F401
from tools.cards import Answer, OutputFile
from tools.jobs.remote.words import SANDBOX

pytestmark = pytest.mark.journey
JOB = "69b2c7880357"


def logged(*points: dict[str, float | None]) -> Event:
    return JobLogged(job=JOB, offset=1, text="", points=points)


def test_a_running_job_shows_its_curves_its_pace_and_its_alarms(page: Page, session: Session) -> None:
    tell(session, UserSaid(run="r", text="go"), *scenes.research("r"), *scenes.script_step("r"), *scenes.job_start())
    page.goto(f"./?session={session.id}")
    for step in range(0, 300, 10):
        values: dict[str, float | None] = {"step": step, "loss": None if step == 200 else 1000 / (step + 1)}
        tell(session, logged(values | {"total_steps": 600, "gpu_percent": 87.0, "gpu_memory_gb": 40.5}))
        time.sleep(0.001)  # the pace is reckoned from when they came
    tell(session, logged({"step": 290, "eval_loss": 3.5}))
    card = page.locator("#ml-timeline-place .job")
    card.scroll_into_view_if_needed()
    expect(card.locator(".curve path.look-0")).to_have_attribute("d", _strokes(2))  # a gap where the loss was no number
    expect(card.get_by_role("img")).to_have_attribute(
        "aria-label",
        "GPU %: from 87 to 87, lowest 87. loss: from 1000 to 3.436, lowest 3.436, 1 value not a number."
        " eval_loss: from 3.5 to 3.5, lowest 3.5",
    )
    expect(card.locator(".curve-top")).to_have_text("1000 (log)")
    expect(card.locator(".curve-name")).to_have_text(["GPU %", "loss", "eval_loss"])
    expect(card.locator(".numbers")).to_contain_text("step 290/600")
    expect(card.locator(".numbers")).to_contain_text("GPU 87 %, 40.5 GB")
    expect(card.locator(".numbers")).to_contain_text("steps/s")
    expect(card.get_by_role("progressbar", name="Steps done")).to_have_js_property("value", 290 / 600)

    words = "60 min to 80 min to go, $0.42 to $0.51 in all."
    ends = {"seconds_low": 4_000.0, "seconds_high": 5_000.0, "micro_usd_low": 420_000, "micro_usd_high": 510_000}
    tell(session, JobForecast.model_validate({"job": JOB, "words": words} | ends))
    expect(card.locator(".job-forecast")).to_have_text(
        "In all, likely: 67 min – 83 min, $0.42 – $0.51; that is past its time limit of 45 min."
    )
    expect(card.locator(".job-time")).to_contain_text("ETA 1 h 6 min – 1 h 23 min")
    tell(session, JobAlarm(job=JOB, rule="nan", text="loss is not a number at step 200 of <b>600</b>.", step=200))
    expect(card.get_by_role("list", name="Alarms")).to_have_text(
        "Not a number: loss is not a number at step 200 of <b>600</b>."
    )
    tell(session, *scenes.job_end())
    expect(card.locator(".job-forecast")).to_be_hidden()
    expect(card.get_by_role("list", name="Alarms")).to_be_visible()


def test_a_tracked_job_shows_its_alerts_its_dashboard_and_what_it_did_not_print(page: Page, session: Session) -> None:
    tell(session, UserSaid(run="r", text="go"), *scenes.research("r"), *scenes.script_step("r"), *scenes.job_start())
    page.goto(f"./?session={session.id}")
    card = page.locator("#ml-timeline-place .job")
    tell(session, JobTracked(job=JOB, note="The dashboard cannot be had at the moment."))
    expect(card.locator(".job-tracked")).to_have_text("The dashboard cannot be had at the moment.")
    tell(session, JobTracked(job=JOB, url="https://huggingface.co/spaces/ada/ml-intern-trackio-pets"))
    link = card.get_by_role("link", name="Live dashboard")
    expect(link).to_have_attribute("href", "https://huggingface.co/spaces/ada/ml-intern-trackio-pets")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    for step in range(0, 300, 10):
        tell(session, logged({"step": step, "loss": 1000 / (step + 1), "total_steps": 600}))
    points: list[dict[str, float | None]] = [{"step": step, "kl/loss": 20 + step} for step in range(0, 250, 10)]
    tell(session, JobMeasured(job=JOB, points=tuple(points), mark="2026-11-27T10:00:00+00:00"))
    expect(card.locator(".curve-name")).to_have_text(["loss", "kl/loss"])
    expect(card.locator(".numbers")).to_contain_text("step 290/600")  # a dashboard lags behind
    tell(
        session,
        JobAlerted(job=JOB, level="warn", text="Odd: only <b>one</b> class", step=120),
        JobAlerted(job=JOB, level="error", text="Reward is hacked: it only says yes"),
        JobAlerted(job=JOB, level="info", text="Half of it is done", step=300),
    )
    expect(card.get_by_role("list", name="Alerts of the script").get_by_role("listitem")).to_have_text(
        [
            "The script warns: Odd: only <b>one</b> class (step 120)",
            "The script reports an error: Reward is hacked: it only says yes",
            "The script says: Half of it is done (step 300)",
        ]
    )
    page.reload()
    expect(card.get_by_role("listitem")).to_have_count(3)
    tell(session, *scenes.job_end())
    tell(session, JobAlerted(job=JOB, level="warn", text="Told late"))
    expect(card.get_by_role("listitem")).to_have_count(4)
    expect(link).to_be_visible()


def test_what_a_running_job_uses_is_shown_as_it_changes(page: Page, session: Session) -> None:
    tell(session, UserSaid(run="r", text="go"), *scenes.research("r"), *scenes.script_step("r"), *scenes.job_start())
    page.goto(f"./?session={session.id}")
    numbers = page.locator("#ml-timeline-place .job .numbers")
    tell(session, JobUsed(job=JOB, use={"cpu_percent": 12.4, "memory_gb": 8.1}))
    expect(numbers).to_have_text("CPU 12 %, 8.1 GB")
    for step in (10, 20):
        tell(session, logged({"step": step, "loss": 1 / step}))
        tell(session, JobUsed(job=JOB, use={"gpu_percent": 80.0 + step, "gpu_memory_gb": 40.5, "cpu_percent": 9.0}))
    expect(numbers).to_contain_text("GPU 100 %, 40.5 GB")
    expect(numbers).to_contain_text("CPU 9 %")
    drawn = page.locator("#ml-timeline-place .job").get_by_role("img")
    expect(drawn).to_have_attribute("aria-label", re.compile("^GPU %: from 90 to 100"))
    tell(session, *scenes.job_end())
    expect(numbers).not_to_contain_text("CPU")


def test_a_running_job_can_be_stopped_and_says_so_until_it_has_ended(
    page: Page, world: FakeHub, paying: Session
) -> None:
    world.jobs.hardware = [flavor("a10g-small", 20_000)]
    world.jobs.cancels_take = None
    paying.send('/job_run script=print(1) title="Train on IMDB" flavor=a10g-small timeout=45m')
    paying.answer(wait_for(paying, ApprovalAsked).approval, Answer(verdict="yes"))
    job = wait_for(paying, JobSubmitted).job
    there = world.jobs.all[job.rpartition("/")[2]].say("It trains")
    world.faults.append(Fault(f"/api/jobs/{job}/cancel", status=503))
    page.goto(f"./?session={paying.id}")
    card = page.locator("#ml-timeline-place .job")
    page.get_by_role("tab", name="Jobs").click()
    card.get_by_role("button", name="Stop this job").click()
    expect(card.locator(".notice.warning")).to_contain_text(f"Job {job} could not be cancelled: ")
    expect(card.locator(".notice.warning")).to_contain_text("This is tried again until it has ended.")
    expect(card.get_by_role("button", name="Stopping…")).to_be_disabled()
    expect(page.get_by_role("tabpanel").get_by_role("button", name="Stopping…")).to_be_disabled()
    there.end("CANCELED", ran=840)
    expect(card).to_contain_text("It cost $0.28 of the $0.90 that were held: reckoned from its run time and the price.")
    expect(card.get_by_role("button")).to_have_count(0)
    expect(card.locator(".notice.warning")).to_be_hidden()


def test_what_a_job_was_billed_stands_beside_what_was_reckoned_and_counts(page: Page, session: Session) -> None:
    reckoned = MoneySettled(hold="label-1", micro_usd=280_000, source="run time and price")
    ended, *_ = scenes.job_end()
    tell(session, UserSaid(run="r", text="go"), *scenes.job_start(), ended, reckoned)
    page.goto(f"./?session={session.id}")
    card = page.locator("#ml-timeline-place .job")
    compute = page.locator(".budget .account").nth(1)
    words = "It cost $0.28 of the $0.75 that were held: reckoned from its run time and the price."
    expect(card.locator(".job-bill")).to_have_text(words)
    bill = JobBilled(job=JOB, label="label-1", micro_usd=270_000, minutes=17.0)
    tell(session, bill, bill, bill.model_copy(update={"micro_usd": 1}))  # only the first counts
    expect(card.locator(".job-bill")).to_have_text(f"{words} The bill says $0.27.")
    expect(card.locator(".job-time")).to_contain_text("$0.27")
    expect(compute).to_contain_text("$0.27 / $5.00")
    expect(compute).to_contain_text("as billed")
    expect(compute.locator(".sum")).to_have_attribute("title", "$0.27 spent (as billed). Change the limit")

    _, submitting, submitted = scenes.job_start()
    assert isinstance(submitting, JobSubmitting)
    for label, job in (("label-2", "second"), ("label-3", "third")):
        tell(
            session,
            MoneyReserved(hold=label, micro_usd=750_000),
            submitting.model_copy(update={"label": label}),
            submitted.model_copy(update={"label": label, "job": job}),
            ended.model_copy(update={"job": job}),
            reckoned.model_copy(update={"hold": label}),
        )
    tell(session, JobBilled(job="second", label="label-2", micro_usd=750_400))
    expect(card.nth(1).locator(".job-bill.error")).to_have_text(f"{words} The bill says $0.7504, more than was held.")
    expect(compute).to_contain_text("partly as billed")
    why = "What <b>kettles</b> is billed for a single job cannot be read."
    tell(session, JobBilled(job="third", label="label-3", micro_usd=None, message=why))
    expect(card.nth(2).locator(".job-bill")).to_have_text(f"{words} {why}")
    expect(compute).to_contain_text("$1.31 / $5.00")
    expect(compute).to_contain_text("partly as billed")


def test_what_a_job_left_is_listed_with_sizes_and_leads_to_the_hub(page: Page, session: Session) -> None:
    ended, *_ = scenes.job_end()
    tell(session, UserSaid(run="r", text="go"), *scenes.job_start(), ended)
    page.goto(f"./?session={session.id}")
    card = page.locator("#ml-timeline-place .job")
    expect(card.locator(".left")).to_be_hidden()
    names = ["model/weights.safetensors", "<img src=x onerror=alert(1)>.txt", "a?b#c.json", "d", "e", "f"]
    files = tuple(OutputFile(path=name, bytes=n * 1_000_000) for n, name in enumerate(names))
    bucket = "https://huggingface.co/buckets/ada/ml-intern"
    tell(session, JobLeft(job=JOB, url=bucket, folder="s1-c1", files=files, rest=1_300))
    left = card.locator(".left")
    expect(left.locator(".left-head")).to_have_text("1,306 files in ada/ml-intern/s1-c1")
    expect(left.locator(".left-head a")).to_have_attribute("href", bucket)
    expect(left.locator(".file-row")).to_have_count(4)
    expect(left.locator(".file-row").nth(1)).to_have_text("<img src=x onerror=alert(1)>.txt1.0 MB")
    expect(left.locator(".file-row a").nth(2)).to_have_attribute("href", f"{bucket}/resolve/s1-c1%2Fa%3Fb%23c.json")
    left.get_by_role("button", name="Show the first 6").click()
    expect(left.locator(".file-row")).to_have_count(6)
    expect(left.locator(".file-row a").nth(4)).to_be_focused()  # the keyboard goes on where the list does
    expect(left).to_contain_text("and 1,300 more there")

    page.reload()
    expect(page.locator("#ml-timeline-place .job .left .file-row")).to_have_count(4)
    hostile = JobLeft(job=JOB, url="javascript:alert(1)", folder="s1-c1", files=files[:1], whole=False)
    other = [event.model_copy(update={"label": "label-2", "hold": "label-2"}) for event in scenes.job_start()]
    tell(session, *other[:2], other[2].model_copy(update={"job": "second"}), ended.model_copy(update={"job": "second"}))
    tell(session, hostile.model_copy(update={"job": "second"}))
    second = page.locator("#ml-timeline-place .job").nth(1).locator(".left")
    expect(second.locator(".file-row")).to_have_count(1)
    expect(second.locator("a")).to_have_count(0)
    expect(second).to_contain_text("and more there that were not listed")


def test_long_names_stay_within_a_phone_and_can_be_read(page: Page, session: Session) -> None:
    held, submitting, submitted = scenes.job_start()
    assert isinstance(submitting, JobSubmitting)
    ended, *_ = scenes.job_end()
    long = scenes.SPEND.model_copy(update={"title": "Train on the whole of IMDB, for a second time"})
    submitting, submitted = (
        submitting.model_copy(update={"request": long}),
        submitted.model_copy(update={"title": long.title}),
    )
    file = OutputFile(path="checkpoint-1000/" + "part-" * 30 + ".safetensors", bytes=123_000_000)
    left = JobLeft(job=JOB, url="https://huggingface.co/buckets/ada/ml-intern", folder="s1-c1", files=(file,))
    sandbox = scenes.SPEND.model_copy(update={"where": "sandbox", "place": SANDBOX, "script": "python -c " + "x" * 300})
    tell(session, UserSaid(run="r", text="go"), held, submitting, submitted, ended, left)
    tell(session, ApprovalAsked(approval="a", call="c", request=sandbox))
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"./?session={session.id}")
    job, asked = page.locator("#ml-timeline-place .job"), page.locator(".approval")
    expect(asked.locator(".first-command .notice")).to_be_visible()
    past = "n => [...n.querySelectorAll('*')].filter((one) => one.getBoundingClientRect().right > innerWidth && !one.closest('pre')).length"
    assert (job.evaluate(past), asked.evaluate(past)) == (0, 0)
    expect(job.locator(".left .file-row .faint")).to_have_text("123 MB")
    mark, title = job.locator(".job-head .dot").bounding_box(), job.locator(".job-head b").bounding_box()
    assert mark is not None
    assert title is not None
    assert title["y"] <= mark["y"] < title["y"] + title["height"]  # beside it, not above
    name = job.locator(".files .file-row b").first.bounding_box()
    assert name is not None
    assert name["height"] < 30  # one line


def test_a_job_that_nobody_knows_of_is_looked_for_and_one_that_never_was_is_over(page: Page, session: Session) -> None:
    held, submitting, submitted = scenes.job_start()
    assert isinstance(held, MoneyReserved)
    assert isinstance(submitting, JobSubmitting)
    tell(session, UserSaid(run="r", text="go"), held, submitting)
    page.goto(f"./?session={session.id}")
    card = page.locator("#ml-timeline-place .job")
    expect(card.locator(".chip")).to_have_text("starting")
    tell(session, ToolEnded(call=submitting.call, why="problem", message="The answer was lost.", seconds=1.0))
    expect(card.locator(".chip")).to_have_text("looking for it")
    expect(card.locator(".notice.warning")).to_contain_text("its money stays held")
    tell(session, submitted)
    expect(card.locator(".chip")).to_have_text("running")
    expect(card.locator(".notice.warning")).to_be_hidden()
    tell(session, MoneyReserved(hold="never", micro_usd=1), submitting.model_copy(update={"label": "never"}))
    tell(session, MoneyReleased(hold="never"))
    expect(card.last.locator(".chip")).to_have_text("not started")
    expect(card.last.get_by_role("button", name="Stop this job")).to_be_hidden()


def test_a_budget_for_both_and_a_bill_are_told(page: Page, session: Session) -> None:
    tell(
        session,
        BudgetSet(micro_usd=3_000_000, of="both"),
        MoneyReserved(hold="think-1", micro_usd=300_000, of="thinking"),
        MoneySettled(hold="think-1", micro_usd=210_000, source="usage and list price"),
    )
    page.goto(f"./?session={session.id}")
    budget = page.locator(".budget")
    expect(budget).to_contain_text("Both together: $0.21 / $3.00")
    title = "$0.21 spent (reckoned from the tokens used and the list price). Change the limit"
    expect(budget.locator(".sum").first).to_have_attribute("title", title)
    tell(session, MoneyCorrected(of="thinking", micro_usd=-10_000, source="billing"))
    expect(budget.locator(".account").first).to_contain_text("as billed")
    expect(budget).to_contain_text("Both together: $0.20 / $3.00")


def test_a_curve_keeps_few_points_and_both_ends_of_what_it_gathers(modules: Page) -> None:  # noqa: F811
    script = """
        const series = new m.Series();
        for (let n = 0; n < 100_000; n++) series.add(n, n === 77_777 ? -5 : n === 500 ? null : Math.sin(n));
        const strokes = series.strokes();
        const all = strokes.flat();
        return {points: all.length, strokes: strokes.length, low: series.low, first: all[0], last: all.at(-1)[0],
                ordered: all.every((one, n) => !n || all[n - 1][0] <= one[0])};
    """
    found: dict[str, Any] = call(modules, "jobs/curve", script)
    assert 100 < found["points"] <= 300
    assert found["strokes"] == 2
    assert found["low"] == -5
    assert found["ordered"]
    assert found["last"] > 99_000


def test_a_curve_that_is_not_seen_is_not_drawn(modules: Page) -> None:  # noqa: F811
    script = """
        const far = document.createElement("div");
        far.style.height = "5000px";
        const chart = m.curve();
        document.body.append(far, chart.node);
        chart.take([{step: 1, loss: 2}, {step: 2, loss: 1}]);
        const frames = (n) => new Promise((done) => n ? requestAnimationFrame(() => frames(n - 1).then(done)) : done());
        await frames(5);
        const before = chart.node.querySelectorAll("path").length;
        chart.node.scrollIntoView();
        await frames(20);
        return [before, chart.node.querySelectorAll("path").length];
    """
    assert call(modules, "jobs/curve", script) == [0, 1]


def _strokes(count: int) -> re.Pattern[str]:
    return re.compile("^" + "M[^M]*" * count + "$")
