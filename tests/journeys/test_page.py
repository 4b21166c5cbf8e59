"""The page in a real browser, on sessions that tell what a test says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, expect, sync_playwright

from agent.events import (
    ApprovalAsked,
    CodeWritten,
    JobLogged,
    Noticed,
    OutputPrinted,
    ReasoningSaid,
    RunEnded,
    StepStarted,
    TextSaid,
    ToolEnded,
    ToolShowed,
    ToolStarted,
    UserSaid,
)
from tests import browser as chromium
from tests.doubles import scenes
from tests.doubles.sessions import ToldSession, ToldSessions
from tests.ui.serving import until
from tools.cards import FileMade, PaperOpened, PaperRow, PapersFound, PlanMade, Question, RepoRow, ReposFound, Todo
from ui import page as ui
from ui.assets import HASH
from ui.routes import PREFIX

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium.find()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(chromium.HELP)
        pytest.skip(chromium.HELP)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=chromium.ARGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ToldSessions]]:
    sessions = ToldSessions(tmp_path_factory.mktemp("sessions"))
    page = ui.build(sessions, {})  # type: ignore[arg-type]
    _, address, _ = page.demo.launch(prevent_thread_lock=True, quiet=True, **page.launch)
    yield address, sessions
    page.demo.close(verbose=False)


@pytest.fixture
def sessions(served: tuple[str, ToldSessions]) -> ToldSessions:
    served[1].all.clear()
    served[1].missing = ""
    return served[1]


@pytest.fixture
def session(sessions: ToldSessions) -> ToldSession:
    return sessions.create("local")


@pytest.fixture(scope="module")
def context(browser: Browser, served: tuple[str, ToldSessions]) -> Iterator[BrowserContext]:
    """One browser profile for all tests, so that Gradio's own files are fetched once."""
    context = browser.new_context(base_url=served[0])
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, served: tuple[str, ToldSessions]) -> Iterator[Page]:
    """A page that fails the test when one of our scripts fails, or when anything is fetched from elsewhere."""
    page = context.new_page()
    page.set_viewport_size({"width": 1440, "height": 900})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if not request.url.startswith(served[0]) else None)

    def read_console(message: ConsoleMessage) -> None:
        if "Uncaught" in message.text:
            faults.append(message.text)

    page.on("console", read_console)
    yield page
    for opened in context.pages:
        opened.close()
    clean = context.new_page()  # a draft is one test's own
    clean.goto(f".{PREFIX}/static/{HASH}/style.css")
    clean.evaluate("localStorage.clear()")
    clean.close()
    assert faults == []


def start(page: Page, path: str = "./") -> None:
    page.goto(path)
    expect(page.get_by_label("Your message")).to_be_visible(timeout=20_000)


