"""Signing in with Hugging Face on a Space: Gradio's own OAuth against the fake Hub."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.agent.living import code
from tests.doubles.hub import FakeHub
from tests.doubles.model_server import ModelServer
from tests.journeys.running import App

pytestmark = pytest.mark.journey


def visitor(browser: Browser, app: App) -> Page:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(app.url)
    expect(page.get_by_label("Your message")).to_be_visible()
    return page


def press(page: Page, label: str, until: str) -> None:
    """Press Gradio's button while it says so, again if need be: it shows itself before it listens."""
    button = page.locator("#ml-login", has_text=label)
    for _ in range(5):
        expect(button).to_be_visible()
        button.click()
        with suppress(AssertionError):
            expect(page.locator("#ml-login", has_text=until)).to_be_visible()
            return
    raise AssertionError(f"the button never said {until!r}")


def test_each_signed_in_user_has_their_own_sessions_and_can_sign_out(browser: Browser, tmp_path: Path) -> None:
    with FakeHub() as hub, ModelServer([code("final_answer('Hello ada.')")]) as server:
        sign_in_settings = {
            "SYSTEM": "spaces",
            "SPACE_ID": "lab/intern",
            "OAUTH_CLIENT_ID": "intern",
            "OAUTH_CLIENT_SECRET": "a secret of the test",
            "OAUTH_SCOPES": "openid profile inference-api",
        }
        hub.sign_ins += ["ada", "bo"]
        with App(tmp_path, MODEL_BASE_URL=server.base_url, **sign_in_settings, **hub.environ()) as app:
            ada = visitor(browser, app)
            press(ada, "Sign in", until="Logout (ada)")
            expect(ada.get_by_text("Signed in as ada")).to_be_visible()
            ada.get_by_label("Your message").fill("My private task")
            ada.get_by_label("Your message").press("Enter")
            expect(ada.locator(".end")).to_contain_text("Hello ada.")

            bo = visitor(browser, app)
            press(bo, "Sign in", until="Logout (bo)")
            expect(bo.get_by_text("Signed in as bo")).to_be_visible()
            expect(bo.get_by_text("My private task")).to_have_count(0)
            bo.goto(ada.url)  # the address alone lets nobody in
            expect(bo.get_by_label("Your message")).to_be_visible()
            expect(bo.get_by_text("My private task")).to_have_count(0)

            again = ada.context.new_page()  # the same person in another tab
            again.goto(app.url)
            expect(again.locator(".end")).to_contain_text("Hello ada.")
            press(again, "Logout", until="Sign in")
            expect(again.get_by_text("Signed in as")).to_be_hidden()
            expect(again.get_by_text("My private task")).to_have_count(0)
            kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
            for token in hub.tokens:
                assert f'"{token}"'.encode() not in kept
        for page in (ada, bo):
            page.context.close()
