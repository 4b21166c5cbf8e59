"""`python -m bench [--only PART] [--quick]`: measure, print the table, end with one line of JSON. Always exits 0 when it could measure."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.browser import measure_pages
from bench.measure import Figures, Session, measure
from bench.model import Model
from bench.ours import OurSession, our_app
from bench.peer import PeerSession, peer_app
from bench.process import App
from bench.report import Report
from bench.stop import measure_stops
from bench.task import Task
from bench.tokens import RETIRED
from bench.tokens import measure_tokens as measured_tokens
from tests import browser

PARTS = ("ours", "peer", "fifty", "browser", "stop", "tokens")


def main() -> int:
    options = _options()
    parts = [options.only] if options.only else PARTS
    report = Report(quick=options.quick)
    with Model() as model:
        for part in parts:
            print(f"measuring: {part} …", file=sys.stderr, flush=True)
            MEASURES[part](model, report)
    print(report.table())
    print(report.line())
    return 0


def measure_ours(model: Model, report: Report) -> None:
    with _app(our_app, model) as app:
        report.ours |= _one_and_eight(app, model, lambda: OurSession(app), name="ours", quick=report.quick)


def measure_peer(model: Model, report: Report) -> None:
    with _app(peer_app, model) as app:
        report.peer |= _one_and_eight(app, model, lambda: PeerSession(app), name="peer", quick=report.quick)
    report.notes += [
        "GradioUI is stock: one agent, one run at a time. Sessions wait for each other; its latencies begin when the model speaks.",
        "In its favour, GradioUI forgets each run (reset_agent_memory=True), so that prompts do not grow from run to run.",
    ]


def measure_fifty(model: Model, report: Report) -> None:
    sessions, steps = (8, 2) if report.quick else (50, 3)
    for part, apart in (("fifty", 4.0 / sessions), ("fifty at once", 0.0)):  # four seconds: one step
        with _app(our_app, model) as app:
            _warm_up(app, model, lambda: OurSession(app), name=part.split()[-1])
            tasks = [Task(f"{part.replace(' ', '-')}-{n}", steps, delay=0.02) for n in range(sessions)]
            report.ours[part] = measure(app, model, lambda: OurSession(app), tasks=tasks, spread=apart)
    report.notes += [
        f"fifty: {sessions} sessions at 50 tokens a second each, which begin evenly over the time of one step.",
        f"fifty at once: the same, but all {sessions} begin and end their steps at the same moment: the worst case, not judged.",
    ]


def measure_browser(model: Model, report: Report) -> None:
    chromium = browser.find()
    if chromium is None:
        report.notes.append(browser.HELP)
        return
    tasks = {steps: Task(f"page-{steps}", 2, delay=0.02) for steps in ((20,) if report.quick else (100, 500))}
    with TemporaryDirectory(prefix="ml-intern-bench-") as folder:
        report.pages += measure_pages(model, Path(folder), chromium, tasks=tasks)


def measure_stop(model: Model, report: Report) -> None:  # brings its own model
    report.stops |= measure_stops()


def measure_tokens(model: Model, report: Report) -> None:  # brings its own model
    report.tokens |= measured_tokens()
    report.notes += [
        "tokens: by the o200k count, of the messages that were really sent. One JSON call per turn: the same session, prompt "
        "and tools, acting by calls.",
        f"tokens: the retired system's fixed prompt is {RETIRED:,} (system prompt and 19 tools, the same count of its source; not measured here).",
    ]


MEASURES: dict[str, Callable[[Model, Report], None]] = {
    "ours": measure_ours,
    "peer": measure_peer,
    "fifty": measure_fifty,
    "browser": measure_browser,
    "stop": measure_stop,
    "tokens": measure_tokens,
}


def _one_and_eight(
    app: App, model: Model, session: Callable[[], Session], *, name: str, quick: bool
) -> dict[str, Figures]:
    _warm_up(app, model, session, name=name)
    steps, many = (4, 2) if quick else (20, 8)
    return {
        "one": measure(app, model, session, tasks=[Task(f"{name}-one", steps)]),
        "eight": measure(app, model, session, tasks=[Task(f"{name}-{n}", steps) for n in range(many)]),
    }


def _warm_up(app: App, model: Model, session: Callable[[], Session], *, name: str) -> None:
    """A short run that is not counted: what an app loads with its first run is loaded."""
    measure(app, model, session, tasks=[Task(f"{name}-warm-up", steps=2, tokens=20)])


@contextmanager
def _app(start: Callable[[str, Path], AbstractContextManager[App]], model: Model) -> Iterator[App]:
    with TemporaryDirectory(prefix="ml-intern-bench-") as folder, start(model.base_url, Path(folder)) as app:
        yield app


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure this app beside smolagents' GradioUI."
    )
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    parser.add_argument("--quick", action="store_true", help="shorter runs, to try the bench; the bars are not judged")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
