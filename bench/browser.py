"""The page in Chromium: main-thread time of each token while many steps are on the page, and how long a reload takes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Page, async_playwright

from bench.model import Model
from bench.ours import OurSession, our_app
from bench.process import App
from bench.recorded import Recorded, record
from bench.task import Task
from tests.browser import ARGS

DRAWING_SECONDS = 0.5  # for what is still to be drawn when the last event has come


@dataclass(frozen=True)
class PageFigures:
    steps_before: int  # on the page when the measured steps begin
    tokens: int
    task_ms_per_token: float  # everything the main thread does
    script_ms_per_token: float
    layout_ms_per_token: float  # layout and style
    reload_seconds: float  # from reload to the end of the conversation on the page, before the measured steps
    replay_ms: float  # the same entries over the wire to a client that draws nothing
    replay_kb: float


def measure_pages(model: Model, folder: Path, chromium: str, *, tasks: dict[int, Task]) -> list[PageFigures]:
    """For each number of recorded steps: reload the page, then run the task after them."""
    work = [(record(folder, steps), task) for steps, task in tasks.items()]
    with our_app(model.base_url, folder) as app:
        return asyncio.run(_measure(app, chromium, work))


async def _measure(app: App, chromium: str, work: list[tuple[Recorded, Task]]) -> list[PageFigures]:
    figures = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGS)
        for past, task in work:
            page = await browser.new_page(viewport={"width": 1440, "height": 900})
            figures.append(await _one(app, page, past, task=task))
            await page.close()
        await browser.close()
    return figures


async def _one(app: App, page: Page, past: Recorded, *, task: Task) -> PageFigures:
    session = OurSession(app, past.id, past.last_seq)
    await page.goto(f"{app.address}/?session={session.id}")
    await page.get_by_text(past.answer).wait_for()
    started = time.monotonic()
    await page.reload()
    await page.get_by_text(past.answer).wait_for()
    reload_seconds = time.monotonic() - started

    started = time.monotonic()
    replayed = await session.replay()
    replay_ms = (time.monotonic() - started) * 1000

    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Performance.enable")
    before = await _metrics(devtools)
    await session.run(task)
    await asyncio.sleep(DRAWING_SECONDS)
    after = await _metrics(devtools)
    tokens = task.steps * task.tokens

    def ms_per_token(*names: str) -> float:
        return sum(after[name] - before[name] for name in names) / tokens * 1000

    return PageFigures(
        steps_before=past.steps,
        tokens=tokens,
        task_ms_per_token=ms_per_token("TaskDuration"),
        script_ms_per_token=ms_per_token("ScriptDuration"),
        layout_ms_per_token=ms_per_token("LayoutDuration", "RecalcStyleDuration"),
        reload_seconds=reload_seconds,
        replay_ms=replay_ms,
        replay_kb=replayed.wire / 1000,
    )


async def _metrics(devtools: Any) -> dict[str, float]:
    """Seconds since the page began, by name."""
    answer = await devtools.send("Performance.getMetrics")
    return {metric["name"]: metric["value"] for metric in answer["metrics"]}
