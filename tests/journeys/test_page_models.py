"""Choosing what thinks, in a real browser: what it costs is shown before it is chosen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from agent.models.listing import PRESETS
from agent.models.payers import Payer
from agent.sessions import Sessions
from tests.agent.living import only
from tests.doubles.choosing import OLLAMA, Choosing
from tests.doubles.router_list import MODELS, model, provider
from tests.journeys.acts import say, start
from tests.journeys.conftest import page_of
from tests.ui.serving import until

pytestmark = pytest.mark.journey

WHO_PAYS = (Payer("ada", ""), Payer("lab", "lab"), Payer("full", "full", "", False, "Its spending limit is reached."))


@pytest.fixture(scope="module")
def told() -> Choosing:
    return Choosing()


@pytest.fixture(scope="module")
def served(app: Sessions, told: Choosing) -> Iterator[str]:
    with page_of(app, told.menu()) as address:
        yield address


@pytest.fixture
def choosing(told: Choosing, sessions: Sessions) -> Choosing:
    told.__init__(payers=WHO_PAYS)  # type: ignore[misc]  # the page was built with this very object
    return told


def test_a_preset_is_chosen_with_its_price_in_sight(page: Page, choosing: Choosing, sessions: Sessions) -> None:
    session = sessions.create("local")
    start(page)
    chooser = page.get_by_role("button", name="Model:")
    expect(chooser).to_have_text("GLM-5.3-Flash$0.15 / $0.50")
    chooser.click()
    rows = page.locator(".model-row")
    expect(rows.nth(0)).to_have_attribute("aria-pressed", "true")
    expect(rows.nth(0)).to_contain_text("fastzai-org/GLM-5.3-Flash1M tokens · $0.15 / $0.50 · about $0.095 a session")
    expect(rows.nth(2)).to_contain_text("about $2.10 a session")
    rows.nth(3).click()
    expect(chooser).to_have_text("gpt-oss-120b$0.05 / $0.25")
    expect(page.get_by_role("dialog", name="Choose a model")).to_be_hidden()
    assert choosing.asked == [("local", session.id, "openai/gpt-oss-120b:cheapest", "", "")]
    page.reload()
    expect(chooser).to_have_text("gpt-oss-120b$0.05 / $0.25")


def test_what_is_chosen_before_there_is_a_session_is_told_to_the_first(
    page: Page, choosing: Choosing, sessions: Sessions
) -> None:
    start(page)
    chooser = page.get_by_role("button", name="Model:")
    chooser.click()
    page.locator(".model-row", has_text="strong").click()
    expect(chooser).to_have_text("GLM-5.3$1.40 / $4.40")
    assert choosing.asked == []
    say(page, "hello")
    until(lambda: choosing.asked)
    assert choosing.asked == [("local", only(sessions).id, "zai-org/GLM-5.3", "", "")]
    expect(chooser).to_have_text("GLM-5.3$1.40 / $4.40")


def test_another_id_can_be_typed_and_a_wrong_one_is_answered_with_near_names(
    page: Page, choosing: Choosing, sessions: Sessions
) -> None:
    choosing.listed = [*MODELS, model("ada/tiny", provider("novita", 200_000, (0.01, 0.02)))]
    sessions.create("local")
    start(page)
    page.get_by_role("button", name="Model:").click()
    typed = page.get_by_label("Id of another model")
    typed.fill("ada/tinny")
    typed.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="lists no model 'ada/tinny'")).to_contain_text("ada/tiny")
    typed.fill("ada/tiny")
    expect(page.locator(".model-typed")).to_contain_text("novita · 200k tokens · $0.01 / $0.02")
    page.get_by_role("button", name="Use", exact=True).click()
    expect(page.get_by_role("button", name="Model:")).to_have_text("tiny$0.01 / $0.02")


def test_who_pays_is_asked_when_there_is_more_than_one(page: Page, choosing: Choosing, sessions: Sessions) -> None:
    session = sessions.create("local")
    start(page)
    page.get_by_role("button", name="Model:").click()
    expect(page.get_by_label("ada")).to_be_checked()
    expect(page.get_by_label("Its spending limit is reached.")).to_be_disabled()
    page.get_by_label("lab").check()
    until(lambda: choosing.asked)
    assert choosing.asked == [("local", session.id, "zai-org/GLM-5.3-Flash:novita", "", "lab")]
    page.locator(".model-row", has_text="strong").click()
    until(lambda: len(choosing.asked) == 2)
    assert choosing.asked[1] == ("local", session.id, "zai-org/GLM-5.3", "", "lab")


def test_a_server_on_this_machine_is_offered_and_never_chosen_by_itself(
    page: Page, choosing: Choosing, sessions: Sessions
) -> None:
    session = sessions.create("local")
    start(page)
    chooser = page.get_by_role("button", name="Model:")
    expect(chooser).to_contain_text("GLM-5.3-Flash")
    chooser.click()
    expect(page.get_by_text("On this machine: Ollama")).to_be_visible()
    expect(page.locator(".model-row", has_text="big")).to_contain_text(
        "up to 65k tokens, as far as the server is set to"
    )
    page.locator(".model-row", has_text="qwen3:4b").click()
    expect(chooser).to_have_text("qwen3:4bfree")
    assert choosing.asked == [("local", session.id, "qwen3:4b", OLLAMA.base_url, "")]


def test_presets_that_are_gone_cannot_be_chosen_and_say_why(page: Page, choosing: Choosing, sessions: Sessions) -> None:
    choosing.listed = [told for told in MODELS if told["id"] == PRESETS[1][1]]
    sessions.create("local")
    start(page)
    page.get_by_role("button", name="Model:").click()
    gone = page.locator(".model-row", has_text="Kimi-K3").first
    expect(gone).to_be_disabled()
    expect(gone).to_contain_text("lists no model 'moonshotai/Kimi-K3'. The next is 'strong'.")


def test_the_list_is_worked_by_keys_and_gives_the_focus_back(
    page: Page, choosing: Choosing, sessions: Sessions
) -> None:
    sessions.create("local")
    start(page)
    chooser = page.get_by_role("button", name="Model:")
    chooser.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".model-row").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".model-row", has_text="strong")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Choose a model")).to_be_hidden()
    expect(chooser).to_be_focused()
    chooser.click()
    page.get_by_role("heading", name="What should we train today?").click()
    expect(page.get_by_role("dialog", name="Choose a model")).to_be_hidden()


def test_a_refusal_is_shown_where_it_was_chosen(page: Page, choosing: Choosing, sessions: Sessions) -> None:
    choosing.refusal = "A run is going on; the model can be changed after it."
    sessions.create("local")
    start(page)
    page.get_by_role("button", name="Model:").click()
    page.locator(".model-row", has_text="strong").click()
    expect(page.locator(".model-list").get_by_role("alert")).to_have_text(choosing.refusal)
    expect(page.get_by_role("button", name="Model:")).to_contain_text("GLM-5.3-Flash")


def test_names_from_outside_are_text_and_never_markup(page: Page, choosing: Choosing, sessions: Sessions) -> None:
    choosing.payers = [Payer("ada", ""), Payer("<img src=x onerror=alert(1)>", "x")]
    sessions.create("local")
    start(page)
    page.get_by_role("button", name="Model:").click()
    expect(page.get_by_text("<img src=x onerror=alert(1)>")).to_be_visible()
    expect(page.locator(".model-list img")).to_have_count(0)
