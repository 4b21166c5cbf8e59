"""Code in a rented machine: the same sessions, on the user's account, and no machine that outlives them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.sandbox.inside import landlock
from tests import ROOT
from tests.doubles.hub import FakeHub, Fault
from tests.sandbox import WHOLE

slow = pytest.mark.skipif(not WHOLE, reason="it waits for seconds; make test-sandbox runs it")
pytestmark = pytest.mark.skipif(sys.platform != "linux" or not landlock.abi(), reason="needs Linux with Landlock")


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        fake.jobs.plays = lambda job: job.run()
        fake.sandboxes.whole = True
        yield fake
        assert ([job.id for job in fake.jobs.all.values() if not job.over], fake.sandboxes.refused) == ([], [])


def session(hub: FakeHub, folder: Path, *steps: object, do: str = "", **order: object) -> dict[str, Any]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    machine = str(folder / "machine")
    told = {"hub": hub.url, "folder": str(folder / "here"), "machine": machine, "port": port, "do": do, "steps": steps}
    done = subprocess.run(
        [sys.executable, "-m", "tests.sandbox.rented"],
        input=json.dumps(told | order),
        cwd=ROOT,
        env={**os.environ, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "hf_of_nobody"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    return dict(json.loads(done.stdout))


def test_a_session_works_as_at_home_shut_in_and_without_a_token_of_the_user(hub: FakeHub, tmp_path: Path) -> None:
    attacks = (
        "import os, socket\n"
        "def refused(act, *given):\n    try: act(*given)\n    except OSError: return True\n"
        "[refused(open, '/etc/passwd'), refused(os.listdir, '/proc'), refused(os.fork), refused(os.listdir, '../..'),"
        f" refused(socket.create_connection, ('127.0.0.1', {hub.url.rpartition(':')[2]}), 1)]"
    )
    found = session(
        hub,
        tmp_path,
        "x = [1, 2]\nprint('h\u00e9llo')\nadd(20, 22)",
        {"upload": "data.csv", "text": "a,b"},
        "open('../uploads/data.csv').read(), len(rows(400_000)), open('made.txt', 'w').write('by the code')",
        "1 / 0",
        attacks,
        {"code": "while True: pass", "stop_after": 0.5},
        {"press": "stop"},
        "import os\n(x, 'HF_TOKEN' in os.environ, 'SBX_TOKEN' in os.environ)",
        "os._exit(3)",
        "x",
    )
    first, files, wrong, attacked, stopped, kept, lost, again = found["steps"]
    assert (first["output"], first["value"], found["told"]) == ("h\u00e9llo\n", "42", "h\u00e9llo\n")
    assert files["value"] == "('a,b', 400000, 11)"
    assert wrong["error"].endswith("ZeroDivisionError: division by zero\n")
    assert attacked["value"] == "[True, True, True, True, True]"
    assert stopped["error"] == "stopped"
    assert kept["value"] == "([1, 2], False, False)"
    assert lost["error"].startswith("The Python process was lost during the step")
    assert again["value"] == "[1, 2]"
    assert (tmp_path / "here" / "work" / "made.txt").read_text() == "by the code"
    assert (found["report"]["level"], found["report"]["inside"]) == ("remote", "full")
    assert found["asked"] == ["sandbox cpu-basic 80080"]
    [job] = hub.jobs.all.values()
    assert (job.stage, job.body["flavor"], job.body["timeoutSeconds"]) == ("CANCELED", "cpu-basic", 4 * 3600)
    assert (job.body["labels"]["ml-intern"], job.body["labels"]["ml-intern-kind"]) == ("s1-machine1", "sandbox")
    assert job.body["environment"]["SBX_IDLE_TIMEOUT"] == "300"
    assert set(job.body["secrets"]) == {"SBX_TOKEN"}
    assert "hf_" not in json.dumps(job.body)
    assert (found["ended"], len(found["paid"])) == (["cancelled"], 1)


def test_a_no_rents_nothing(hub: FakeHub, tmp_path: Path) -> None:
    found = session(hub, tmp_path, "1", say="no")
    assert found["steps"][0]["error"].startswith("Refused: No machine was rented to run code in.")
    assert hub.jobs.all == {}


def test_a_machine_that_the_user_ends_is_asked_for_again_and_the_next_has_the_variables(
    hub: FakeHub, tmp_path: Path
) -> None:
    found = session(hub, tmp_path, "x = {'a': 1}", {"press": "end"}, "x", "x")  # the first may meet the end itself
    assert (found["steps"][-1]["value"], found["steps"][-1]["error"]) == ("{'a': 1}", "")
    assert (len(hub.jobs.all), len(found["asked"])) == (2, 2)


@slow
def test_an_idle_machine_is_given_back_and_the_next_has_the_variables(hub: FakeHub, tmp_path: Path) -> None:
    found = session(hub, tmp_path, "x = {'a': 1}", {"let_go": True}, "x")
    assert [step["value"] for step in found["steps"]] == ["", "{'a': 1}"]
    assert (len(hub.jobs.all), len(found["asked"])) == (2, 1)


@slow
def test_when_the_agreed_time_is_over_the_user_is_asked_again(hub: FakeHub, tmp_path: Path) -> None:
    found = session(hub, tmp_path, "x = 1", {"sleep": 20.0}, "x", seconds=20)
    assert [step["error"] for step in found["steps"]] == ["", ""]
    assert found["steps"][1]["value"] == "1"
    assert (len(hub.jobs.all), len(found["asked"])) == (2, 2)
    assert [job.body["timeoutSeconds"] for job in hub.jobs.all.values()] == [20, 20]


@slow
def test_when_the_app_dies_what_runs_in_the_machine_ends(hub: FakeHub, tmp_path: Path) -> None:
    session(hub, tmp_path, "x = 1", do="die", quiet=3.0)
    [job] = hub.jobs.all.values()
    [relay] = hub.sandboxes.processes[job.id]
    assert relay.wait(30) == 0
    job.end("CANCELED")  # as the machine does itself, when nothing in it runs


@slow
def test_who_stops_while_a_machine_starts_does_not_pay_for_it(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.append(Fault("/api/jobs/ada$", method="POST", delay=2.0))
    found = session(hub, tmp_path, {"code": "1", "stop_after": 0.3})  # and then the app closes at once
    assert found["steps"][0]["error"] == "stopped"
    assert len(hub.jobs.all) == 1
    assert found["ended"] == ["cancelled"]
