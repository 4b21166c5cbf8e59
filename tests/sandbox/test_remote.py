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
from tests.doubles.sandbox_server import RentedMachines
from tests.sandbox import WHOLE

slow = pytest.mark.skipif(not WHOLE, reason="it waits for seconds; make test-sandbox runs it")
pytestmark = pytest.mark.skipif(sys.platform != "linux" or not landlock.abi(), reason="needs Linux with Landlock")


@pytest.fixture
def rented() -> Iterator[RentedMachines]:
    with RentedMachines() as machines:
        yield machines
        assert (machines.running(), machines.unknown, machines.refused) == ([], [], [])


def session(machines: RentedMachines, folder: Path, *steps: object, do: str = "", **order: object) -> dict[str, Any]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = folder / "machine"
    told = {"folder": str(folder / "here"), "machine": str(place), "port": port, "do": do, "steps": steps, **order}
    done = subprocess.run(
        [sys.executable, "-m", "tests.sandbox.rented"],
        input=json.dumps(told),
        cwd=ROOT,
        env={**os.environ, "HF_ENDPOINT": machines.url, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "hf_of_nobody"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    return dict(json.loads(done.stdout))


def test_a_session_works_as_at_home_shut_in_and_without_a_token_of_the_user(
    rented: RentedMachines, tmp_path: Path
) -> None:
    attacks = (
        "import os, socket\n"
        "def refused(act, *given):\n    try: act(*given)\n    except OSError: return True\n"
        "[refused(open, '/etc/passwd'), refused(os.listdir, '/proc'), refused(os.fork), refused(os.listdir, '../..'),"
        f" refused(socket.create_connection, ('127.0.0.1', {rented.url.rpartition(':')[2]}), 1)]"
    )
    found = session(
        rented,
        tmp_path,
        "x = [1, 2]\nprint('h\u00e9llo')\nadd(20, 22)",
        {"upload": "data.csv", "text": "a,b"},
        "open('../uploads/data.csv').read(), len(rows(400_000)), open('made.txt', 'w').write('by the code')",
        "1 / 0",
        attacks,
        {"code": "while True: pass", "stop_after": 0.5},
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
    assert found["asked"] == ["sandbox cpu-basic 20000"]
    [job] = rented.jobs.values()
    assert (job["stage"], job["spec"]["flavor"]) == ("CANCELED", "cpu-basic")
    assert job["spec"]["labels"]["ml-intern"] == "session-1"
    assert job["spec"]["environment"]["SBX_IDLE_TIMEOUT"] == "300"
    assert set(job["spec"]["secrets"]) == {"SBX_TOKEN"}
    assert "hf_of" not in json.dumps(job["spec"])


def test_a_no_rents_nothing(rented: RentedMachines, tmp_path: Path) -> None:
    found = session(rented, tmp_path, "1", do="refuse")
    assert found["steps"][0]["error"] == "Refused: The user said no."
    assert rented.jobs == {}


@slow
def test_an_idle_machine_is_given_back_and_the_next_has_the_variables(rented: RentedMachines, tmp_path: Path) -> None:
    found = session(rented, tmp_path, "x = {'a': 1}", {"let_go": True}, "x")
    assert [step["value"] for step in found["steps"]] == ["", "{'a': 1}"]
    assert (len(rented.jobs), len(found["asked"])) == (2, 1)


@slow
def test_when_the_agreed_time_is_over_the_user_is_asked_again(rented: RentedMachines, tmp_path: Path) -> None:
    found = session(rented, tmp_path, "x = 1", {"sleep": 8.0}, "x", seconds=8.0)
    assert [step["error"] for step in found["steps"]] == ["", ""]
    assert found["steps"][1]["value"] == "1"
    assert (len(rented.jobs), len(found["asked"])) == (2, 2)


@slow
def test_when_the_app_dies_what_runs_in_the_machine_ends(tmp_path: Path) -> None:
    with RentedMachines() as machines:
        session(machines, tmp_path, "x = 1", do="die", quiet=3.0)
        [job] = machines.jobs.values()
        [relay] = job["processes"]
        assert relay.wait(30) == 0


@slow
def test_who_stops_while_a_machine_starts_does_not_pay_for_it(tmp_path: Path) -> None:
    with RentedMachines(slow_seconds=2.0) as machines:
        found = session(machines, tmp_path, {"code": "1", "stop_after": 0.3}, {"sleep": 4.0})
        assert found["steps"][0]["error"] == "stopped"
        assert len(machines.jobs) == 1
        assert machines.running() == []
