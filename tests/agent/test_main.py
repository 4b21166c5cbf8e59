"""`python -m agent` as a process."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import ROOT
from tests.agent.living import code
from tests.doubles.hub import FakeHub
from tests.doubles.model_server import ModelServer, Reply

FINAL = code('final_answer("**Done.**")')


def agent(data: Path, model: str, *arguments: str, task: str = "Go", **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "agent", task, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(data), "DATA_DIR": str(data), "MODEL_BASE_URL": model, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("script", "environ", "exit_code"),
    [
        ([FINAL], {}, 0),
        ([Reply(status=401, body={"error": {"message": "no"}})], {}, 1),
        ([code("1")] * 3, {"MAX_STEPS": "2"}, 4),
    ],
)
def test_the_exit_code_says_how_it_ended(
    tmp_path: Path, script: Sequence[Reply], environ: dict[str, str], exit_code: int
) -> None:
    with ModelServer(script) as server:
        process = agent(tmp_path, server.base_url, "--json", **environ)
        got, out, err = outcome(process)
    assert got == exit_code, err
    entries = [json.loads(line) for line in out.splitlines()]
    assert [entry["seq"] for entry in entries] == sorted({entry["seq"] for entry in entries})
    assert entries[0]["event"]["kind"] == "user_said"
    assert entries[-1]["event"]["kind"] == "run_ended"


def test_interrupting_stops_the_run(tmp_path: Path) -> None:
    with ModelServer([Reply("late", silence=60)]) as server:
        process = agent(tmp_path, server.base_url, "--json")
        server.wait_for_request(timeout=30)
        process.send_signal(signal.SIGINT)
        got, out, _ = outcome(process)
    assert got == 3
    assert json.loads(out.splitlines()[-1])["event"]["why"] == "stopped"


@pytest.mark.parametrize(
    "arguments", [("--budget", "lots"), ("--approve", "always"), ("--session", "../up"), ("--colour", "blue")]
)
def test_wrong_use_is_told_and_exits_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    got, out, err = outcome(agent(tmp_path, "http://127.0.0.1:9/v1", *arguments))
    assert (got, out) == (2, "")
    assert err
    assert "Traceback" not in err


def test_a_session_is_gone_on_with_and_printed_for_a_person(tmp_path: Path) -> None:
    with ModelServer([code("x = 6\nfinal_answer('Kept.')"), code("final_answer(x * 7)")]) as server:
        outcome(agent(tmp_path, server.base_url, "--session", "lasting"))
        got, out, err = outcome(agent(tmp_path, server.base_url, "--session", "lasting"))
    assert (got, err) == (0, "")
    assert "42" in out
    assert "--session lasting" in out


@pytest.mark.parametrize(("arguments", "why"), [((), "refused"), (("--approve", "within-budget"), "done")])
def test_without_a_terminal_spending_is_refused_unless_told_otherwise(
    tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    with ModelServer([code("job_run('print(1)')"), FINAL]) as server:
        got, out, err = outcome(agent(tmp_path, server.base_url, "--json", *arguments))
    assert got == 0, err
    ends = [json.loads(line)["event"] for line in out.splitlines() if '"tool_ended"' in line]
    assert [end["why"] for end in ends] == [why]


def test_a_tool_call_needs_no_model_and_prints_its_result(tmp_path: Path) -> None:
    got, out, err = outcome(agent(tmp_path, "", task='/plan todos=["read the paper"]'))
    assert (got, err) == (0, "")
    assert "0 of 1 completed" in out


def on_a_terminal(
    data: Path, model: str, *arguments: str, answers: Sequence[tuple[str, str]], **more: str
) -> tuple[int, str]:
    """Run on a terminal; each answer is typed once its prompt has appeared. Returns the exit code and what was seen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(data),
            "DATA_DIR": str(data),
            "MODEL_BASE_URL": model,
            **more,
        }
        os.execve(sys.executable, [sys.executable, "-m", "agent", "Go", *arguments], environ)
    seen, left = "", list(answers)
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # how Linux tells that the other side has closed
            break
        if not piece:
            break
        seen += piece.decode(errors="replace")
        if left and left[0][0] in seen:
            os.write(terminal, left.pop(0)[1].encode())
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_on_a_terminal_the_person_is_asked_there(tmp_path: Path, flags: tuple[str, ...]) -> None:
    script = [code("print(ask_user('Which colour?', ['red', 'blue']))"), code("job_run('print(1)')"), FINAL]
    with ModelServer(script) as server:
        said = [("Your answer:", "2\n"), ("Agree?", "use less memory\n")]
        got, seen = on_a_terminal(tmp_path, server.base_url, *flags, answers=said)
        assert got == 0, seen
        assert "blue" in str(server.requests[1].body["messages"][-1])
        assert "use less memory" in str(server.requests[2].body["messages"][-1])
    assert "this machine" in seen


@pytest.mark.parametrize(("said", "jobs"), [("y\n", 1), ("n\n", 0)])
def test_on_a_terminal_the_person_can_raise_the_budget_with_the_yes(tmp_path: Path, said: str, jobs: int) -> None:
    ask = code("print(job_run('print(1)', flavor='l4x1', timeout='1h', outputs=False)['status'])")
    with FakeHub() as hub, ModelServer([ask, FINAL]) as server:
        hub.jobs.plays = lambda job: job.end(ran=60)
        environ = {"HF_TOKEN": "hf_ada", "HF_HUB_DISABLE_XET": "1", **hub.environ()}
        answers = [("start? [y/N", said)]
        got, seen = on_a_terminal(tmp_path, server.base_url, answers=answers, **environ)
        assert got == 0, seen
        assert "The budget must be raised to $0.80 for that." in seen
        assert ("The budget was raised from $0.00 to $0.80." in seen) == bool(jobs)
        assert len(hub.jobs.all) == jobs


def test_interrupting_at_a_question_stops_the_run(tmp_path: Path) -> None:
    with ModelServer([code("ask_user('Which?')")]) as server:
        got, _ = on_a_terminal(tmp_path, server.base_url, answers=[("Your answer:", "\x03")])
    assert got == 3


def test_the_flags_override_the_environment(tmp_path: Path) -> None:
    with ModelServer([FINAL]) as server:
        flags = ("--base-url", server.base_url, "--model", "flagged")
        got, _, err = outcome(agent(tmp_path, "http://127.0.0.1:9/v1", *flags, MODEL_ID="ignored"))
        assert got == 0, err
        assert server.requests[0].body["model"] == "flagged"


def test_the_hugging_face_token_reaches_neither_another_server_nor_the_code_nor_the_disk(tmp_path: Path) -> None:
    secret = "hf_" + "s3cret" * 6
    look = "import os\nprint(dict(os.environ))\nprint(open('/proc/self/environ').read())"
    with ModelServer([code(look), FINAL]) as server:
        got, out, err = outcome(agent(tmp_path, server.base_url, "--json", HF_TOKEN=secret))
        assert got == 0, err
        assert all(secret not in str(request.headers) + str(request.body) for request in server.requests)
    assert secret not in out + err
    assert all(secret.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
