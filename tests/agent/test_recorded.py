"""A session that an earlier version of this app wrote: it is listed, opened, shown, resumed and gone on with."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.events import Compacted, Entry, StepStarted
from agent.job_events import JobEnded, JobLogged
from agent.money.ledger import Account, folded
from agent.sessions import Sessions
from agent.settings import Settings
from agent.terminal import SILENT, Terminal
from tests.agent.living import code, done, events, everything, wait_for
from tests.agent.recorded import HUB, ID, LINES, OWNER, ROUTER, entries, written
from tests.doubles.hub import FakeHub, Job
from tests.doubles.model_server import ModelServer, Reply
from tests.doubles.router_list import model, provider
from tools.services import Places

LISTED = model("zai-org/GLM-5.3-Flash", provider("novita", 10_240))
JOBS = [
    ("here-558bc65bae460961", "A look on this machine", "here", "completed"),
    ("ada/6a0000000000000000000001", "Dry run", "jobs", "completed"),
    ("ada/6a0000000000000000000002", "Train on pets", "jobs", "completed"),
    ("ada/6a0000000000000000000003", "Open a sandbox on cpu-basic", "sandbox", "cancelled"),
    ("ada/schedule.6a0000000000000000000004.2.before-the-house-c21", "Every week", "jobs", "cancelled"),
]


@contextmanager
def app(
    folder: Path, hub: FakeHub, lines: Sequence[str] = LINES, replies: Sequence[Reply] = ()
) -> Iterator[tuple[Sessions, ModelServer]]:
    """This app, started on what the earlier one left; the Hub and the router are where the session knows them."""
    with ModelServer(replies, models=[LISTED]) as server:
        places = Places.from_environ({**hub.environ(), "HF_ROUTER_URL": server.base_url})
        written(folder, [line.replace(ROUTER, server.base_url).replace(HUB, hub.url) for line in lines])
        sessions = Sessions(Settings(data_dir=folder, places=places, hf_token="hf_ada"))
        try:
            yield sessions, server
        finally:
            sessions.close()


def test_an_earlier_session_is_listed_with_its_title_and_how_it_ended(tmp_path: Path, hub: FakeHub) -> None:
    with app(tmp_path, hub) as (sessions, _):
        (summary,) = sessions.list(OWNER)
        assert summary.title == "Fine-tune ada/tiny-bert on ada/pets with an open licence, for at most $5 in all."
        assert (summary.id, summary.state, summary.entries) == (ID, "stopped", len(LINES) - 1)


def test_an_earlier_session_opens_as_it_was_and_can_be_followed(tmp_path: Path, hub: FakeHub) -> None:
    with app(tmp_path, hub) as (sessions, _):
        sessions.recover()
        session = sessions.open(ID, OWNER)
        told = list(session.follow())
        assert told[-1].seq == session.last_seq == len(LINES) - 1  # nothing was left open, so nothing is added
        assert {entry.event.kind for entry in told} == {json.loads(line)["event"]["kind"] for line in LINES[1:]}
        compute, thinking = folded(told).compute, folded(told).thinking
        assert compute == Account(limit=430_000, spent=53_666)
        assert thinking == Account(limit=500_000, spent=19_976)


def test_the_jobs_of_an_earlier_session_are_told_as_they_ended(tmp_path: Path, hub: FakeHub) -> None:
    ask = code("for row in jobs_list():\n    print(*[row[k] for k in ('job', 'title', 'where', 'status')], sep=' | ')")
    with app(tmp_path, hub, replies=[ask, code("final_answer('Those.')")]) as (sessions, server):
        assert done(sessions.open(ID, OWNER), "Which jobs were there?").answer == "Those."
        read = server.requests[-1].body["messages"][-1]["content"]
        assert [" | ".join(job) in read for job in JOBS] == [True] * len(JOBS)


def test_an_earlier_session_goes_on_from_its_last_step_with_what_it_remembers(tmp_path: Path, hub: FakeHub) -> None:
    with app(tmp_path, hub, replies=[code("final_answer('Gone on.')")]) as (sessions, server):
        session = sessions.open(ID, OWNER)
        assert done(session, "Go on.").answer == "Gone on."
        assert events(session, StepStarted)[-1].step == 31
        read = "\n".join(str(message["content"]) for message in server.requests[-1].body["messages"])
        assert events(session, Compacted)[0].summary in read
        assert "Use bo/kettles instead." not in read  # it was taken back
        assert "on ada/pets" in read


def test_an_earlier_session_that_was_cut_off_while_a_job_ran_follows_it_to_its_end(
    tmp_path: Path, hub: FakeHub
) -> None:
    (begun,) = (n for n, line in enumerate(LINES) if '"job_submitted"' in line and '"title":"Dry run"' in line)
    body = {"dockerImage": "uv", "command": [], "arguments": [], "environment": {}, "flavor": "l4x1"}
    there = Job(hub.jobs, JOBS[1][0].removeprefix("ada/"), "ada", "ada", body, time.time())
    hub.jobs.all[there.id] = there.run()
    with app(tmp_path, hub, LINES[: begun + 1]) as (sessions, _):
        sessions.recover()
        session = sessions.open(ID, OWNER)
        assert sessions.list(OWNER)[0].state == "failed"
        there.say("{'step': 21, 'loss': 0.1}")
        wait_for(session, JobLogged, lambda event: "'step': 21" in event.text)
        there.end(ran=95)
        assert wait_for(session, JobEnded, lambda event: event.job == JOBS[1][0]).status == "completed"
        assert folded(Entry(seq=1, at=1.0, event=one) for one in everything(session)).compute.spent == 2 * 13_333


def test_the_terminal_shows_each_kind_of_event_that_it_does_not_leave_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    screen, drawn, silent = Terminal(as_json=False), set[str](), set[str]()
    for entry in entries(tmp_path):
        screen.show(entry)
        (drawn if capsys.readouterr().out else silent).add(entry.event.kind)
    assert silent - drawn == {kind.model_fields["kind"].default for kind in SILENT}