def say(page: Page, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.get_by_label("Your message").press("Enter")


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
    expect(card).to_contain_text("$0.50, of $5.00 left in the budget")
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
    expect(page.locator(".sum")).to_have_text("$0.28 / $5.00")


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


HOSTILE = "<img src=x onerror=pwned=1><script>pwned=1</script>[click](javascript:pwned=1) ![track](http://evil.example/a.png) <b onclick=pwned=1>bold</b>"


def test_text_from_outside_is_never_markup_and_loads_nothing(page: Page, session: ToldSession) -> None:
    row = RepoRow(id=HOSTILE, url="javascript:pwned=1", facts=(HOSTILE,))
    paper = PaperRow(id="1", title=HOSTILE, url="javascript:pwned=1", authors=HOSTILE, summary=HOSTILE)
    opened = PaperOpened(
        id="1", title=HOSTILE, source=HOSTILE, url="data:text/html,x", sections=(HOSTILE,), text=HOSTILE
    )
    session.tell(
        UserSaid(run="r", text=HOSTILE, files=(HOSTILE,)),
        StepStarted(run="r", step=1, model=HOSTILE),
        ReasoningSaid(step=1, text=HOSTILE),
        TextSaid(step=1, text=f"{HOSTILE}\n\n{HOSTILE}\n\n"),
        CodeWritten(step=1, code=HOSTILE),
        ToolStarted(call="c", tool=HOSTILE, args={HOSTILE: HOSTILE}, by="agent", step=1),
        *(
            ToolShowed(call="c", card=card)
            for card in (
                PapersFound(query=HOSTILE, source=HOSTILE, papers=(paper,)),
                opened,
                ReposFound(repo_kind="model", query=HOSTILE, repos=(row,)),
                PlanMade(todos=(Todo(text=HOSTILE),)),
                FileMade(path=HOSTILE, bytes=1),
            )
        ),
        ToolEnded(call="c", why="problem", result=HOSTILE, message=HOSTILE, hint=HOSTILE, seconds=1),
        OutputPrinted(step=1, text=HOSTILE),
        ApprovalAsked(
            approval="a", call="c", request=scenes.SPEND.model_copy(update={"title": HOSTILE, "script": HOSTILE})
        ),
        ApprovalAsked(approval="b", call="c", request=Question(question=HOSTILE, options=(HOSTILE,))),
        *scenes.job_start(),
        JobLogged(job="69b2c7880357", offset=1, text=HOSTILE),
        Noticed(level="warning", text=HOSTILE),
        RunEnded(
            run="r", why="answered", answer=f"{HOSTILE}\n\n```{HOSTILE}\n{HOSTILE}\n```\n| a |\n|-|\n| {HOSTILE} |"
        ),
    )
    start(page)
    expect(page.locator(".end")).to_be_visible()
    page.locator(".step-head").click()
    page.locator(".call-head").click()
    for summary in page.locator("#ml-intern summary:visible").all():
        summary.click()
    for tab in ("Artifacts", "Jobs", "Code", "Plan"):
        page.get_by_role("tab", name=tab).click()
    assert page.evaluate("window.pwned") is None
    assert page.locator("#ml-intern :is(img, iframe, object, script, style, form)").count() == 0
    links = page.locator("#ml-intern a").evaluate_all(
        "all => all.map((a) => [a.getAttribute('href'), a.rel, a.target])"
    )
    outside = [link for link in links if link[0] and not link[0].startswith(page.url.partition("?")[0])]
    assert outside
    for href, rel, target in outside:
        assert href.startswith(("http://", "https://"))
        assert (rel, target) == ("noopener noreferrer nofollow", "_blank")


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


def test_the_reader_is_not_dragged_to_the_end(page: Page, session: ToldSession) -> None:
    session.tell(UserSaid(run="r", text="go"), *scenes.finished_steps("r", 1, 60))
    start(page)
    expect(page.locator(".step")).to_have_count(60)
    scroller = page.locator(".scroller")
    scroller.evaluate("node => node.scrollTo(0, 200)")
    page.wait_for_function("document.querySelector('.scroller').scrollTop === 200")
    session.tell(*scenes.finished_steps("r", 61, 1))
    page.get_by_role("button", name="Jump to latest").click()
    page.wait_for_function(
        "(() => { const s = document.querySelector('.scroller'); return s.scrollHeight - s.scrollTop - s.clientHeight < 50 })()"
    )
    expect(page.get_by_role("button", name="Jump to latest")).to_be_hidden()


def test_on_a_phone_nothing_is_wider_than_the_screen_and_the_sides_are_drawers(
    page: Page, session: ToldSession
) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    session.tell(
        UserSaid(run="r", text="go " * 50 + "x" * 300),
        *scenes.research("r"),
        *scenes.research_end(),
        *scenes.script_step("r"),
    )
    start(page)
    expect(page.locator(".approval.pending")).to_be_visible()
    assert page.evaluate(
        "[...document.querySelectorAll('html, .scroller')].every((node) => node.scrollWidth <= node.clientWidth)"
    )
    expect(page.get_by_role("button", name="New task")).to_be_hidden()
    page.get_by_role("button", name="Sessions", exact=True).click()
    expect(page.get_by_role("button", name="New task")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="New task")).to_be_hidden()


def test_the_page_works_where_storage_is_forbidden(page: Page, session: ToldSession) -> None:
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError') } })"
    )
    session.tell(UserSaid(run="r", text="go"), *scenes.answer("r"))
    start(page)
    expect(page.locator(".end")).to_contain_text("95.1 %")
    page.get_by_label("Your message").press_sequentially("typed")
    expect(page.get_by_label("Your message")).to_have_value("typed")


def test_the_page_works_inside_another_page(page: Page, session: ToldSession, served: tuple[str, ToldSessions]) -> None:
    session.tell(UserSaid(run="r", text="go"), *scenes.answer("r"))
    page.set_content(f'<iframe src="{served[0]}" width="1300" height="800"></iframe>')
    inside = page.frame_locator("iframe")
    expect(inside.locator(".end")).to_contain_text("95.1 %", timeout=20_000)
    inside.get_by_label("Your message").fill("from inside")
    inside.get_by_role("button", name="Send").click()
    expect(inside.locator(".bubble").last).to_have_text("from inside")


