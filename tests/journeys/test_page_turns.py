"""Editing a message, undoing a turn and pinning demands on the page, by mouse and by keyboard."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from agent.events import ApprovalAsked, DemandsSet, RunEnded, StepStarted, TextSaid, UserSaid
from agent.job_events import JobLogged
from agent.session import Session
from tests.agent.living import code, everything, tell, wait_for
from tests.doubles import scenes
from tests.doubles.model_server import Script, by_turn
from tests.journeys.acts import start
from tools.cards import Demand

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def replies() -> Script:
    return by_turn([code("final_answer('Better answer')")])


def turn(session: Session, n: int, text: str) -> None:
    run = f"r{n}"
    tell(
        session,
        UserSaid(run=run, text=text),
        StepStarted(run=run, step=n, model="m"),
        TextSaid(step=n, text=f"Thought {n}"),
        scenes.step_end(n),
        RunEnded(run=run, why="answered", answer=f"Answer {n}"),
    )


def test_an_undone_turn_is_folded_and_its_words_come_back_to_be_sent_anew(page: Page, session: Session) -> None:
    turn(session, 1, "First thing")
    turn(session, 2, "Second thing")
    start(page)
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_have_count(1)  # at the last turn's end only
    undo.focus()
    page.keyboard.press("Enter")
    fold = page.locator(".branch")
    expect(fold.locator("summary")).to_have_text("Taken back: “Second thing”")
    expect(page.get_by_text("Answer 2")).to_be_hidden()
    expect(page.get_by_text("Answer 1")).to_be_visible()
    expect(page.get_by_label("Your message")).to_have_value("Second thing")
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Answer 2")).to_be_visible()
    expect(fold.get_by_role("button", name="Edit this message")).to_have_count(0)
    expect(page.get_by_role("button", name="Undo")).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".branch")).to_have_count(2)
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)


def test_an_edited_message_takes_its_branch_with_it_also_after_a_reload(page: Page, paying: Session) -> None:
    turn(paying, 1, "First thing")
    turn(paying, 2, "Second thing")
    start(page)
    page.get_by_role("button", name="Edit this message").first.focus()
    page.keyboard.press("Enter")
    field = page.get_by_label("Your message, changed")
    expect(field).to_be_focused()
    page.keyboard.press("Escape")
    expect(field).to_have_count(0)
    page.get_by_role("button", name="Edit this message").first.click()
    page.get_by_label("Your message, changed").fill("First thing, but better")
    page.get_by_label("Your message, changed").press("Enter")
    for _ in range(2):
        expect(page.locator(".end", has_text="Better answer")).to_be_visible()
        expect(page.locator(".branch")).to_have_count(1)
        expect(page.locator(".branch summary")).to_have_text("Taken back: “First thing”")
        expect(page.locator(".branch .user")).to_have_count(2)
        expect(page.locator(".timeline > .user")).to_have_text(["First thing, but better"])
        page.reload()


def test_an_edit_that_is_refused_stays_open_with_the_reason(page: Page, session: Session) -> None:
    turn(session, 1, "First thing")
    session.send("/ask_user Which?")
    wait_for(session, ApprovalAsked)
    start(page)
    page.get_by_role("button", name="Edit this message").first.click()
    page.get_by_label("Your message, changed").press("Enter")
    expect(page.locator(".edit-form")).to_contain_text("A run is still going on.")
    expect(page.get_by_label("Your message, changed")).to_have_value("First thing")


def test_a_job_of_an_undone_turn_stays_in_sight(page: Page, session: Session) -> None:
    tell(
        session, UserSaid(run="r1", text="Train"), *scenes.script_step("r1"), *scenes.job_start(), *scenes.job_log(0, 5)
    )
    tell(session, RunEnded(run="r1", why="stopped"))
    start(page)
    expect(page.locator(".job")).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".branch .approval")).to_have_count(1)
    expect(page.locator(".timeline > .job")).to_be_visible()
    tell(session, JobLogged(job="69b2c7880357", offset=9_999, text="still here\n"))
    tell(session, *scenes.job_end())
    expect(page.locator(".timeline > .job .chip")).to_have_text("completed")
    expect(page.locator(".account").filter(has_text="Compute").locator(".sum")).to_have_text("$0.28 / $5.00")


def test_demands_are_seen_removed_and_added(page: Page, session: Session) -> None:
    words = "Use Qwen/Qwen3-8B <b>now</b>"
    tell(session, UserSaid(run="r1", text=words), RunEnded(run="r1", why="answered", answer="Yes."))
    tell(
        session,
        DemandsSet(demands=(Demand(about="base_model", rule="must", text=words, value="Qwen/Qwen3-8B"),), by="app"),
    )
    start(page)
    pinned = page.locator(".pinned")
    expect(pinned.locator("summary")).to_have_text("Pinned (1)")
    expect(pinned.locator(".pin-text")).to_contain_text(words)
    page.get_by_label("Pin a demand").fill("do not publish it")
    page.get_by_label("Pin a demand").press("Enter")
    expect(pinned.locator("li")).to_have_count(2)
    event = everything(session)[-1]
    assert isinstance(event, DemandsSet)
    assert (event.demands[1].rule, event.demands[1].text) == ("must_not", "do not publish it")
    pinned.get_by_role("button", name=f"Unpin {words}").press("Enter")
    expect(pinned.locator("li")).to_have_count(1)
    expect(pinned).to_contain_text("do not publish it")
