from __future__ import annotations

import pytest

from agent.events import Compacted, Entry, Event, Guarded, JobAlerted, JobTracked
from agent.screen import Screen


def shown(capsys: pytest.CaptureFixture[str], event: Event) -> str:
    Screen(as_json=False).show(Entry(seq=1, at=1.0, event=event))
    return " ".join(capsys.readouterr().out.split())


def test_the_terminal_tells_of_guards_and_summaries(capsys: pytest.CaptureFixture[str]) -> None:
    guarded = Guarded(guard="empty_reply", step=2, did="retry", text="The reply was [bold]empty[/].")
    assert shown(capsys, guarded) == "The reply was [bold]empty[/]."
    compacted = Compacted(step=9, summary="I did it.", tokens_before=26_000, tokens_after=9_000)
    assert shown(capsys, compacted) == "Steps up to 9 were summarised: 26,000 to 9,000 tokens."


def test_the_terminal_tells_of_dashboards_and_alerts(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        shown(capsys, JobTracked(job="j", url="https://hub/spaces/ada/x"))
        == "Job j Its dashboard is https://hub/spaces/ada/x"
    )
    assert shown(capsys, JobTracked(job="j", note="There is [none].")) == "Job j There is [none]."
    alerted = JobAlerted(job="j", level="warn", text="[red]odd\x1b[2J", step=3)
    assert shown(capsys, alerted) == "Job j warn: [red]odd[2J (step 3)"
