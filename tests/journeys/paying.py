"""An app whose user pays for jobs on the fake Hub, and one conversation that asks for a job: as its user sees it, and
as the Hub, the journal and the webhook have it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Locator, Page, expect

from agent.events import ApprovalAnswered, ApprovalAsked, Entry, Event, RunEnded
from agent.job_events import JobAlarm, JobEnded, JobLogged
from agent.money.ledger import folded
from tests.agent.living import code
from tests.doubles.hub import FakeHub, Job
from tests.doubles.hub.jobs import HARDWARE
from tests.doubles.model_server import ModelServer, by_turn, by_words
from tests.doubles.webhook import Hook
from tests.journeys.running import App
from tests.ui.serving import until
from tools.money import usd

BUDGET = 5_000_000  # micro-dollars
MINUTE = 13_333  # micro-dollars of an L4, at the fake Hub's price
LAB = "ada-lab"
TASK = "Train a classifier"


def _asking(more: str = "") -> str:
    return (
        f"end = job_run('print(1)', title='{TASK}', flavor='l4x1', expected='4m'{more})\n"
        "final_answer(f\"It ended: {end['status']}. {end['message']}\")"
    )


REPLIES = by_words(
    {
        "for the lab": by_turn([code(_asking(f", namespace='{LAB}'")), code("final_answer('It was not started.')")]),
        "ask again": by_turn([code(_asking()), code(_asking())]),
        "": by_turn([code(_asking()), code("final_answer('It was not started.')")]),
    }
)


@dataclass
class Payer:
    """The app, and what it talks to."""

    hub: FakeHub
    hook: Hook
    app: App
    data: Path

    def calm(self) -> None:
        """The Hub as it is on a good day."""
        jobs = self.hub.jobs
        self.hub.faults.clear()
        jobs.hardware = [dict(item) for item in HARDWARE]
        jobs.plays, jobs.replays, jobs.skew, jobs.cancels_take, jobs.lists_after = None, list, 0.0, 0.0, 0.0


@contextmanager
def paying(data: Path) -> Iterator[Payer]:
    with FakeHub() as hub, Hook() as hook, ModelServer(REPLIES) as server:
        hub.people["ada"]["orgs"] = [{"name": LAB}]
        settings = {"HF_TOKEN": "hf_ada", "BUDGET": str(BUDGET / 1e6), "WEBHOOK_URL": hook.url}
        with App(data, MODEL_BASE_URL=server.base_url, **settings, **hub.environ()) as app:
            yield Payer(hub, hook, app, data)


class Task:
    """One conversation that asks for a job."""

    def __init__(self, payer: Payer, page: Page) -> None:
        self.payer, self.page = payer, page
        self.card: Locator = page.locator("#ml-timeline-place .job")
        self.asked: Locator = page.locator(".approval")

    def ask(self, words: str = TASK) -> Task:
        """In a session of its own."""
        page = self.page
        if not page.url.startswith(self.payer.app.url):
            page.goto(self.payer.app.url)
        expect(page.locator(".sessions li").first).to_be_visible()
        page.get_by_role("button", name="New task").click()
        expect(page.locator(".bubble")).to_have_count(0)
        page.get_by_label("Your message").fill(words)
        page.get_by_label("Your message").press("Enter")
        expect(self.asked.last).to_be_visible()
        return self

    def approve(self) -> None:
        self.page.locator(".approval.pending").get_by_role("button", name="Approve").click()

    def start(self) -> Job:
        """Ask, approve, and wait until the Hub has the job."""
        self.ask().approve()
        return self.there

    @property
    def there(self) -> Job:
        """Its job on the Hub, once it is there."""
        until(lambda: self.jobs)
        return self.jobs[0]

    @property
    def session(self) -> str:
        return parse_qs(urlsplit(str(self.page.url)).query)["session"][0]

    @property
    def jobs(self) -> list[Job]:
        """What the Hub has of it."""
        label = f"{self.session}-"
        return [
            job for job in list(self.payer.hub.jobs.all.values()) if job.body["labels"]["ml-intern"].startswith(label)
        ]

    @property
    def entries(self) -> list[Entry]:
        path = self.payer.data / "sessions" / "sessions" / f"{self.session}.jsonl"
        whole = path.read_text("utf-8").rpartition("\n")[0]
        return [Entry.model_validate_json(line) for line in whole.split("\n")[1:]]

    @property
    def events(self) -> list[Event]:
        return [entry.event for entry in self.entries]

    @property
    def log(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, JobLogged))

    def shows(self, state: str, *words: str | re.Pattern[str]) -> None:
        """The card's state and what is written on it."""
        expect(self.card.last.locator(".chip").first).to_have_text(state)
        for one in words:
            expect(self.card.last).to_contain_text(one)

    def opened_log(self) -> Locator:
        """What the card shows of the log."""
        log = self.card.last.get_by_label("Log")
        if not log.is_visible():
            self.card.last.locator("summary", has_text="Log").click()
        return log

    def shows_log(self, *lines: str) -> None:
        """Each line once, in order, and none that is still coming in."""
        expect(self.opened_log().locator(".log-row")).to_have_text([*lines, ""])

    def is_over(self, spent: int, *, started: int = 1, answered: bool = True) -> None:
        """Whatever happened: no job twice and none left, no money lost, held or spent twice, and each event told once."""
        events = self._closed(answered)
        compute = folded(self.entries).compute
        assert (compute.spent, compute.held, compute.limit) == (spent, 0, BUDGET)
        kinds = Counter(event.kind for event in events)
        assert kinds["money_reserved"] == kinds["money_settled"] + kinds["money_released"]
        assert kinds["job_submitted"] == kinds["job_ended"] == kinds["money_settled"] == started
        assert len(self.jobs) == started
        assert all(job.over for job in self.jobs)
        money = self.page.locator(".account", has_text="Compute")
        expect(money.locator(".sum")).to_have_text(f"{usd(spent)} / $5.00")
        expect(money).not_to_contain_text("held")
        to_be_told = [event for event in events if _is_told(event)]
        until(lambda: len(self.told) >= len(to_be_told))
        assert len(self.told) == len(to_be_told), self.told

    def _closed(self, answered: bool) -> list[Event]:
        """All events, once the run has ended and the journal holds no money any more."""
        expect(self.page.locator(".end").last).to_be_visible()
        until(lambda: folded(self.entries).compute.held == 0)
        ends = [event for event in self.events if isinstance(event, RunEnded)]
        assert [end.why == "answered" for end in ends] == [answered]
        return self.events

    @property
    def told(self) -> list[str]:
        """What the webhook was told of it."""
        return [text for text in self.payer.hook.texts if text.endswith(f"?session={self.session}")]

    @property
    def answers(self) -> list[ApprovalAnswered]:
        return [event for event in self.events if isinstance(event, ApprovalAnswered)]


def _is_told(event: Event) -> bool:
    """Whether who is away must hear of it."""
    failed = isinstance(event, RunEnded) and event.why == "failed"
    return failed or isinstance(event, ApprovalAsked | JobEnded | JobAlarm)
