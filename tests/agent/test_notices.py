"""Who is away is told once, by a webhook that may be slow, broken or away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.events import ApprovalAsked
from agent.job_events import JobAlarm, JobAlerted, JobEnded, JobSubmitted
from agent.notices import Notices
from tests.agent.living import code, done, ended, living, wait_for
from tests.doubles.webhook import Hook
from tests.ui.serving import until
from tools.cards import Answer
from tools.problem import Problem
from tools.services import Places
from tools.web import Web

FINAL = code('final_answer("Done.")')


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as hook:
        yield hook


def notices(url: str) -> Notices:
    web = Web(Places())
    return Notices(lambda said: web.tell(url, said), "http://127.0.0.1:7860/", wait=0.01)


def test_a_question_is_told_once_with_the_way_to_it(tmp_path: Path, hook: Hook) -> None:
    with living(tmp_path, [code("ask_user('Which one?')"), FINAL], webhook_url=hook.url, page_url="http://ml/") as (
        session,
        _,
    ):
        run = session.send("Go")
        session.answer(wait_for(session, ApprovalAsked).approval, Answer(verdict="yes", text="that"))
        ended(session, run)
        until(lambda: hook.texts)
        assert hook.texts == [f"ML Intern needs you: Which one? http://ml/?session={session.id}"]


def test_what_nobody_is_asked_is_not_told(tmp_path: Path, hook: Hook) -> None:
    script = [code("try:\n    ask_user('Which?')\nexcept Exception: pass"), FINAL]
    with living(tmp_path, script, webhook_url=hook.url, approve="none") as (session, _):
        assert done(session, "Go").why == "answered"
        session.send("/plan")  # fails: nothing to plan
        until(lambda: hook.texts)
        assert len(hook.texts) == 1
        assert hook.texts[0].startswith("A task could not be finished")


def test_the_end_of_a_job_and_its_alarms_are_told_by_its_title(hook: Hook) -> None:
    told = notices(hook.url)
    told.take("s", JobSubmitted(label="l", job="j", call="c", where="here", title="Train <!channel>"))
    told.take("s", JobAlarm(job="j", rule="nan", text="The loss is not a number since step 10."))
    told.take("s", JobEnded(job="j", status="failed", message="It ran out of memory.", seconds=3.0))
    until(lambda: len(hook.texts) == 2)
    assert hook.texts[0].startswith("Job “Train ‹!channel›”: The loss is not a number since step 10.")
    assert hook.texts[1].startswith("Job “Train ‹!channel›” failed. It ran out of memory.")


def test_what_a_script_warns_of_is_told_and_what_it_only_remarks_is_not(hook: Hook) -> None:
    told = notices(hook.url)
    told.take("s", JobSubmitted(label="l", job="j", call="c", where="here", title="Train"))
    told.take("s", JobAlerted(job="j", level="info", text="Begun"))
    told.take("s", JobAlerted(job="j", level="warn", text="<!channel> odd", step=3))
    told.take("s", JobAlerted(job="j", level="error", text="broken"))
    until(lambda: len(hook.texts) == 2)
    assert hook.texts[0].startswith("Job “Train” tells of a warning: ‹!channel› odd")
    assert hook.texts[1].startswith("Job “Train” tells of an error: broken")


def test_a_webhook_that_fails_for_a_moment_is_told_again(hook: Hook) -> None:
    hook.statuses = [500, 429]
    notices(hook.url).take("s", JobEnded(job="j", status="completed", seconds=1.0))
    until(lambda: len(hook.texts) == 3)


def test_a_webhook_that_refuses_is_left_alone_and_the_next_notice_still_comes(hook: Hook) -> None:
    hook.statuses = [404]
    told = notices(hook.url)
    told.take("s", JobEnded(job="a", status="completed", seconds=1.0))
    told.take("s", JobEnded(job="b", status="completed", seconds=1.0))
    until(lambda: len(hook.texts) == 2)
    assert "“b”" in hook.texts[1]


def test_the_address_of_the_webhook_is_in_no_message() -> None:
    with pytest.raises(Problem) as caught:
        Web(Places()).tell("http://127.0.0.1:9/services/s3cret", {})
    assert "s3cret" not in str(caught.value)
