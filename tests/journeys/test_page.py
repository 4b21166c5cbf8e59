"""The page in a real browser."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable
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
    ToolShowed,
    ToolStarted,
    UserSaid,
)
from agent.session import Session
from agent.sessions import Sessions
from tests.agent.living import code, events, everything, only, tell, wait_for
from tests.doubles import scenes
from tests.doubles.hub import FakeHub, Job
from tests.doubles.hub.jobs import flavor
from tests.doubles.model_server import Reply, Script, by_turn, by_words, in_order
from tests.journeys.acts import say, start
from tools.cards import Answer, Delete, FileMade, RaiseCap

pytestmark = pytest.mark.journey

RESEARCH = """\
plan(['Inspect the dataset', 'Train it'])
papers_search('ordering training data')
info = hub_info('dataset', 'ada/pets')
print(info)"""
TRAIN = f"""\
end = job_run({scenes.SCRIPT!r}, title='Train on pets', flavor='a10g-small', timeout='45m')
print(end['status'])"""
ASK = "/job_run script=print(1) flavor=a10g-small timeout=45m"


@pytest.fixture(scope="module")
def replies() -> Script:
    whole = [
        Reply(status=503, headers={"retry-after": "1"}),
        Reply(
            f"Research and data check\n\nFirst the columns of `ada/pets`.\n<code>\n{RESEARCH}\n</code>",
            reasoning="The columns must be known before any code is written.",
            input_tokens=1640,
        ),
        code(TRAIN),
        code(
            f"plan([{{'text': text, 'status': 'completed'}} for text in ('Inspect the dataset', 'Train it')])\nfinal_answer({scenes.ANSWER!r})"
        ),
    ]
    questions = "metric = ask_user('Which metric?', ['accuracy', 'F1'])\nfinal_answer(metric + ask_user('Why?'))"
    return by_words(
        {
            "Fine-tune": in_order(whole),
            "Measure": by_turn([code(questions)]),
            "Think": by_turn([code("final_answer('Thought.')")]),
            "Wait": by_turn([Reply("late", silence=600.0)]),
        }
    )


def trains(seen: threading.Event) -> Callable[[Job], None]:
    """A job whose loss falls, and that ends when it was seen."""

    def play(job: Job) -> None:
        for n in range(30):
            job.say(f"{{'loss': {0.22 + 0.5 * math.exp(-n / 12):.4f}, 'step': {n}}}")
        seen.wait(60)
        job.end(ran=840)

    return play


def test_a_whole_run_is_seen_as_it_happens(page: Page, world: FakeHub, sessions: Sessions) -> None:
    seen = threading.Event()
    world.jobs.hardware = [flavor("a10g-small", 20_000)]
    world.jobs.plays = trains(seen)
    sessions.lend_token("local", "hf_ada", check=False)
    start(page)
    say(page, "Fine-tune a small classifier")
    expect(page.locator(".bubble")).to_have_text("Fine-tune a small classifier")
    expect(page.get_by_text("Trying again in 1.0 s (attempt 2)")).to_be_visible()
    session = only(sessions)
    session.set_budget(5_000_000)
    expect(page.locator(".step-title").first).to_have_text("Research and data check")
    expect(page.get_by_role("tabpanel")).to_contain_text("Inspect the dataset")
    card = page.locator(".approval.pending")
    expect(card.locator(".price")).to_have_text("≤ $0.90")
    first = page.locator(".step").first
    expect(first.locator(".step-facts")).to_have_text(re.compile(r"^1,\d\d\d tok · .* s$"))
    expect(first.locator(".step-parts")).to_have_count(0)  # a finished step closes
    first.locator(".step-head").click()
    expect(page.locator(".call", has_text="papers_search")).to_contain_text("ordering training data")
    expect(page.get_by_role("link", name=re.compile("Easy First"))).to_be_visible()

    expect(page.locator(".status")).to_have_text("Waiting for your approval")
    expect(page).to_have_title("● Needs you – ML Intern")
    card.get_by_label("Time limit in minutes").fill("30")
    expect(card).to_contain_text("costs at most$0.60of $5.00 left in the budget")
    card.locator("summary").click()
    card.get_by_label("Script").fill(scenes.SCRIPT.replace("5e-5", "3e-5"))
    card.get_by_role("button", name="Approve").click()
    edits = {"script": scenes.SCRIPT.replace("5e-5", "3e-5"), "timeout_seconds": 1800}
    assert wait_for(session, ApprovalAnswered).answer.edits == edits
    expect(page.locator(".approval")).to_contain_text("approved by you")
    expect(page.locator(".approval")).to_contain_text("the script (+1 −1 lines), the time limit from 45 min to 30 min")

    expect(page.locator(".job .curve path.line")).to_have_attribute("d", re.compile("^M0"))
    expect(page.locator(".budget")).to_contain_text("$0.60 held")
    seen.set()
    expect(page.locator(".end table")).to_contain_text("ModernBERT-base, fine-tuned")
    expect(page.locator(".job .chip")).to_have_text("completed")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.locator(".status")).to_have_text("")
    expect(page.locator(".account").filter(has_text="Compute").locator(".sum")).to_have_text("$0.28 / $5.00")


def test_a_reload_finds_everything_once(page: Page, paying: Session) -> None:
    tell(paying, UserSaid(run="r", text="go"), *scenes.research("r"), *scenes.research_end())
    tell(paying, RunEnded(run="r", why="answered", answer="Here it is."))
    paying.send(ASK)
    wait_for(paying, ApprovalAsked)
    start(page)
    expect(page.locator(".approval.pending")).to_be_visible()
    before = page.locator(".timeline").inner_text()
    page.reload()
    expect(page.locator(".approval.pending")).to_be_visible()
    assert page.locator(".timeline").inner_text() == before
    page.locator(".approval.pending").get_by_role("button", name="Reject").click()
    expect(page.locator(".approval")).to_contain_text("rejected by you")


def test_an_answer_given_in_one_tab_stamps_the_card_in_the_other(page: Page, paying: Session) -> None:
    paying.send(ASK)
    wait_for(paying, ApprovalAsked)
    start(page)
    other = page.context.new_page()
    start(other)
    expect(other.locator(".approval.pending")).to_be_visible()
    page.locator(".approval.pending").get_by_label("Reason").fill("too dear")
    page.get_by_role("button", name="Reject").click()
    expect(other.locator(".approval")).to_contain_text("“too dear”")
    assert wait_for(paying, ApprovalAnswered).answer == Answer(verdict="no", reason="too dear")


def test_a_cut_connection_is_told_and_made_good_without_a_gap(page: Page, session: Session) -> None:
    tell(session, UserSaid(run="r", text="go"), StepStarted(run="r", step=1, model="m"))
    tell(session, TextSaid(step=1, text="one "))
    start(page)
    expect(page.locator(".step")).to_contain_text("one")
    page.context.set_offline(True)
    page.evaluate("dispatchEvent(new Event('offline'))")
    tell(session, TextSaid(step=1, text="two "))
    page.context.set_offline(False)
    tell(session, TextSaid(step=1, text="three"))
    expect(page.locator(".step .prose")).to_have_text("one two three")


def test_refused_text_comes_back_with_the_reason(page: Page, session: Session) -> None:
    start(page)
    page.get_by_label("Your message").fill("my long text")
    tell(session, UserSaid(run="r", text="from another tab"), RunEnded(run="r", why="stopped"))
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


def test_a_draft_outlives_a_reload(page: Page, session: Session) -> None:
    start(page)
    page.get_by_label("Your message").press_sequentially("half a thou")
    page.reload()
    expect(page.get_by_label("Your message")).to_have_value("half a thou")


def test_stop_is_felt_at_once_and_the_run_ends_by_its_event_only(page: Page, session: Session) -> None:
    tell(session, UserSaid(run="r", text="go"), StepStarted(run="r", step=1, model="m"))
    start(page)
    with page.expect_request("**/agent/stop"):
        page.get_by_role("button", name="Stop").click()
    expect(page.locator(".status")).to_have_text("Stopping…")
    tell(session, RunEnded(run="r", why="stopped", message="You stopped it."))
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.locator(".end")).to_contain_text("Stopped. You stopped it.")
    expect(page.locator(".step .dot.running")).to_have_count(0)


def test_stop_ends_a_run_whose_model_is_silent(page: Page, paying: Session) -> None:
    start(page)
    say(page, "Wait for it")
    wait_for(paying, StepStarted)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".end")).to_contain_text("Stopped. You stopped this run.")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_a_question_is_answered_with_one_of_its_options_or_in_own_words(page: Page, paying: Session) -> None:
    start(page)
    say(page, "Measure it")
    expect(page.locator(".status")).to_have_text("Waiting for your answer")
    page.get_by_role("button", name="F1", exact=True).click()
    expect(page.locator(".approval .reply")).to_have_text("F1")
    page.get_by_role("textbox", name="Your answer").fill("because")
    page.get_by_role("textbox", name="Your answer").press("Enter")
    expect(page.locator(".approval .reply").last).to_have_text("because")
    expect(page.locator(".end")).to_contain_text("F1because")
    assert [answered.answer.text for answered in events(paying, ApprovalAnswered)] == ["F1", "because"]


def test_a_repository_is_deleted_only_after_a_click_that_says_so(page: Page, session: Session) -> None:
    request = Delete(repo="ada/old")
    tell(session, UserSaid(run="r", text="go"), ApprovalAsked(approval="d", call="c", request=request))
    start(page)
    expect(page.locator(".approval")).to_contain_text(
        "The repository ada/old and its whole history go. It cannot be undone."
    )
    with page.expect_request("**/agent/answer") as sent:
        page.get_by_role("button", name="Delete").click()
    form = sent.value.post_data_json
    assert (form["approval"], form["verdict"]) == ("d", "yes")
    tell(session, ApprovalAnswered(approval="d", answer=Answer(verdict="yes"), by="user", request=request))
    expect(page.locator(".approval")).to_contain_text("Delete ada/oldapproved by you")


def test_the_budget_is_changed_where_it_is_shown(page: Page, session: Session) -> None:
    start(page)
    compute = page.locator(".account").filter(has_text="Compute").locator(".sum")
    compute.click()
    page.get_by_label("Limit for compute in dollars").fill("12.5")
    page.get_by_label("Limit for compute in dollars").press("Enter")
    expect(compute).to_have_text("$0.00 / $12.50")
    assert everything(session)[-1] == BudgetSet(micro_usd=12_500_000)


def test_the_limit_for_thinking_is_raised_on_its_card(page: Page, paying: Session) -> None:
    tell(
        paying,
        MoneyReserved(hold="think-0", micro_usd=500_000, of="thinking"),
        MoneySettled(hold="think-0", micro_usd=480_000, source="usage and list price"),
    )
    start(page)
    say(page, "Think about it")
    card = page.locator(".approval")
    expect(card).to_contain_text(re.compile(r"the next call costs at most\$0\.\d+"))
    expect(page.locator(".account").filter(has_text="Thinking").locator(".sum")).to_have_text("$0.48 / $0.50")
    card.get_by_label("New limit in dollars").fill("2")
    card.get_by_role("button", name="Go on").click()
    expect(card).to_contain_text("A limit of $2.00 for thinkingapproved by you")
    answered = wait_for(paying, ApprovalAnswered)
    assert isinstance(answered.request, RaiseCap)
    assert answered.answer.edits == {"cap_micro_usd": 2_000_000}
    expect(page.locator(".end")).to_contain_text("Thought.")


def test_without_a_model_the_page_says_what_is_missing_and_what_works(
    page: Page, world: FakeHub, sessions: Sessions
) -> None:
    start(page)
    expect(page.locator(".welcome")).to_contain_text("There is no model yet: set HF_TOKEN")
    page.get_by_role("button", name="Search papers").click()
    expect(page.get_by_label("Your message")).to_have_value('/papers_search query="direct preference optimization"')
    page.get_by_label("Your message").press("Enter")
    expect(page.locator(".call.card")).to_contain_text("papers_search")


def test_a_file_goes_with_a_message_and_made_files_come_back(page: Page, session: Session, tmp_path: Path) -> None:
    paper = tmp_path / "paper.pdf"
    paper.write_bytes(b"%PDF-1.4")
    start(page)
    page.locator("input[type=file]").set_input_files(str(paper))
    say(page, "read it")
    expect(page.locator(".bubble .chip")).to_have_text("paper.pdf")
    assert (session.folder / "uploads" / "paper.pdf").read_bytes() == b"%PDF-1.4"
    tell(
        session,
        ToolStarted(call="t", tool="plot", args={}, by="user"),
        ToolShowed(call="t", card=FileMade(path="uploads/paper.pdf", bytes=8)),
    )
    with page.expect_download() as download:
        page.locator(".call .file-row").click()
    assert download.value.suggested_filename == "paper.pdf"
