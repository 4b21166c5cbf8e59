"""A browser and a served page whose sessions tell what a test says."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests import browser as chromium
from tests.doubles.sessions import ToldSession, ToldSessions
from ui import page as ui
from ui.assets import HASH
from ui.routes import PREFIX


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
