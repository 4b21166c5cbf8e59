"""The page in a real browser, on sessions that tell what a test says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from agent.events import (
    ApprovalAnswered,
    ApprovalAsked,
    BudgetSet,
    MoneyReserved,
    MoneySettled,
    RunEnded,
    StepStarted,
    TextSaid,
    ToolEnded,
    ToolShowed,
    ToolStarted,
    UserSaid,
)
from tests.doubles import scenes
from tests.doubles.sessions import ToldSession, ToldSessions
from tests.journeys.acts import say, start
from tests.ui.serving import until
from tools.cards import Delete, FileMade, Question, RaiseCap

pytestmark = pytest.mark.journey


def test_a_whole_run_is_seen_as_it_happens(page: Page, sessions: ToldSessions) -> None:
    start(page)
    say(page, "Fine-tune a small classifier")
    until(lambda: sessions.all)
    (session,) = sessions.all.values()
    until(lambda: session.running)
    expect(page.locator(".bubble")).to_have_text("Fine-tune a small classifier")

    session.tell(*scenes.research("r"))
    expect(page.get_by_text("Trying again in 4.0 s (attempt 2)")).to_be_visible()
    expect(page.locator(".step-title").first).to_have_text("Research and data check")
    expect(page.locator(".call", has_text="papers_search")).to_contain_text("small sentiment classifier")
    expect(page.get_by_role("link", name="Strong Baselines for Text Classification")).to_be_visible()
    expect(page.locator(".status")).to_have_text("hub_info…")
    expect(page.get_by_role("tabpanel")).to_contain_text("Inspect the dataset")
    session.tell(*scenes.research_end())
    expect(page.locator(".step-facts").first).to_have_text("1,840 tok · 1.7 s")
    expect(page.locator(".step").first.locator(".step-parts")).to_have_count(0)  # a finished step closes

    session.tell(*scenes.script_step("r"))
    card = page.locator(".approval.pending")
    expect(card.locator(".price")).to_have_text("≤ $0.75")
    expect(page.locator(".status")).to_have_text("Waiting for your approval")
    expect(page).to_have_title("● Needs you – ML Intern")
    card.get_by_label("Time limit in minutes").fill("30")
    expect(card).to_contain_text("costs at most$0.50of $5.00 left in the budget")
    card.locator("summary").click()
    card.get_by_label("Script").fill(scenes.SCRIPT.replace("5e-5", "3e-5"))
    card.get_by_role("button", name="Approve").click()
    until(lambda: session.answers)
    assert session.answers[0][1].edits == {
        "script": scenes.SCRIPT.replace("5e-5", "3e-5"),
        "timeout_seconds": 1800,
    }
    expect(page.locator(".approval")).to_contain_text("approved by you")
    expect(page.locator(".approval")).to_contain_text("the script (+1 −1 lines), the time limit from 45 min to 30 min")

    session.tell(*scenes.job_start(), *scenes.job_log(0, 30))
    expect(page.locator(".job .curve path.line")).to_have_attribute("d", re.compile("^M0"))
    expect(page.locator(".budget")).to_contain_text("$0.75 held")
    session.tell(*scenes.job_end(), *scenes.answer("r"))
    expect(page.locator(".end table")).to_contain_text("ModernBERT-base, fine-tuned")
    expect(page.locator(".job .chip")).to_have_text("completed")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.locator(".status")).to_have_text("")
    expect(page.locator(".account").filter(has_text="Compute").locator(".sum")).to_have_text("$0.28 / $5.00")


def test_a_reload_finds_everything_once(page: Page, session: ToldSession) -> None:
    session.tell(UserSaid(run="r", text="go"), *scenes.research("r"), *scenes.research_end(), *scenes.script_step("r"))
    start(page)
    expect(page.locator(".approval.pending")).to_be_visible()
    before = page.locator(".timeline").inner_text()
    page.reload()
    expect(page.locator(".approval.pending")).to_be_visible(timeout=20_000)
    assert page.locator(".timeline").inner_text() == before
    page.locator(".approval.pending").get_by_role("button", name="Reject").click()
    expect(page.locator(".approval")).to_contain_text("rejected by you")


def test_an_answer_given_in_one_tab_stamps_the_card_in_the_other(page: Page, session: ToldSession) -> None:
    session.tell(UserSaid(run="r", text="go"), *scenes.script_step("r"))
    start(page)
    other = page.context.new_page()
    start(other)
    expect(other.locator(".approval.pending")).to_be_visible()
    page.locator(".approval.pending").get_by_label("Reason").fill("too dear")
    page.get_by_role("button", name="Reject").click()
    expect(other.locator(".approval")).to_contain_text("“too dear”")
    assert session.answers[0][1].reason == "too dear"


def test_a_cut_connection_is_told_and_made_good_without_a_gap(page: Page, session: ToldSession) -> None:
    session.tell(UserSaid(run="r", text="go"), StepStarted(run="r", step=1, model="m"))
    session.tell(TextSaid(step=1, text="one "))
    start(page)
    expect(page.locator(".step")).to_contain_text("one")
    page.context.set_offline(True)
    until(lambda: session.readers)
    page.evaluate("dispatchEvent(new Event('offline'))")
    session.tell(TextSaid(step=1, text="two "))
    page.context.set_offline(False)
    session.tell(TextSaid(step=1, text="three"))
    expect(page.locator(".step .prose")).to_have_text("one two three")


def test_refused_text_comes_back_with_the_reason(page: Page, session: ToldSession) -> None:
    start(page)
    page.get_by_label("Your message").fill("my long text")
    session.tell(UserSaid(run="r", text="from another tab"), RunEnded(run="r", why="stopped"))
    expect(page.locator(".end")).to_be_visible()

    def refuse(route: Route) -> None:
        route.abort()

    page.route("**/agent/send", refuse)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert").first).to_have_text(
        "Not sent. The server cannot be reached. Check the connection and try again."
    )
    expect(page.get_by_label("Your message")).to_have_value("my long text")
    expect(page.locator(".user.pending")).to_have_count(0)
    page.unroute("**/agent/send", refuse)
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".bubble").last).to_have_text("my long text")
    expect(page.get_by_label("Your message")).to_have_value("")


def test_a_draft_outlives_a_reload(page: Page, session: ToldSession) -> None:
    start(page)
    page.get_by_label("Your message").press_sequentially("half a thou")
    page.reload()
    expect(page.get_by_label("Your message")).to_have_value("half a thou", timeout=20_000)


def test_stop_is_felt_at_once_and_the_run_ends_by_its_event_only(page: Page, session: ToldSession) -> None:
    session.tell(UserSaid(run="r", text="go"), StepStarted(run="r", step=1, model="m"))
    start(page)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".status")).to_have_text("Stopping…")
    until(session.stopped.is_set)
    session.tell(RunEnded(run="r", why="stopped", message="You stopped it."))
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.locator(".end")).to_contain_text("Stopped. You stopped it.")
    expect(page.locator(".step .dot.running")).to_have_count(0)


def test_a_question_is_answered_with_one_of_its_options_or_in_own_words(page: Page, session: ToldSession) -> None:
    options = ("accuracy", "F1")
    session.tell(
        UserSaid(run="r", text="go"),
        ApprovalAsked(approval="q", call="c", request=Question(question="Which metric?", options=options)),
    )
    start(page)
    expect(page.locator(".status")).to_have_text("Waiting for your answer")
    page.get_by_role("button", name="F1").click()
    expect(page.locator(".approval .reply")).to_have_text("F1")
    session.tell(ApprovalAsked(approval="q2", call="c", request=Question(question="Why?")))
    page.get_by_role("textbox", name="Your answer").fill("because")
    page.get_by_role("textbox", name="Your answer").press("Enter")
    expect(page.locator(".approval .reply").last).to_have_text("because")
    assert [answer.text for _, answer in session.answers] == ["F1", "because"]


def test_a_repository_is_deleted_only_after_a_click_that_says_so(page: Page, session: ToldSession) -> None:
    asked = ApprovalAsked(approval="d", call="c", request=Delete(repo="ada/old"))
    session.tell(UserSaid(run="r", text="go"), asked)
    start(page)
    expect(page.locator(".approval")).to_contain_text(
        "The repository ada/old and its whole history go. It cannot be undone."
    )
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".approval")).to_contain_text("Delete ada/oldapproved by you")


def test_the_budget_is_changed_where_it_is_shown(page: Page, session: ToldSession) -> None:
    start(page)
    compute = page.locator(".account").filter(has_text="Compute").locator(".sum")
    compute.click()
    page.get_by_label("Limit for compute in dollars").fill("12.5")
    page.get_by_label("Limit for compute in dollars").press("Enter")
    expect(compute).to_have_text("$0.00 / $12.50")
    assert session.entries[-1].event == BudgetSet(micro_usd=12_500_000)


def test_the_limit_for_thinking_is_raised_on_its_card(page: Page, session: ToldSession) -> None:
    cap = RaiseCap(cap_micro_usd=1_000_000, spent_micro_usd=480_000, needed_micro_usd=90_000, model="ada/thinker:swift")
    session.tell(
        UserSaid(run="r", text="go"),
        MoneyReserved(hold="think-1", micro_usd=500_000, of="thinking"),
        MoneySettled(hold="think-1", micro_usd=480_000, source="usage and list price"),
        ApprovalAsked(approval="cap", call="", request=cap),
    )
    start(page)
    expect(page.locator(".account").filter(has_text="Thinking").locator(".sum")).to_have_text("$0.48 / $0.50")
    card = page.locator(".approval")
    expect(card).to_contain_text("the next call costs at most$0.090")
    card.get_by_label("New limit in dollars").fill("2")
    card.get_by_role("button", name="Go on").click()
    expect(card).to_contain_text("A limit of $2.00 for thinkingapproved by you")
    answered = session.entries[-1].event
    assert isinstance(answered, ApprovalAnswered)
    assert answered.answer.edits == {"cap_micro_usd": 2_000_000}


def test_without_a_model_the_page_says_what_is_missing_and_what_works(page: Page, sessions: ToldSessions) -> None:
    sessions.missing = "There is no model yet: set HF_TOKEN."
    start(page)
    expect(page.locator(".welcome")).to_contain_text("There is no model yet: set HF_TOKEN.")
    page.get_by_role("button", name="Search papers").click()
    expect(page.get_by_label("Your message")).to_have_value('/papers_search query="direct preference optimization"')
    page.get_by_label("Your message").press("Enter")
    until(lambda: any(session.running for session in sessions.all.values()))
    (session,) = sessions.all.values()
    session.tell(ToolStarted(call="t", tool="papers_search", args={"query": "x"}, by="user"))
    session.tell(ToolEnded(call="t", why="problem", message="The Hub is away.", hint="Try later.", seconds=2.5))
    expect(page.locator(".call.card")).to_contain_text("The Hub is away. Try later.")


def test_a_file_goes_with_a_message_and_made_files_come_back(page: Page, session: ToldSession, tmp_path: Path) -> None:
    paper = tmp_path / "paper.pdf"
    paper.write_bytes(b"%PDF-1.4")
    start(page)
    page.locator("input[type=file]").set_input_files(str(paper))
    say(page, "read it")
    expect(page.locator(".bubble .chip")).to_have_text("paper.pdf")
    assert (session.folder / "uploads" / "paper.pdf").read_bytes() == b"%PDF-1.4"
    session.tell(
        ToolStarted(call="t", tool="plot", args={}, by="user"),
        ToolShowed(call="t", card=FileMade(path="uploads/paper.pdf", bytes=8)),
    )
    with page.expect_download() as download:
        page.locator(".call .file-row").click()
    assert download.value.suggested_filename == "paper.pdf"
