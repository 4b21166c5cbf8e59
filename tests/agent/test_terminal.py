from __future__ import annotations

import pytest

from agent.events import (
    ApprovalAsked,
    CodeWritten,
    Compacted,
    Entry,
    Event,
    Guarded,
    Noticed,
    RunEnded,
    StepStarted,
    ToolShowed,
)
from agent.job_events import JobAlarm, JobAlerted, JobBilled, JobEnded, JobSubmitted, JobTracked
from agent.terminal import Terminal
from tests.doubles.jobs import spend
from tools.cards import (
    Card,
    FileMade,
    Foreseen,
    PaperOpened,
    PaperRow,
    PapersFound,
    PlanMade,
    RepoRow,
    ReposFound,
    Todo,
)
from tools.jobs.cron import planned


def shown(capsys: pytest.CaptureFixture[str], event: Event) -> str:
    Terminal(as_json=False).show(Entry(seq=1, at=1.0, event=event))
    return " ".join(capsys.readouterr().out.split())


def test_the_terminal_tells_of_guards_and_summaries(capsys: pytest.CaptureFixture[str]) -> None:
    guarded = Guarded(guard="empty_reply", step=2, did="retry", text="The reply was [bold]empty[/].")
    assert shown(capsys, guarded) == "The reply was [bold]empty[/]."
    compacted = Compacted(step=9, summary="I did it.", tokens_before=26_000, tokens_after=9_000)
    assert shown(capsys, compacted) == "Steps up to 9 were summarised: 26,000 to 9,000 tokens."


def test_the_terminal_tells_when_a_schedule_runs(capsys: pytest.CaptureFixture[str]) -> None:
    request = planned(spend(schedule="0 9 * * 1", runs=2), 0.0)
    assert (
        "Repeats at 09:00 on Monday, UTC, 2 times: the first on 05 Jan 1970 09:00, the last by 12 Jan 1970 09:00."
        in (shown(capsys, ApprovalAsked(approval="a", call="c", request=request)))
    )


def test_the_terminal_tells_what_a_dry_run_foretells(capsys: pytest.CaptureFixture[str]) -> None:
    def asked(**more: object) -> str:
        known = {"job": "ada/[b]", "on": "l4x1", "steps_per_second": 2.0, "words": "from 2 steps/s in job ada/[b]"}
        request = spend(foreseen=Foreseen.model_validate(known | more), timeout_seconds=60)
        return shown(capsys, ApprovalAsked(approval="a", call="c", request=request))

    assert "Foreseen: from 2 steps/s in job ada/[b]." in asked()
    interval = {"seconds_low": 61.0, "seconds_high": 90.0, "micro_usd_low": 26_666, "micro_usd_high": 39_999}
    told = asked(**interval)
    assert "Likely $0.027 to $0.04, from 2 steps/s in job ada/[b]." in told
    assert "past its time limit: it would be cut off unfinished." in told
    assert "Likely $0.027" in asked(**interval | {"seconds_low": 59.0})


def test_the_terminal_tells_of_dashboards_and_alerts(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        shown(capsys, JobTracked(job="j", url="https://hub/spaces/ada/x"))
        == "Job j Its dashboard is https://hub/spaces/ada/x"
    )
    assert shown(capsys, JobTracked(job="j", note="There is [none].")) == "Job j There is [none]."
    alerted = JobAlerted(job="j", level="warn", text="[red]odd\x1b[2J", step=3)
    assert shown(capsys, alerted) == "Job j warn: [red]odd[2J (step 3)"


def test_the_terminal_tells_what_a_job_was_billed_or_why_nobody_knows(capsys: pytest.CaptureFixture[str]) -> None:
    billed = JobBilled(job="ada/1", label="l", micro_usd=270_000)
    assert shown(capsys, billed) == "Job ada/1 was billed at $0.27"
    none = JobBilled(job="ada/1", label="l", micro_usd=None, message="What [b]x[/] is billed cannot be read.")
    assert shown(capsys, none) == "Job ada/1: What [b]x[/] is billed cannot be read. What was reckoned counts."


def test_the_terminal_tells_of_alarms_and_why_a_job_ended(capsys: pytest.CaptureFixture[str]) -> None:
    alarm = JobAlarm(job="j", rule="nan", text="loss is not a number at step [5].", step=5)
    assert shown(capsys, alarm) == "Job j alarm: loss is not a number at step [5]."
    ended = JobEnded(job="j", status="cancelled", message="It was stopped.", seconds=61.2)
    assert shown(capsys, ended) == "Job j cancelled after 61 s: It was stopped."


def card(capsys: pytest.CaptureFixture[str], shown: Card) -> list[str]:
    Terminal(as_json=False).show(Entry(seq=1, at=1.0, event=ToolShowed(call="c", card=shown)))
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_the_terminal_says_in_words_what_a_tool_showed(capsys: pytest.CaptureFixture[str]) -> None:
    rows = tuple(PaperRow(id=f"2305.{n}", title=f"Paper [b]{n}[/]") for n in range(6))
    assert card(capsys, PapersFound(query="[red]dpo", source="arXiv", papers=rows)) == [
        "6 papers “[red]dpo”, arXiv",
        "  2305.0 Paper [b]0[/]",
        "  2305.1 Paper [b]1[/]",
        "  2305.2 Paper [b]2[/]",
        "  2305.3 Paper [b]3[/]",
        "  and 2 more",
    ]
    repo = RepoRow(id="ada/pets", url="https://hub/ada/pets", facts=("2 downloads", "[mit]"))
    assert card(capsys, ReposFound(repo_kind="dataset", query="pets", repos=(repo,))) == [
        "1 dataset “pets”",
        "  ada/pets · 2 downloads · [mit]",
    ]
    part = PaperOpened(id="2305.1", title="[i]", source="PDF", section="3 Method", text="We do\x1b[2J it.")
    assert card(capsys, part) == ["Paper [i] (2305.1, PDF, 3 Method)", "We do[2J it."]
    outline = PaperOpened(id="2305.1", title="", source="PDF", sections=("1 Introduction", "  1.1 [x]"))
    assert card(capsys, outline) == ["Paper 2305.1 (2305.1, PDF)", "  1 Introduction", "    1.1 [x]"]
    todos = (Todo(text="Read", status="completed"), Todo(text="Train [x]", status="in_progress"), Todo(text="Tell"))
    assert card(capsys, PlanMade(todos=todos)) == [
        "Plan 1 of 3 completed",
        "  [x] Read",
        "  [›] Train [x]",
        "  [ ] Tell",
    ]
    assert card(capsys, FileMade(path="work/[a].bin", bytes=12_345, job="j")) == [
        "File work/[a].bin, 12,345 bytes, of job j"
    ]


def test_nothing_that_others_wrote_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b[2J[red]x[/]"
    for event in (
        CodeWritten(step=1, code=hostile),
        JobSubmitted(label="l", job=hostile, call="c", where="jobs", title=hostile),
        Noticed(level="info", text=hostile),
        RunEnded(run="r", why="failed", message=hostile),
        StepStarted(run="r", step=1, model=hostile),
    ):
        assert "[2J[red]x[/]" in shown(capsys, event)