def test_an_unknown_session_in_the_address_is_told(page: Page, session: ToldSession) -> None:
    start(page, "./?session=never-was")
    expect(page.get_by_role("alert").first).to_have_text("That session does not exist, or it is not yours.")
    page.locator(".session").click()
    expect(page).to_have_url(f"{page.url.partition('?')[0]}?session={session.id}")


def test_five_hundred_steps_are_there_soon_and_closed_ones_hold_nothing(page: Page, session: ToldSession) -> None:
    session.tell(UserSaid(run="r", text="go"), *scenes.finished_steps("r", 1, 500), RunEnded(run="r", why="stopped"))
    start(page)
    expect(page.locator(".end")).to_be_visible(timeout=10_000)
    expect(page.locator(".step")).to_have_count(500)
    expect(page.locator(".step-parts")).to_have_count(0)
    page.locator(".step-head").last.click()
    expect(page.locator(".step-parts > pre.output")).to_have_text("nothing\n")


@pytest.fixture
def modules(page: Page) -> Page:
    """A bare page of ours on which a test calls the modules themselves."""
    page.goto(f".{PREFIX}/static/{HASH}/style.css")
    return page


def call(page: Page, module: str, script: str, *values: object) -> Any:
    """What a function of a module says: script is the body of an async function of m, the module, and values."""
    return page.evaluate(
        f"async ([url, ...values]) => {{ const m = await import(url); {script} }}",
        [f"{PREFIX}/static/{HASH}/{module}.js", *values],
    )


def test_text_that_grows_ends_up_as_text_that_came_at_once(modules: Page) -> None:
    text = "# Title\n\n- one\n\n- two\n\n```python\nx = 1\n\ny = 2\n```\n\n| a | b |\n|-|-|\n| 1 | 2 |\n\nEnd **bold** and `code`."
    script = """
        const [text] = values;
        const [grown, whole] = [new m.GrowingText(), document.createElement("div")];
        for (let end = 1; end <= text.length; end++) grown.set(text.slice(0, end));
        const shown = grown.node.textContent.replace(/\\s+/g, "");
        grown.finish(text);
        whole.append(m.markdown(text));
        return [grown.node.innerHTML === whole.innerHTML, shown === whole.textContent.replace(/\\s+/g, "")];
    """
    assert call(modules, "markdown", script, text) == [True, True]


def test_a_reply_is_parted_into_thought_and_code_also_while_it_comes(modules: Page) -> None:
    replies = {
        "Think.\n```python\nx = 1\n```": ("Think.", "x = 1"),
        "Think.\n<code>\nx = 1\n</code>": ("Think.", "x = 1"),
        "Think.\n```py\nx = 1\nprint(": ("Think.", "x = 1\nprint("),
        "Only words with `x` in them": ("Only words with `x` in them", ""),
        "```\nx\n```\nafter": ("", "x"),
        "": ("", ""),
    }
    parted = call(modules, "story", "return values[0].map(m.parted)", list(replies))
    assert [(one["thought"], one["code"]) for one in parted] == list(replies.values())


def test_hostile_markdown_is_shown_in_bounded_time(modules: Page) -> None:
    texts = [
        ">" * 20_000,
        "[" * 20_000,
        "*a" * 10_000,
        "- " * 5_000,
        "`" * 20_000,
        "a\n" * 50_000,
        "![" * 10_000,
        "|a" * 20_000,
    ]
    script = """
        return values[0].map((text) => {
            const began = performance.now();
            m.markdown(text);
            return performance.now() - began;
        });
    """
    times = call(modules, "markdown", script, texts)
    assert max(times) < 5_000, times


def test_money_and_time_are_told_in_the_digits_that_matter(modules: Page) -> None:
    assert call(modules, "words", "return values.map(m.dollars)", 0, 280_000, 4_200, 5_000_000) == [
        "$0.00",
        "$0.28",
        "$0.0042",
        "$5.00",
    ]
    assert call(modules, "words", "return values.map(m.seconds)", 0.04, 1.74, 59.4, 61, 7300) == [
        "< 0.1 s",
        "1.7 s",
        "59 s",
        "1 min 1 s",
        "2 h 1 min",
    ]
    assert call(modules, "words", "return values.map(m.measure)", 3, 0.48512, 0.00001234, 1234567.5) == [
        "3",
        "0.4851",
        "1.23e-5",
        "1.23e+6",
    ]
