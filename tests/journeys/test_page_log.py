"""A job's log on its card: what says little is one line that can be opened, and the end of it moves."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from agent.events import UserSaid
from agent.job_events import JobLogged
from agent.jobs.progress import JobWatch
from agent.session import Session
from tests.agent.living import tell
from tests.doubles import scenes
from tests.journeys.test_page_modules import call, modules  # noqa: F401

pytestmark = pytest.mark.journey
JOB = "69b2c7880357"


class Writing:
    """What a job prints, told as the app tells it."""

    def __init__(self, session: Session) -> None:
        self._session, self._watch = session, JobWatch(JOB, scenes.SPEND)

    def say(self, text: str) -> None:
        tell(self._session, *(one for one in self._watch.read(text, 1.0) if isinstance(one, JobLogged)))


def opened(page: Page, session: Session) -> Locator:
    tell(session, UserSaid(run="r", text="go"), *scenes.job_start())
    page.goto(f"./?session={session.id}")
    return page.locator("#ml-timeline-place .job")


def rows(log: Locator) -> Locator:
    return log.locator(":scope > .log-row")


def test_installing_is_one_line_whose_end_moves_and_that_can_be_opened(page: Page, session: Session) -> None:
    card, job = opened(page, session), Writing(session)
    job.say("Resolved 123 packages in 3ms\n")
    card.locator("summary", has_text="Log").click()
    log = card.get_by_label("Log")
    expect(rows(log)).to_have_text(["Resolved 123 packages in 3ms", ""])
    for n in range(121):
        job.say(f"Downloading package-{n}\n")
    job.say("Downloa")
    expect(rows(log)).to_have_text(["⋯ 122 lines of installing, the last: Downloading package-120", "Downloa"])
    job.say("ding <b>torch</b>\n")
    expect(rows(log).first).to_have_text("⋯ 123 lines of installing, the last: Downloading <b>torch</b>")
    log.locator("summary").click()
    expect(log.locator(".log-folded")).to_contain_text("Resolved 123 packages in 3ms Downloading package-0")
    job.say("Installed 123 packages in 2s\n")
    expect(log.locator(".log-folded")).to_contain_text("Installed 123 packages in 2s")


def test_trouble_is_never_folded(page: Page, session: Session) -> None:
    card, job = opened(page, session), Writing(session)
    job.say("Downloading a\nDownloading b\nwarning: Failed to hardlink files\nDownloading c\nDownloading d\n")
    job.say(" 10%|█ | 1/9 [00:01<00:09]\r 20%|█ | 2/9 [00:02<00:08]\n 30%|█ | 3/9 [00:02<00:08]\nKeyError: 'text'\n")
    card.locator("summary", has_text="Log").click()
    expect(rows(card.get_by_label("Log"))).to_have_text(
        [
            "⋯ 2 lines of installing, the last: Downloading b",
            "warning: Failed to hardlink files",
            "⋯ 2 lines of installing, the last: Downloading d",
            "⋯ 2 lines of progress, the last:  30%|█ | 3/9 [00:02<00:08]",
            "KeyError: 'text'",
            "",
        ]
    )


def test_a_log_of_an_old_session_is_shown_as_it_was_written(page: Page, session: Session) -> None:
    card = opened(page, session)
    tell(session, JobLogged(job=JOB, offset=1, text="Downloading a\nDownloading b\nhel"))
    tell(session, JobLogged(job=JOB, offset=2, text="lo\n\nworld"))
    card.locator("summary", has_text="Log").click()
    expect(rows(card.get_by_label("Log"))).to_have_text(["Downloading a", "Downloading b", "hello", "", "world"])


def test_the_same_log_in_any_pieces_is_the_same_on_the_page(modules: Page) -> None:  # noqa: F811
    text = "start\nResolved 3 packages\nDownloading a\n\nerror: no\nInstalled 1\n 1%|  | 1/9 [00:01<01:39]\r\n 2%|  | 2/9 [00:01<\nend"
    script = """
        return values[0].map((pieces) => {
            const log = new m.Log();
            for (const [text, noise] of pieces) log.take(text, noise);
            return [log.rows, log.open];
        });
    """
    shown = call(modules, "story/log", script, [_pieces(text, size) for size in (1, 2, 7, 30, 999)])
    assert all(one == shown[0] for one in shown)
    assert [len(row["lines"]) for row in shown[0][0]] == [1, 2, 1, 1, 1, 2]


def test_what_is_kept_of_a_log_is_bounded_and_what_was_forgotten_is_counted(modules: Page) -> None:  # noqa: F811
    script = """
        const { Log } = await import(url.replace("jobs/log.js", "story/log.js"));
        const log = new Log();
        const drawn = m.logView(log);
        document.body.append(drawn.node);
        for (let n = 0; n < 300; n++) { log.take(`plain ${n}\\n`.repeat(500), []); drawn.update(); }
        const plain = [log.size, drawn.node.childElementCount, drawn.node.textContent.endsWith("plain 299")];
        for (let n = 0; n < 300; n++) { log.take(`Downloading ${n}\\n`.repeat(500), [[0, 500, "installing"]]); drawn.update(); }
        log.take("x".repeat(5e6), []);
        return [...plain, log.size, log.open.length, drawn.node.lastElementChild.previousElementSibling.textContent];
    """
    size, nodes, at_end, after, open_line, fold = call(modules, "jobs/log", script)
    assert size <= 1_000_000
    assert nodes == 1_001
    assert at_end
    assert after <= 1_000_000
    assert open_line == 10_000
    assert fold == "⋯ 150,000 lines of installing, the last: Downloading 299"


def test_thousands_of_lines_come_in_while_the_card_is_watched(
    page: Page, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prints what the page's main thread did for each piece; how fast that is, is no matter of pass or fail."""
    card, job = opened(page, session), Writing(session)
    job.say("start\n")
    card.locator("summary", has_text="Log").click()
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")
    measured: list[tuple[str, float]] = []
    kinds = {
        "lines": ("a plain line, the one numbered {}\n", "5999"),
        "lines of noise": ("Downloading {}\n", "⋯ 6,000"),
    }
    for what, (line, end) in kinds.items():
        before = _busy(devtools)
        for n in range(300):
            job.say("".join(line.format(20 * n + m) for m in range(20)))
        expect(rows(card.get_by_label("Log")).nth(-2)).to_contain_text(end)
        measured.append((what, _busy(devtools) - before))
    expect(rows(card.get_by_label("Log"))).to_have_count(1_001)
    with capsys.disabled():
        for what, seconds in measured:
            print(f"\n6,000 {what} in 300 pieces: {seconds * 1000 / 300:.2f} ms of the main thread each", end="")


def _busy(devtools: Any) -> float:
    """Seconds that the main thread has worked."""
    metrics = devtools.send("Performance.getMetrics")["metrics"]
    return next(float(one["value"]) for one in metrics if one["name"] == "TaskDuration")


def _pieces(text: str, size: int) -> list[tuple[str, Any]]:
    watch = JobWatch(JOB, scenes.SPEND)
    told = [watch.read(text[at : at + size], 1.0)[0] for at in range(0, len(text), size)]
    return [(one.text, one.noise) for one in told if isinstance(one, JobLogged)]
