"""Stop, limits, and a worker that turns against its host."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.loop.coder import StepLimit
from agent.sandbox.host import Executor, Limits, ToolCall, ToolStub
from agent.sandbox.inside.protocol import FROM_WORKER, HEADER, pack
from agent.sandbox.messages import Splitter, WorkerBroken
from tests import AT_ONCE
from tests.agent.sandbox.sessions_of_code import PATIENCE, Code, until
from tools.problem import RunEnd, Stopped


@pytest.fixture
def code(tmp_path: Path) -> Iterator[Code]:
    with Code(tmp_path) as session:
        yield session


# --- Stop -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "while True: pass",
        "import time\ntime.sleep(1000)",
        "x = 7 ** (10 ** 9)",
        "import re\nre.match('(a+)+b', 'a' * 60)",
        "slow(1, 30)",
        "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(8) as p: list(p.map(slow, range(8), [9] * 8))",
        "async def w():\n    import asyncio\n    await asyncio.sleep(99)\nawait w()",
        "while True: print('x' * 100)",
    ],
)
def test_stop_ends_a_step_soon_and_keeps_the_very_variables(code: Code, text: str) -> None:
    code("kept = 1\nonly_here = (i for i in [7])")
    assert code.stopped(text) < AT_ONCE
    assert code.value("kept, next(only_here)") == "(1, 7)"


@pytest.mark.parametrize(
    "text",
    [
        "sum(range(10 ** 12))",
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(1000)",
        "import time\nwhile True:\n    try: time.sleep(0.01)\n    except BaseException: pass",
        "while True:\n    try: slow(1, 9)\n    except BaseException: pass",
    ],
)
def test_stop_soon_ends_code_that_will_not_end_and_restores_the_variables(code: Code, text: str) -> None:
    code("kept = 1\ng = (i for i in [7])")
    assert code.stopped(text) < AT_ONCE
    result = code("kept")
    assert (result.value, [gone.name for gone in result.lost]) == ("1", ["g"])
    assert "Stop" in result.restarted


def test_a_stop_that_was_pressed_before_runs_nothing(code: Code) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        code.run("open('ran', 'w')", stop)
    assert code.value("import os\nos.listdir()") == "[]"


def test_stops_at_any_moment_leave_a_session_that_works(code: Code) -> None:
    code("n = 0")
    for i in range(40):
        stop = threading.Event()
        timer = threading.Timer(i * 0.0002, stop.set)
        timer.start()
        with contextlib.suppress(Stopped):
            assert code.run("n += 1\nx = add(1)", stop).error == ""
        timer.join()
        assert code.value("2 * 2") == "4"


def test_a_late_interrupt_hurts_neither_the_idle_worker_nor_the_next_step(code: Code) -> None:
    code("x = (i for i in [7])")
    assert code.pid
    for _ in range(20):
        os.kill(code.pid, signal.SIGINT)
    result = code("next(x)")
    assert (result.value, result.error, result.restarted) == ("7", "", "")


def test_a_stopped_tools_late_answer_goes_nowhere(tmp_path: Path) -> None:
    stop, late = threading.Event(), threading.Event()
    answered: list[object] = []

    def think(asked: ToolCall) -> object:
        if asked.args == ("late",):
            stop.set()
            late.wait(PATIENCE)
        answered.extend(asked.args)
        return asked.args[0]

    with Executor(tmp_path, think, [ToolStub("think", "(about: str) -> str")], on_output=lambda _: None) as code:
        with pytest.raises(Stopped):
            code.run("think('late')", stop)
        late.set()
        until(lambda: answered == ["late"])
        assert code.run("think('one'), think('two')", threading.Event()).value == "('one', 'two')"


@pytest.mark.parametrize("end", [Stopped(), StepLimit()])
def test_a_tool_in_which_the_run_ends_ends_the_step_for_the_same_reason(tmp_path: Path, end: RunEnd) -> None:
    def stop(_: object) -> None:
        raise end

    with Executor(tmp_path, stop, [ToolStub("ask")], on_output=lambda _: None) as code, pytest.raises(type(end)):
        code.run("try: ask()\nexcept Exception: pass\nwhile True: pass", threading.Event())


def test_closing_ends_a_running_step(tmp_path: Path) -> None:
    code = Code(tmp_path)

    def close() -> None:
        code.wait_for("begun")
        code.close()

    closer = threading.Thread(target=close)
    closer.start()
    with pytest.raises(Stopped):
        code("print('begun')\nsum(range(10 ** 12))")
    closer.join()
    code.close()
    assert code.pid is None


# --- limits ---------------------------------------------------------------------------------------


def test_a_step_over_its_time_is_stopped_and_the_model_is_told(tmp_path: Path) -> None:
    with Code(tmp_path, Limits(wall_seconds=0.5)) as code:
        code("g = (i for i in [7])")
        result = code("x = 1\nwhile True: pass")
        assert "KeyboardInterrupt" in result.error
        assert "longer than 0.5 s" in result.error
        assert "The variables are kept." in result.error
        assert code.value("x, next(g)") == "(1, 7)"


def test_time_in_tools_does_not_count(tmp_path: Path) -> None:
    with Code(tmp_path, Limits(wall_seconds=0.5)) as code:
        assert code.value("slow(1, 0.4) + slow(2, 0.4) + slow(3, 0.4)") == "6"


def test_too_much_memory_is_a_memory_error(tmp_path: Path) -> None:
    with Code(tmp_path, Limits(memory_bytes=512 << 20)) as code:
        code("x = 1")
        assert code("y = []\nwhile True: y.append(bytearray(64 << 20))").error.endswith("MemoryError\n")
        assert not code("y = None").restarted
        assert code.value("x") == "1"


def test_a_file_may_grow_only_so_large(tmp_path: Path) -> None:
    with Code(tmp_path, Limits(file_bytes=1 << 20)) as code:
        assert "OSError" in code("with open('big', 'wb') as f: f.write(bytes(2 << 20))").error


def test_two_steps_at_once_are_refused(code: Code) -> None:
    code("x = 1")
    stop = threading.Event()

    def run() -> None:
        with pytest.raises(Stopped):
            code.run("import time\nprint('begun')\ntime.sleep(60)", stop)

    first = threading.Thread(target=run)
    first.start()
    code.wait_for("begun")
    with pytest.raises(RuntimeError, match="another step"):
        code("x")
    stop.set()
    first.join()
    assert code.value("x") == "1"


def test_what_on_output_raises_comes_out_of_run_and_the_session_goes_on(tmp_path: Path) -> None:
    def full(_: str) -> None:
        raise OSError("disk full")

    with Executor(tmp_path, lambda _: None, [], on_output=full) as code:
        code.run("x = 1", threading.Event())
        with pytest.raises(OSError, match="disk full"):
            code.run("print(1)", threading.Event())
        assert code.run("x", threading.Event()).value == "1"


# --- a hostile worker -----------------------------------------------------------------------------

_SPEAK = """
import json, os, socket, struct, sys
for fd in range(3, 256):
    try:
        if socket.socket(fileno=os.dup(fd)).type == socket.SOCK_STREAM: break
    except OSError: pass
