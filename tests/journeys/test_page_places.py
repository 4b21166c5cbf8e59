"""The page says of a place for jobs what the place says of itself, and knows none by name."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from agent.events import ApprovalAsked, UserSaid
from agent.job_events import JobSubmitting
from agent.session import Session
from tests.agent.living import tell
from tests.doubles import scenes
from tests.journeys.test_page_spend import told
from tests.tools.jobs.test_new_place import MOON

pytestmark = pytest.mark.journey

THERE = scenes.SPEND.model_copy(update={"where": "moon", "place": MOON, "flavor": "rover", "nodes": 2})


def test_a_card_asks_for_a_place_that_the_page_never_heard_of(page: Page, session: Session) -> None:
    tell(session, UserSaid(run="r", text="go"), ApprovalAsked(approval="a", call="c", request=THERE))
    page.goto(f"./?session={session.id}")
    card = page.locator(".approval")
    facts = told(card)
    assert facts["runs on"] == "the Moon, where nobody can help it: 2 × rover, $1.00 an hour each"
    assert facts["paid by"] == "your account on the Moon"
    assert facts["HF token"] == "none"
    expect(card.get_by_label("Dependencies, one per line")).to_have_count(1)
    expect(card.get_by_label("If the training goes wrong")).to_have_count(1)


def test_a_place_that_holds_a_machine_open_and_takes_no_secrets_says_so(page: Page, session: Session) -> None:
    base = MOON.model_copy(update={"runs": "machine", "takes": ("flavor",), "warning": "It cannot be seen from here."})
    tell(
        session,
        UserSaid(run="r", text="go"),
        ApprovalAsked(approval="a", call="c", request=THERE.model_copy(update={"place": base})),
    )
    page.goto(f"./?session={session.id}")
    card = page.locator(".approval")
    assert "HF token" not in told(card)
    expect(card.locator(".first-command .notice")).to_have_text("It cannot be seen from here.")
    expect(card.locator("textarea")).to_have_count(1)  # the reason


def test_its_job_is_told_and_ended_in_its_words(page: Page, session: Session) -> None:
    held, submitting, submitted = scenes.job_start()
    assert isinstance(submitting, JobSubmitting)
    tell(session, UserSaid(run="r", text="go"), held, submitting.model_copy(update={"request": THERE}), submitted)
    page.goto(f"./?session={session.id}")
    job = page.locator("#ml-timeline-place .job")
    expect(job.locator(".job-head")).to_contain_text("2 × rover, in low gravity")
    expect(job.get_by_role("button", name="Bring it back")).to_be_visible()
