"""The page with hostile text, on small screens, inside other pages, and with very long sessions."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from agent.events import (
    ApprovalAsked,
    CodeWritten,
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
from agent.job_events import JobLogged
from agent.session import Session
from tests.agent.living import tell
from tests.doubles import scenes
from tests.journeys.acts import start
from tools.cards import FileMade, PaperOpened, PaperRow, PapersFound, PlanMade, Question, RepoRow, ReposFound, Todo

pytestmark = pytest.mark.journey


HOSTILE = "<img src=x onerror=pwned=1><script>pwned=1</script>[click](javascript:pwned=1) ![track](http://evil.example/a.png) <b onclick=pwned=1>bold</b>"


def test_text_from_outside_is_never_markup_and_loads_nothing(page: Page, session: Session) -> None:
    row = RepoRow(id=HOSTILE, url="javascript:pwned=1", facts=(HOSTILE,))
    paper = PaperRow(id="1", title=HOSTILE, url="javascript:pwned=1", authors=HOSTILE, summary=HOSTILE)
    opened = PaperOpened(
        id="1", title=HOSTILE, source=HOSTILE, url="data:text/html,x", sections=(HOSTILE,), text=HOSTILE
    )
    tell(
        session,
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


def test_on_a_phone_nothing_is_wider_than_the_screen_and_the_sides_are_drawers(page: Page, session: Session) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    tell(
        session,
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


def test_the_page_works_where_storage_is_forbidden(page: Page, session: Session) -> None:
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError') } })"
    )
    tell(session, UserSaid(run="r", text="go"), *scenes.answer("r"))
    start(page)
    expect(page.locator(".end")).to_contain_text("95.1 %")
    page.get_by_label("Your message").press_sequentially("typed")
    expect(page.get_by_label("Your message")).to_have_value("typed")


def test_the_page_works_inside_another_page(page: Page, session: Session, served: str) -> None:
    tell(session, UserSaid(run="r", text="go"), *scenes.answer("r"))
    page.set_content(f'<iframe src="{served}" width="1300" height="800"></iframe>')
    inside = page.frame_locator("iframe")
    expect(inside.locator(".end")).to_contain_text("95.1 %")
    inside.get_by_label("Your message").fill("from inside")
    inside.get_by_role("button", name="Send").click()
    expect(inside.locator(".bubble").last).to_have_text("from inside")


def test_an_unknown_session_in_the_address_is_told(page: Page, session: Session) -> None:
    start(page, "./?session=never-was")
    expect(page.get_by_role("alert").first).to_have_text("That session does not exist, or it is not yours.")
    page.locator(".session").click()
    expect(page).to_have_url(f"{page.url.partition('?')[0]}?session={session.id}")


def test_five_hundred_steps_are_there_soon_and_closed_ones_hold_nothing(page: Page, session: Session) -> None:
    tell(session, UserSaid(run="r", text="go"), *scenes.finished_steps("r", 1, 500), RunEnded(run="r", why="stopped"))
    start(page)
    expect(page.locator(".end")).to_be_visible()
    expect(page.locator(".step")).to_have_count(500)
    expect(page.locator(".step-parts")).to_have_count(0)
    page.locator(".step-head").last.click()
    expect(page.locator(".step-parts > pre.output")).to_have_text("nothing\n")


def test_the_reader_is_not_dragged_to_the_end(page: Page, session: Session) -> None:
    tell(session, UserSaid(run="r", text="go"), *scenes.finished_steps("r", 1, 60))
    start(page)
    expect(page.locator(".step")).to_have_count(60)
    scroller = page.locator(".scroller")
    scroller.evaluate("node => node.scrollTo(0, 200)")
    page.wait_for_function("document.querySelector('.scroller').scrollTop === 200")
    tell(session, *scenes.finished_steps("r", 61, 1))
    page.get_by_role("button", name="Jump to latest").click()
    page.wait_for_function(
        "(() => { const s = document.querySelector('.scroller'); return s.scrollHeight - s.scrollTop - s.clientHeight < 50 })()"
    )
    expect(page.get_by_role("button", name="Jump to latest")).to_be_hidden()