def say(body): os.write(fd, struct.pack('>I', len(body)) + body)
"""


@pytest.mark.parametrize(
    "speech",
    [
        "os.write(fd, b'\\xff\\xff\\xff\\xff' + b'A' * 1000)",
        "say(b'[' * 500_000)",
        "say(b'not json')",
        "say(b'{}')",
        'say(b\'{"type":"approve"}\')',
        'say(b\'{"type":"ready","lost":[]}\')',
        'say(b\'{"type":"call","id":-1,"name":"add","args":[],"kwargs":{}}\')',
        'say(b\'{"type":"call","id":1,"name":"add","args":[],"kwargs":{},"approved":true}\')',
        'say(b\'{"type":"call","id":1,"name":"add","args":["\\\\ud800"],"kwargs":{}}\')',
        "os.close(fd)",
        "os.write(fd, b'\\x00\\x00\\x10')\nos._exit(0)",
    ],
)
def test_a_worker_that_says_what_no_worker_says_is_ended(code: Code, speech: str) -> None:
    code("x = 1")
    end = "" if "close" in speech else "import time\ntime.sleep(60)"  # who has hung up cannot tell of its own end
    result = code(f"{_SPEAK}\n{speech}\n{end}")
    assert "The Python process was lost" in result.error
    assert code.value("x") == "1"


def test_a_forged_end_of_the_step_fools_nobody_but_its_own_step(code: Code) -> None:
    forged = b'{"type":"done","value":"forged","error":"","final":false,"answer":null,"saved":null}'
    assert code(f"{_SPEAK}\nsay({forged!r})\nimport time\ntime.sleep(0.3)").value == "forged"
    # The true end of that step may still come, in place of the next step's or out of turn; then all is as before.
    assert any(code("1").value == "1" for _ in range(3))


def test_a_call_of_an_unknown_tool_runs_nothing(code: Code) -> None:
    forged = b'{"type":"call","id":9,"name":"push_to_hub","args":[],"kwargs":{}}'
    code(f"{_SPEAK}\nsay({forged!r})\nadd(1)")
    assert code.value("add(1)") == "2"


def test_a_worker_that_floods_with_calls_and_never_listens_can_be_stopped(tmp_path: Path) -> None:
    flood = (
        f"{_SPEAK}\nbody = json.dumps(dict(type='call', id=1, name='echo', args=['x' * 3_000_000], kwargs={{}})).encode()\n"
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nimport threading\n"
        "n = 0\nwhile True:\n    n += 1\n    say(body.replace(b'\"id\": 1', b'\"id\": %d' % n))"
    )
    with Code(tmp_path, Limits(sent_bytes=1 << 40)) as code:  # how much it may hand over would end it, too
        assert code.stopped(flood, seconds=0.5) < AT_ONCE
        assert code.value("1") == "1"


def _frame(dice: random.Random) -> bytes:
    """Noise, noise in a frame, or a message that is nearly right."""
    noise = dice.randbytes(dice.randrange(60))
    if dice.random() < 0.3:
        return noise
    if dice.random() < 0.3:
        return HEADER.pack(len(noise)) + noise
    right: dict[str, dict[str, object]] = {
        "call": {"id": 1, "name": "add", "args": [1], "kwargs": {}},
        "done": {"value": "", "error": "", "final": False, "answer": None, "saved": None},
        "ready": {"lost": []},
        "hello": {"facts": {}},
    }
    kind = dice.choice(list(right))
    message: dict[str, object] = {"type": kind, **right[kind]}
    odd: list[object] = [None, True, -1, 2**70, 1.5, float("nan"), "x", [], [[]], {}, {"type": "call"}]
    if dice.random() < 0.7:
        message[dice.choice([*message, "approved"])] = dice.choice(odd)
    return pack(message, FROM_WORKER)


def test_whatever_bytes_come_the_host_gets_messages_or_broken() -> None:
    dice = random.Random(3)
    heard = broken = 0
    for _ in range(5000):
        splitter = Splitter()
        try:
            for _ in range(3):
                for message in splitter.feed(_frame(dice)):
                    assert message.type in {"hello", "ready", "call", "done"}
                    heard += 1
        except WorkerBroken:
            broken += 1
    assert heard > 500
    assert broken > 500


def test_a_worker_that_talks_nonsense_again_and_again_leaves_its_host_well(tmp_path: Path) -> None:
    threads = threading.active_count()
    with Code(tmp_path, Limits(wall_seconds=0.3)) as code:  # half a frame can only be waited for
        for seed in range(12):
            noise = b"".join(_frame(random.Random(seed * 100 + n)) for n in range(20))
            code(f"{_SPEAK}\nos.write(fd, {noise!r})")
        assert code.value("add(1)") == "2"
    until(lambda: threading.active_count() <= threads + 1)
