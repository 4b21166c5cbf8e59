"""A whole task in a real browser: papers, Hub, an approval with an edit, a job that trains; and the worst moments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.doubles.hub import FakeHub
from tests.doubles.model_server import ModelServer, Reply, by_turn
from tests.doubles.papers import pdf
from tests.journeys.running import App

pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]

PACE = 0.004  # seconds per piece of a reply: slow enough to be seen
TRAIN = """\
import math, random, time
random.seed(7)
rows = [(x, 1 if x > 0.3 else 0) for x in (random.random() for _ in range(300))]
w = b = 0.0
for epoch in range(1, EPOCHS + 1):
    loss = 0.0
    for x, y in rows:
        p = 1 / (1 + math.exp(-(w * x + b)))
        loss -= math.log(p if y else 1 - p)
        w -= 0.3 * (p - y) * x
        b -= 0.3 * (p - y)
    print({"loss": round(loss / len(rows), 4), "step": epoch * len(rows)}, flush=True)
    time.sleep(PAUSE)
right = sum((w * x + b > 0) == (y == 1) for x, y in rows)
open("model.txt", "w").write(f"{w} {b}")
print(f"accuracy={right / len(rows):.3f}")
"""


def code(thought: str, text: str) -> Reply:
    return Reply(f"{thought}\n<code>\n{text}\n</code>", delay=PACE)


def script(epochs: int, pause: float) -> str:
    return TRAIN.replace("EPOCHS", str(epochs)).replace("PAUSE", str(pause))


def replies(train: str) -> list[Reply]:
    return [
        code(
            "First I read the paper.",
            "plan([{'text': 'Read', 'status': 'in_progress'}, 'Look at the Hub', 'Train', 'Report'])\n"
            "found = papers_search('ordering training data')\n"
            "paper = paper_outline(found[0]['id'])\n"
            "method = paper_read(found[0]['id'], section='2')['text']\n"
            "print(paper['source'], [s['section'] for s in paper['sections']])\n"
            "print(method[:600])",
        ),
        code(
            "Then the PDF that came with the task.",
            "tea = paper_read('uploads/tea.pdf', section='2')\nprint(tea['source'], tea['text'][:400])",
        ),
        code(
            "Which models are there?",
            "for repo in hub_search('model', 'tiny'):\n    print(repo['id'], repo['downloads'])",
        ),
        code(
            "Now I train a logistic regression here.",
            f"script = '''{train}'''\n"
            "end = job_run(script, title='Train a logistic regression', timeout='2m')\n"
            "accuracy = end['log'].split('accuracy=')[-1].strip()\nprint(end['status'], end['edited'], accuracy)",
        ),
        code(
            "I report.",
            "plan([{'text': text, 'status': 'completed'} for text in ('Read', 'Look at the Hub', 'Train', 'Report')])\n"
            "final_answer(f'''## Result\n| model | accuracy |\n|---|---|\n| logistic regression | {accuracy} |''')",
        ),
    ]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert faults == []


def start(page: Page, app: App) -> None:
    page.goto(app.url)
    expect(page.get_by_label("Your message")).to_be_visible()


def say(page: Page, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.get_by_label("Your message").press("Enter")


def test_a_task_from_papers_to_a_trained_model(page: Page, hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "tea.pdf").write_bytes(pdf.paper())
    with (
        ModelServer(by_turn(replies(script(2000, 0.0)))) as server,
        App(tmp_path, MODEL_BASE_URL=server.base_url, **hub.environ()) as app,
    ):
        start(page, app)
        page.locator("input[type=file]").set_input_files(tmp_path / "tea.pdf")
        expect(page.get_by_text("tea.pdf")).to_be_visible()
        say(page, "Try what the paper on ordering data says, on something small")
        expect(page.locator(".step-title", has_text="First I read")).to_be_visible()

        page.reload()  # in the middle of a run
        expect(page.locator(".bubble")).to_contain_text("Try what the paper")
        expect(page.locator(".approval.pending")).to_be_visible()
        expect(page.locator(".step-title")).to_have_count(4)

        page.reload()  # during an approval
        card = page.locator(".approval.pending")
        expect(card).to_be_visible()
        second = page.context.new_page()
        start(second, app)
        expect(second.locator(".approval.pending")).to_be_visible()
        card.locator("summary").click()
        card.get_by_label("Script").fill(script(25, 0.0))
        card.get_by_role("button", name="Approve").click()

        expect(page.locator(".end table")).to_contain_text("logistic regression")
        expect(page.locator(".end table")).to_contain_text(re.compile(r"0\.9\d\d"))
        expect(page.locator(".approval")).to_contain_text("the script")
        expect(page.locator(".job .chip")).to_have_text("completed")
        expect(page.locator(".job .curve path.line")).to_have_count(1)
        expect(page.locator(".job")).to_contain_text("model.txt")
        expect(second.locator(".end table")).to_contain_text("logistic regression")
        second.close()

        seen = "\n".join(message["content"] for message in server.requests[-1].body["messages"])
        assert "arXiv HTML" in seen
        assert r"\frac{\ell(f_{\theta},x)}" in seen  # the paper's formula, exact
        assert "learning rate of 0.01" in seen  # from the PDF
        assert "ada/tiny-bert" in seen
        assert "completed True" in seen  # the model knows that the user changed the script

        downloaded = page.request.get(page.locator(".job a", has_text="model.txt").first.evaluate("a => a.href"))
        assert len(downloaded.text().split()) == 2
        assert page.title() == "ML Intern"
        assert "Traceback" not in app.log


def test_a_killed_server_loses_nothing_and_the_conversation_goes_on(page: Page, hub: FakeHub, tmp_path: Path) -> None:
    slow = script(40, 0.1)
    story = [
        code("I keep a number.", "kept = 41\nprint('kept', kept)"),
        code("I train.", f"script = '''{slow}'''\nend = job_run(script, title='Train slowly', timeout='2m')"),
        code("I go on.", "final_answer(f'The number was {kept}.')"),
    ]
    with (
        ModelServer(by_turn(story)) as server,
        App(tmp_path, MODEL_BASE_URL=server.base_url, **hub.environ()) as app,
    ):
        start(page, app)
        say(page, "Train something slow")
        page.locator(".approval.pending").get_by_role("button", name="Approve").click()
        expect(page.locator(".job")).to_contain_text("step")
        app.kill()
        app.start()
        # The page finds the server again by itself; the job was never gone.
        expect(page.locator(".end")).to_contain_text("restarted", timeout=40_000)
        expect(page.locator(".job .chip")).to_have_text("completed")
        expect(page.locator(".job")).to_contain_text("model.txt")
        say(page, "Go on")
        expect(page.locator(".end").last).to_contain_text("The number was 41.")
        page.reload()
        expect(page.locator(".bubble")).to_have_count(2)
        expect(page.locator(".job")).to_have_count(1)
        started = list((tmp_path / "sessions").rglob("model.txt"))
        assert len(started) == 1


def test_without_a_model_the_page_says_what_is_missing_and_tools_work_by_hand(
    page: Page, hub: FakeHub, tmp_path: Path
) -> None:
    with App(tmp_path, **hub.environ()) as app:
        start(page, app)
        expect(page.get_by_text("set HF_TOKEN").first).to_be_visible()
        say(page, "/papers_search ordering training data")
        expect(page.get_by_role("link", name=re.compile("Easy First"))).to_be_visible()
        say(page, "/hub_info model ada/tiny-bert")
        expect(page.get_by_role("link", name="ada/tiny-bert")).to_be_visible()
        say(page, "/hub_info planet earth")
        expect(page.get_by_text("model, dataset").last).to_be_visible()
