"""Journals of before: what they asked for is drawn and held against demands as it was then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from agent.demands.rules import violations
from agent.events import ApprovalAsked, ToolStarted
from agent.job_events import JobSubmitting
from agent.journal import Journal
from agent.migration import migrated
from tools.cards import Demand, Spend

# A request as it was written when a place was known by its name alone.
OLD: dict[str, Any] = {
    "kind": "spend", "title": "Größe", "where": "jobs", "namespace": "ada", "flavor": "l4x1", "image": "", "script": "1",
    "dependencies": [], "env": {}, "secrets": [], "token": "none", "volumes": [], "outputs": "", "track": "", "dashboard": "",
    "labels": {}, "nodes": 1, "schedule": "", "runs": 1, "rhythm": "", "due": [], "timeout_seconds": 60, "idle_seconds": 0,
    "price_micro_usd_per_hour": 800000, "likely_micro_usd": None, "steps": 0, "foreseen": None, "why": "", "on_alarm": "ask",
}  # fmt: skip
FREE = {"namespace": "", "flavor": "", "price_micro_usd_per_hour": 0}


def journal(folder: Path, request: dict[str, Any]) -> Journal:
    lines: list[dict[str, Any]] = [
        {"version": 1, "session": "s1", "owner": "ada", "created": 1.0},
        {"seq": 1, "at": 2.0, "event": {"kind": "approval_asked", "approval": "a1", "call": "c1", "request": request}},
        {"seq": 2, "at": 3.0, "event": {"kind": "job_submitting", "label": "l", "call": "c1", "request": request}},
    ]
    written = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    (folder / "s1.jsonl").write_text(written)
    return Journal(folder / "s1.jsonl")


@pytest.mark.parametrize(
    ("changed", "runs", "machines", "stop", "stays"),
    [
        ({}, "script", "l4x1", "Stop this job", False),
        ({"where": "here"} | FREE, "script", "this machine", "Stop this job", True),
        ({"where": "sandbox", "idle_seconds": 600}, "machine", "l4x1", "End this sandbox", False),
        ({"schedule": "@daily", "runs": 3}, "cron", "l4x1", "Stop this schedule", False),
    ],
)
def test_a_request_of_an_earlier_version_gets_the_words_of_its_place(
    tmp_path: Path, changed: dict[str, Any], runs: str, machines: str, stop: str, stays: bool
) -> None:
    old = journal(tmp_path, OLD | changed)
    asked, submitting = (entry.event for entry in old.entries())
    assert isinstance(asked, ApprovalAsked)
    assert isinstance(submitting, JobSubmitting)
    request = submitting.request
    assert isinstance(request, Spend)
    assert (request.place.runs, request.machines, request.place.stop) == (runs, machines, stop)
    assert request == asked.request
    assert request.title == "Größe"
    local = Demand(about="privacy", rule="must", text="keep it local", value="local")
    assert (violations([local], request) == []) == stays
    sent = [json.loads(line)["event"]["request"] for _, line in old.read(0)]  # as the page reads it
    assert [Spend.model_validate(one) for one in sent] == [request] * 2
    old.close()


def test_what_this_version_wrote_is_read_as_it_stands(tmp_path: Path) -> None:
    old = journal(tmp_path, OLD)
    (_, now), *_ = old.read(0)
    assert migrated(now) is now
    args: dict[str, JsonValue] = {"kind": "spend", "where": "jobs"}
    called = ToolStarted(call="c1", tool="hub_info", args=args, by="agent").model_dump_json()
    line = b'{"seq":1,"at":1.0,"event":%s}' % called.encode()
    assert migrated(line) == line
    old.close()
