"""What a job's card shows while it runs: curves, pace, what is still to come, alarms."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from agent.events import Event, JobAlarm, JobForecast, JobLogged, UserSaid
from tests.doubles import scenes
from tests.doubles.sessions import ToldSession
from tests.journeys.test_page_modules import call, modules  # noqa: F401

pytestmark = pytest.mark.journey
JOB = "69b2c7880357"


def logged(*points: dict[str, float | None]) -> Event:
    return JobLogged(job=JOB, offset=1, text="", points=points)


def test_a_running_job_shows_its_curves_its_pace_and_its_alarms(page: Page, session: ToldSession) -> None:
    session.tell(UserSaid(run="r", text="go"), *scenes.research("r"), *scenes.script_step("r"), *scenes.job_start())
    page.goto(f"./?session={session.id}")
    for step in range(0, 300, 10):
        values: dict[str, float | None] = {"step": step, "loss": None if step == 200 else 1000 / (step + 1)}
        session.tell(logged(values | {"total_steps": 600, "gpu_percent": 87.0, "gpu_memory_gb": 40.5}))
    session.tell(logged({"step": 290, "eval_loss": 3.5}))
    card = page.locator("#ml-timeline-place .job")
    card.scroll_into_view_if_needed()
    expect(card.locator(".curve path.look-0")).to_have_attribute("d", _strokes(2))  # a gap where the loss was no number
    expect(card.get_by_role("img")).to_have_attribute(
        "aria-label",
        "gpu_percent: from 87 to 87, lowest 87. loss: from 1000 to 3.436, lowest 3.436, 1 value not a number."
        " eval_loss: from 3.5 to 3.5, lowest 3.5",
    )
    expect(card.locator(".curve-top")).to_have_text("1000 (log)")
    expect(card.locator(".curve-name")).to_have_text(["gpu_percent", "loss", "eval_loss"])
    expect(card.locator(".numbers")).to_contain_text("step 290/600")
    expect(card.locator(".numbers")).to_contain_text("GPU 87 %, 40.5 GB")
    expect(card.locator(".numbers")).to_contain_text("steps/s")
    expect(card.get_by_role("progressbar", name="Steps done")).to_have_js_property("value", 290 / 600)

    words = "60 min to 80 min to go, $0.42 to $0.51 in all."
    ends = {"seconds_low": 4_000.0, "seconds_high": 5_000.0, "micro_usd_low": 420_000, "micro_usd_high": 510_000}
    session.tell(JobForecast.model_validate({"job": JOB, "words": words} | ends))
    expect(card.locator(".job-forecast")).to_have_text(words)
    expect(card.locator(".job-time")).to_contain_text("ETA 1 h 6 min – 1 h 23 min")
    session.tell(JobAlarm(job=JOB, rule="nan", text="loss is not a number at step 200 of <b>600</b>.", step=200))
    expect(card.get_by_role("status")).to_have_text("Not a number: loss is not a number at step 200 of <b>600</b>.")
    session.tell(*scenes.job_end())
    expect(card.locator(".job-forecast")).to_be_hidden()
    expect(card.get_by_role("status")).to_be_visible()


def test_a_curve_keeps_few_points_and_both_ends_of_what_it_gathers(modules: Page) -> None:  # noqa: F811
    script = """
        const series = new m.Series();
        for (let n = 0; n < 100_000; n++) series.add(n, n === 77_777 ? -5 : n === 500 ? null : Math.sin(n));
        const strokes = series.strokes();
        const all = strokes.flat();
        return {points: all.length, strokes: strokes.length, low: series.low, first: all[0], last: all.at(-1)[0],
                ordered: all.every((one, n) => !n || all[n - 1][0] <= one[0])};
    """
    found: dict[str, Any] = call(modules, "curve", script)
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
    assert call(modules, "curve", script) == [0, 1]


def _strokes(count: int) -> re.Pattern[str]:
    return re.compile("^" + "M[^M]*" * count + "$")
