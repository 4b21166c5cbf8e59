from __future__ import annotations

import pytest

from agent.events import Compacted, Entry, Event, Guarded, JobBilled
from agent.screen import Screen


def shown(capsys: pytest.CaptureFixture[str], event: Event) -> str:
    Screen(as_json=False).show(Entry(seq=1, at=1.0, event=event))
    return " ".join(capsys.readouterr().out.split())


def test_the_terminal_tells_of_guards_and_summaries(capsys: pytest.CaptureFixture[str]) -> None:
    guarded = Guarded(guard="empty_reply", step=2, did="retry", text="The reply was [bold]empty[/].")
    assert shown(capsys, guarded) == "The reply was [bold]empty[/]."
    compacted = Compacted(step=9, summary="I did it.", tokens_before=26_000, tokens_after=9_000)
    assert shown(capsys, compacted) == "Steps up to 9 were summarised: 26,000 to 9,000 tokens."


def test_the_terminal_tells_what_a_job_was_billed_or_why_nobody_knows(capsys: pytest.CaptureFixture[str]) -> None:
    billed = JobBilled(job="ada/1", label="l", micro_usd=270_000)
    assert shown(capsys, billed) == "Job ada/1 was billed at $0.27"
    none = JobBilled(job="ada/1", label="l", micro_usd=None, message="What [b]x[/] is billed cannot be read.")
    assert shown(capsys, none) == "Job ada/1: What [b]x[/] is billed cannot be read. What was reckoned counts."
