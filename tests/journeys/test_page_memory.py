"""What the page shows of the agent's memory and of its guards."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from agent.events import Compacted, Guarded, UserSaid
from agent.session import Session
from tests.agent.living import tell
from tests.doubles import scenes
from tests.journeys.acts import start

pytestmark = pytest.mark.journey

WARNED = "The same code gave the same result 3 times; the agent was told to do something else."
ENDED = "The agent repeated itself: the same step gave the same result 6 times."


def test_a_summary_of_earlier_steps_can_be_opened_and_guards_are_told(page: Page, session: Session) -> None:
    start(page)
    tell(session, UserSaid(run="r", text="Fine-tune a small classifier"), *scenes.finished_steps("r", 1, 3))
    tell(session, Guarded(guard="repetition", step=3, did="hint", text=WARNED))
    summary = "I read **two** papers.\n\n- 2305.18290 is the one <img src=x onerror=alert(1)>"
    tell(session, Compacted(step=3, summary=summary, tokens_before=104_000, tokens_after=41_000))
    tell(session, Guarded(guard="repetition", step=4, did="end", text=ENDED))

    expect(page.locator(".notice.info", has_text=WARNED)).to_be_visible()
    expect(page.locator(".notice.warning", has_text=ENDED)).to_be_visible()
    fold = page.locator(".timeline > .fold", has_text="Earlier steps were summarised")
    expect(fold).to_contain_text("up to step 3")
    expect(fold.locator(".prose")).to_have_count(0)
    fold.locator("summary").click()
    expect(fold.locator("strong")).to_have_text("two")
    expect(fold.locator(".prose img")).to_have_count(0)

    page.reload()
    expect(page.locator(".timeline > .fold")).to_have_count(1)
    expect(page.locator(".notice")).to_have_count(2)
