"""The page's modules by themselves, in the browser they are made for."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, get_args

import pytest
from playwright.sync_api import Page

from agent.events import BudgetSet, Entry, Event, MoneyReleased, MoneyReserved, MoneySettled
from agent.job_events import JobBilled
from agent.money.ledger import folded
from tests.agent.recorded import entries
from tools.cards import Card, Request
from tools.money import usd, usd_exact, usd_free
from ui.assets import HASH
from ui.routes import PREFIX

pytestmark = pytest.mark.journey


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
    parted = call(modules, "story/story", "return values[0].map(m.parted)", list(replies))
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


def test_the_page_writes_every_sum_of_money_as_the_server_does(modules: Page) -> None:
    dice = random.Random(5)
    sums = [
        0,
        1,
        9,
        10,
        99,
        101,
        99_000,
        99_001,
        99_999,
        100_000,
        100_001,
        205_000,
        999_999,
        1_000_000,
        100_000_000_000,
    ]
    sums += [round(10 ** dice.uniform(0, 11)) for _ in range(3000)]
    sums += [-one for one in sums]
    script = "return values[0].map((one) => [m.dollars(one), m.dollarsFree(one), m.dollarsExact(one)])"
    written = call(modules, "words", script, sums)
    assert written == [[usd(one), usd_free(one), usd_exact(one)] for one in sums]
    assert written[sums.index(205_000)] == ["$0.21", "$0.20", "$0.205"]


def test_time_and_measurements_are_told_in_the_digits_that_matter(modules: Page) -> None:
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


def test_who_looks_elsewhere_is_told_of_what_needs_them_and_of_nothing_old(modules: Page) -> None:
    script = """
        const shown = [];
        class Seen extends EventTarget {
          static permission = "granted";
          constructor(title, { body, tag }) { super(); shown.push([body, tag]); }
        }
        Object.defineProperty(window, "Notification", { value: Seen });
        Object.defineProperty(document, "hidden", { get: () => true });
        const now = Date.now() / 1000;
        const asked = (id, answer) => [id, { answer }];
        const story = { approvals: new Map([asked("open", null), asked("decided", {})]), jobs: new Map([["j", { title: "Train" }]]) };
        const page = { session: "s", story };
        const say = (seq, at, event) => m.notice({ seq, at, event }, page, () => {});
        const request = { kind: "spend", title: "Train it" };
        say(1, now, { kind: "approval_asked", approval: "open", request });
        say(2, now, { kind: "approval_asked", approval: "decided", request });
        say(3, now - 3600, { kind: "job_ended", job: "j", status: "failed", message: "" });
        say(4, now, { kind: "job_ended", job: "j", status: "failed", message: "Out of memory." });
        say(5, now, { kind: "text", text: "word" });
        await new Promise((after) => setTimeout(after, 600));
        return shown;
    """
    assert call(modules, "sides/notices", script) == [
        ["Train: failed. Out of memory.", "s-4"],
        ["Needs your approval: Train it", "s-1"],
    ]


def test_the_page_folds_money_and_bills_as_the_server_does(modules: Page) -> None:
    for seed in range(40):
        dice, events = random.Random(seed), list[Event]()
        for n in range(60):
            label, amount = f"job-{dice.randrange(8)}", dice.randrange(1, 900_000)
            bill = JobBilled(job="j", label=label, micro_usd=dice.choice([None, amount]))
            ends: list[Event] = [MoneySettled(hold=label, micro_usd=amount), MoneyReleased(hold=label), bill]
            fresh = f"job-{n // 8}"  # a name is held for once
            held = any(isinstance(one, MoneyReserved) and one.hold == fresh for one in events)
            begins: list[Event] = [] if held else [MoneyReserved(hold=fresh, micro_usd=amount)]
            events.append(dice.choice([*begins, *ends, *ends, BudgetSet(micro_usd=amount)]))
        ledger = folded(Entry(seq=n, at=1.0, event=event) for n, event in enumerate(events, start=1))
        script = """
            const story = new m.Story();
            values[0].forEach((event, n) => story.take({seq: n + 1, at: 1, event}));
            const {spent, held, limit} = story.money.compute;
            return [spent, held, limit, story.money.free("compute")];
        """
        told = call(modules, "story/story", script, [event.model_dump() for event in events])
        compute = ledger.compute
        assert told == [compute.spent, compute.held, compute.limit, ledger.free("compute")], seed


UNSHOWN: dict[str, str] = {}  # a kind of event that the page leaves out -> why


def kinds(union: object) -> list[str]:
    """Of an Annotated union of values: what each says of its kind."""
    return sorted(get_args(one.model_fields["kind"].annotation)[0] for one in get_args(get_args(union)[0]))


def known(page: Page, module: str, table: str) -> list[str]:
    """The kinds that a table of a module knows what to do with."""
    script = f"""
        const does = (act) => typeof act === "function" || Object.values(act).every(does);
        return Object.keys(m.{table}).filter((kind) => does(m.{table}[kind])).sort();
    """
    return list(call(page, module, script))


def test_the_story_knows_every_kind_of_event(modules: Page) -> None:
    assert sorted([*known(modules, "story/story", "TELLINGS"), *UNSHOWN]) == kinds(Event)


def test_the_page_draws_every_kind_of_card(modules: Page) -> None:
    assert known(modules, "cards", "CARDS") == kinds(Card)


def test_the_page_asks_every_kind_of_request_and_shows_how_it_was_answered(modules: Page) -> None:
    assert known(modules, "conversation/approval", "REQUESTS") == kinds(Request)


def test_the_page_shows_a_session_of_an_earlier_version_as_the_server_reads_it(modules: Page, tmp_path: Path) -> None:
    read = entries(tmp_path)
    script = """
        const story = new m.Story();
        values[0].forEach((entry) => story.take(entry));
        const jobs = [...new Set(story.jobs.values())].filter((job) => job.job).map((job) => `${job.title}: ${job.status}`);
        return [story.money.compute.spent, story.money.thinking.spent, story.run, jobs];
    """
    ledger = folded(read)
    assert call(modules, "story/story", script, [entry.model_dump(mode="json") for entry in read]) == [
        ledger.compute.spent,
        ledger.thinking.spent,
        None,
        [
            "A look on this machine: completed",
            "Dry run: completed",
            "Train on pets: completed",
            "Open a sandbox on cpu-basic: cancelled",
            "Every week: cancelled",
        ],
    ]


def test_a_machine_for_code_is_no_news_of_what_the_agent_does(modules: Page) -> None:
    script = """
        const story = new m.Story();
        const request = { kind: "spend", title: "Run code", where: "sandbox", purpose: values[0] };
        const events = [
            { kind: "user_said", run: "r1", text: "Go", files: [] },
            { kind: "step_started", run: "r1", step: 1, model: "m" },
            { kind: "job_submitting", label: "s-machine1", call: "machine1", request },
            { kind: "job_submitted", label: "s-machine1", job: "ada/1", call: "machine1", where: "sandbox", title: "Run code", url: "" },
        ];
        events.forEach((event, n) => story.take({ seq: n + 1, at: 1, event }));
        return m.status(story).text;
    """
    assert "Run code" not in call(modules, "story/story", script, "code")
    assert call(modules, "story/story", script, "task") == "Run code: running…"
