"""What thinking costs in tokens: the fixed prompt, and three tasks acted out by code and by one JSON call per turn.

Both ways run through the real session, with the same prompt, tools and Hub; only how the scripted model acts differs.
By code it prints what the next step needs; by calls each result comes back whole, as it does with native tool calls.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agent.events import StepStarted, ToolEnded
from tests.agent.living import code, done, events, living
from tests.doubles.hub import FakeHub
from tests.doubles.model_server import Reply
from tests.tokens import count, count_request, spoken

RETIRED = 12_600  # tokens of the retired system's fixed prompt with its 19 tools, by the same count of its source


@dataclass(frozen=True)
class Told:
    """One task: what the user says, and what the model replies in each way."""

    name: str
    message: str
    by_code: tuple[Reply, ...]
    calls: tuple[tuple[str, dict[str, Any]], ...]  # by calls: one per turn, the last one answers

    @property
    def by_calls(self) -> tuple[Reply, ...]:
        return tuple(
            Reply(f"I do it.\n<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>")
            for name, arguments in self.calls
        )


@dataclass(frozen=True)
class Sent:
    """What one task took. fixed: tokens of the system prompt, which is in each request."""

    tokens: int
    fixed: int
    model_calls: int
    tool_calls: int


AUDIT = """\
import json
rows = [{"text": f"pet {n}", "label": n % 3 if n % 10 else None} for n in range(3000)]
labels = [row["label"] for row in rows]
print(json.dumps({"rows": len(rows), "missing": labels.count(None), "largest": max(labels.count(n) for n in range(3))}))
"""
PAPER = "2601.04242"
SUMMARY = "**Easy First** sorts examples by the loss of a weak model and trains on the easy ones first."
REPORT = "ada/pets: 3,000 rows, 300 without a label; the largest class has 34 %. Clean the labels, then it is fit."
TABLE = "| model | licence |\n|---|---|\n| ada/tiny-bert | apache-2.0 |\n| ada/pet-classifier | mit |"
MODELS = ("ada/tiny-bert", "ada/pet-classifier", "bo/secret-llm")

TASKS = (
    Told(
        "paper and summary",
        "Find the paper about ordering small datasets by loss, read its method and results, and summarise it.",
        (
            code(
                "found = papers_search('ordering training data by loss')\n"
                "paper = paper_outline(found[0]['id'])\n"
                "print(found[0]['title'], [s['section'] for s in paper['sections']])"
            ),
            code(f"for part in ('1', '2', '3'):\n    print(paper_read('{PAPER}', section=part)['text'])"),
            code(f"final_answer({SUMMARY!r})"),
        ),
        (
            ("papers_search", {"query": "ordering training data by loss"}),
            ("paper_outline", {"id": PAPER}),
            *(("paper_read", {"id": PAPER, "section": part}) for part in ("1", "2", "3")),
            ("final_answer", {"answer": SUMMARY}),
        ),
    ),
    Told(
        "dataset audit",
        "Find a dataset about pets, audit its labels and report.",
        (
            code(
                "plan(['Find', 'Audit', 'Report'])\n"
                "for row in hub_search('dataset', 'pets'):\n    info = hub_info('dataset', row['id'])\n"
                "    print(info['id'], info['licence'], info['files'][:5])"
            ),
            code(f"end = job_run({AUDIT!r}, title='Audit', timeout='2m')\nprint(end['status'], end['log'])"),
            code(f"plan([{{'text': t, 'status': 'completed'}} for t in ('Find', 'Audit', 'Report')])\nfinal_answer({REPORT!r})"),
        ),
        (
            ("plan", {"todos": ["Find", "Audit", "Report"]}),
            ("hub_search", {"kind": "dataset", "query": "pets"}),
            ("hub_info", {"kind": "dataset", "id": "ada/pets"}),
            ("job_run", {"script": AUDIT, "title": "Audit", "timeout": "2m"}),
            ("plan", {"todos": [{"text": text, "status": "completed"} for text in ("Find", "Audit", "Report")]}),
            ("final_answer", {"answer": REPORT}),
        ),
    ),
    Told(
        "eight calls",
        "Compare the three models on licence, size and lineage with the datasets they name, and look for a demo and a paper.",
        (
            code(
                f"models = [hub_info('model', id) for id in {MODELS!r}]\n"
                "data = [hub_info('dataset', id) for id in ('ada/pets', 'bo/kettles')]\n"
                "demo = hub_info('space', 'ada/pet-namer')\n"
                "for one in [*models, *data, demo]:\n    print(one['id'], one['licence'], one['bytes'], one['base_models'])\n"
                "print([p['title'] for p in papers_search('small text models')], [m['id'] for m in hub_search('model', 'tiny')])"
            ),
            code(f"final_answer({TABLE!r})"),
        ),
        (
            *(("hub_info", {"kind": "model", "id": id}) for id in MODELS),
            *(("hub_info", {"kind": "dataset", "id": id}) for id in ("ada/pets", "bo/kettles")),
            ("hub_info", {"kind": "space", "id": "ada/pet-namer"}),
            ("papers_search", {"query": "small text models"}),
            ("hub_search", {"kind": "model", "query": "tiny"}),
            ("final_answer", {"answer": TABLE}),
        ),
    ),
)  # fmt: skip


def measure_tokens() -> dict[str, float]:
    """Name of a figure -> its value."""
    figures: dict[str, float] = {}
    told = {task.name: (_sent(task, "best"), _sent(task, "tools-only")) for task in TASKS}
    first = next(iter(told.values()))
    figures["fixed prompt, acting by code"] = first[0].fixed
    figures["fixed prompt, acting by calls"] = first[1].fixed
    for name, (by_code, by_calls) in told.items():
        figures[f"{name}: tokens sent, by code"] = by_code.tokens
        figures[f"{name}: tokens sent, one JSON call per turn"] = by_calls.tokens
        figures[f"{name}: code / JSON"] = by_code.tokens / by_calls.tokens
        figures[f"{name}: tool calls per model call, by code"] = by_code.tool_calls / by_code.model_calls
        figures[f"{name}: tool calls per model call, JSON"] = by_calls.tool_calls / by_calls.model_calls
    pairs = list(told.values())
    figures["all tasks: code / JSON"] = sum(c.tokens for c, _ in pairs) / sum(j.tokens for _, j in pairs)
    figures["all tasks: tool calls per model call, by code"] = sum(c.tool_calls for c, _ in pairs) / sum(
        c.model_calls for c, _ in pairs
    )
    return figures


def _sent(task: Told, level: str) -> Sent:
    """Act the task out. Raises RuntimeError when it does not come to its answer: then the figures would mean nothing."""
    script = task.by_code if level == "best" else task.by_calls
    with FakeHub() as hub, TemporaryDirectory(prefix="ml-intern-bench-") as folder, _sandbox(level):
        settings: dict[str, Any] = {"places": hub.places(), "approve": "within-budget", "budget_micro_usd": 1_000_000}
        with living(Path(folder), list(script), **settings) as (session, server):
            end = done(session, task.message)
            calls = events(session, ToolEnded)
            if end.why != "answered" or len(calls) < len(task.calls) - 1 or any(call.why != "done" for call in calls):
                raise RuntimeError(f"{task.name} did not work: {end.message} {[c.message for c in calls if c.message]}")
            bodies = [request.body for request in server.requests]
            return Sent(
                tokens=sum(count_request(body) for body in bodies),
                fixed=count(spoken(bodies[0]["messages"][0])),
                model_calls=len(events(session, StepStarted)),
                tool_calls=len(calls),
            )


@contextmanager
def _sandbox(level: str) -> Iterator[None]:
    before = os.environ.get("SANDBOX")
    os.environ["SANDBOX"] = level
    try:
        yield
    finally:
        if before is None:
            del os.environ["SANDBOX"]
        else:
            os.environ["SANDBOX"] = before
