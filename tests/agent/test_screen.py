from __future__ import annotations

import pytest

from agent.events import ApprovalAsked, Compacted, Entry, Event, Guarded
from agent.screen import Screen
from tests.doubles.jobs import spend
from tools.jobs.cron import planned


def shown(capsys: pytest.CaptureFixture[str], event: Event) -> str:
    Screen(as_json=False).show(Entry(seq=1, at=1.0, event=event))
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
