"""A browser, and a page whose sessions are the app's own, between a fake Hub and a scripted model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from agent.models.menu import Menu
from agent.session import Session
from agent.sessions import Sessions
from agent.settings import Settings
from tests import browser as chromium
from tests.agent.living import LISTED, emptied
from tests.doubles.hub import FakeHub
from tests.doubles.model_server import ModelServer, Script, in_order
from tests.journeys.running import free_port
from ui import page as ui
from ui.assets import HASH
from ui.routes import PREFIX

expect.set_options(timeout=30_000)  # ms: what is waited for comes; how soon, is no matter of pass or fail


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium.find()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(chromium.HELP)
        pytest.skip(chromium.HELP)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=path, args=[*chromium.ARGS, "--force-prefers-reduced-motion"]
        )
        yield started
        started.close()


@contextmanager
def page_of(sessions: Sessions, menu: Menu | None = None) -> Iterator[str]:
    """The address at which the page of an app is served."""
    page = ui.build(sessions, {}, menu)
    _, address, _ = page.demo.launch(server_port=free_port(), prevent_thread_lock=True, quiet=True, **page.launch)
    yield str(address)
    page.demo.close(verbose=False)


@pytest.fixture(scope="module")
def replies() -> Script:
    """What the model says to who pays for it. A module that lets it think has its own."""
    return in_order([])


@pytest.fixture(scope="module")
def world() -> Iterator[FakeHub]:
    """The Hub that the page's app knows."""
    with FakeHub() as hub:
        yield hub


@pytest.fixture(scope="module")
def app(world: FakeHub, replies: Script, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sessions]:
    with ModelServer(replies, models=[LISTED]) as router:
        places = replace(world.places(), router_url=router.base_url)
        settings = Settings(data_dir=tmp_path_factory.mktemp("data"), places=places, model_id="ada/thinker")
        with closing(Sessions(settings)) as sessions:
            yield sessions


@pytest.fixture(scope="module")
def served(app: Sessions) -> Iterator[str]:
    with page_of(app) as address:
        yield address


@pytest.fixture
def sessions(app: Sessions, served: str) -> Sessions:
    """None yet. Nobody is signed in: there is no model, nothing can be paid for, and tools are called by hand."""
    emptied(app).withdraw_token("local")
    return app


@pytest.fixture
def session(sessions: Sessions) -> Session:
    """With $5.00 for compute."""
    session = sessions.create("local")
    session.set_budget(5_000_000)
    return session


@pytest.fixture
def paying(sessions: Sessions, session: Session) -> Session:
    """A session of ada, whose token pays for the model and for jobs."""
    sessions.lend_token("local", "hf_ada", check=False)
    return session


@pytest.fixture(scope="module")
def context(browser: Browser, served: str) -> Iterator[BrowserContext]:
    """One browser profile for all tests, so that Gradio's own files are fetched once."""
    context = browser.new_context(base_url=served)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, served: str) -> Iterator[Page]:
    """A page that fails the test when one of our scripts fails, or when anything is fetched from elsewhere."""
    page = context.new_page()
    page.set_viewport_size({"width": 1440, "height": 900})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if not request.url.startswith(served) else None)

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
