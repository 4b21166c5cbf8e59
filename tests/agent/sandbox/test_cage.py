"""The cage: which level is in force, the zygote behind all workers, and what one worker may take of the machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.sandbox import levels
from agent.sandbox.__main__ import main as command
from agent.sandbox.files import DiskUsage
from agent.sandbox.forks import Zygote, zygote
from agent.sandbox.host import Executor, Limits
from agent.sandbox.inside import landlock
from agent.sandbox.seats import Seats
from agent.sandbox.turns import Turn, Turns
from tests.agent.sandbox.sessions_of_code import TOOLS, Code, call, until, until_dead
from tools.problem import Problem, Stopped

pytestmark = pytest.mark.skipif(sys.platform != "linux" or not landlock.abi(), reason="needs Linux with Landlock")

CONFINED = pytest.mark.parametrize("level", levels.CONFINED)


@pytest.fixture(params=levels.CONFINED)
def caged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Code]:
    with Code(tmp_path, level=request.param) as session:
        yield session


# --- levels ---------------------------------------------------------------------------------------


def test_the_best_level_is_taken_and_proven_by_about_thirty_checks() -> None:
    found = levels.establish("best", on_space=True, zygote=zygote())
    assert found.level == "full"
    assert len(found.checks) >= 25
    assert all(check.passed for check in found.checks)
    assert found.line.startswith("sandbox: full (Landlock ABI ")
    json.dumps(found.report())


@CONFINED
def test_a_level_that_is_named_is_taken(level: levels.Level) -> None:
    assert levels.establish(level, on_space=False, zygote=zygote()).level == level


def test_unsafe_is_for_a_developers_machine_and_never_for_a_space() -> None:
    assert levels.establish("unsafe", on_space=False, zygote=zygote()).level == "unsafe"
    found = levels.establish("unsafe", on_space=True, zygote=zygote())
    assert (found.level, found.why_not) == ("tools-only", {"unsafe": "never on a Space"})


def test_what_is_not_available_is_said_and_nothing_less_takes_its_place() -> None:
    broken = Zygote(python="/bin/false")
    found = levels.establish("best", on_space=False, zygote=broken)
    assert found.level == "tools-only"
    assert found.why_not.keys() == {"full", "brokered"}


def test_a_rented_machine_is_taken_when_it_is_named_and_never_else() -> None:
    assert levels.establish("remote", on_space=True, zygote=zygote()).level == "remote"
    assert levels.establish("best", on_space=True, zygote=Zygote(python="/bin/false")).level == "tools-only"


def test_a_word_that_is_no_level_is_refused() -> None:
    with pytest.raises(Problem, match="'fulll'"):
        levels.establish("fulll", on_space=False, zygote=zygote())


@pytest.mark.parametrize("level", ["tools-only", "remote"])
def test_at_tools_only_and_without_a_machine_at_remote_no_code_runs(level: levels.Level, tmp_path: Path) -> None:
    with Code(tmp_path, level=level) as code, pytest.raises(Problem, match="No code runs here"):
        code("open('ran', 'w')")
    assert not (tmp_path / "work").exists()


def test_the_command_tells_level_and_steps_as_json(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = echo('hi')\nprint(x)")
    (tmp_path / "b.py").write_text("final_answer(x * 2)")
    (tmp_path / "c.py").write_text("1 / 0")
    done = _command("run", *(str(tmp_path / f"{name}.py") for name in "abc"), "--tools", "echo", "--level", "full")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [set(line) for line in lines] == [{"out", "value", "error", "final", "seconds", "level"}] * 3
    assert [(line["out"], line["final"], line["level"]) for line in lines[:2]] == [
        ("hi\n", None, "full"),
        ("", "hihi", "full"),
    ]
    assert "ZeroDivisionError" in lines[2]["error"]
    assert done.returncode == 0


@pytest.mark.parametrize(
    "wrong", [[], ["run"], ["run", "no-such-file.py"], ["check", "--level", "x"], ["run", "a", "--tools", "rm"]]
)
def test_wrong_use_of_the_command_ends_with_2(wrong: list[str]) -> None:
    try:
        status: object = command(wrong)
    except SystemExit as end:
        status = end.code
    assert status == 2


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    order = [sys.executable, "-m", "agent.sandbox", *arguments]
    return subprocess.run(order, capture_output=True, text=True, timeout=60, check=False)


# --- what a worker still can ----------------------------------------------------------------------


def test_files_in_its_own_folder_work_as_ever(caged: Code) -> None:
    steps = (
        "import os, shutil, tempfile, zipfile, sqlite3, glob",
        "os.makedirs('a/b'); open('a/b/f', 'w').write('x'); os.rename('a/b/f', 'a/g'); shutil.copy2('a/g', 'h')",
        "os.truncate('h', 0); open('h', 'a').write('y'); shutil.move('h', 'a/b/h'); shutil.copytree('a', 'c')",
        "zipfile.ZipFile('z.zip', 'w').write('a/g'); zipfile.ZipFile('z.zip').extractall('unzipped')",
        "with tempfile.TemporaryDirectory() as d: open(os.path.join(d, 'f'), 'w').close()",
        "db = sqlite3.connect('x.db'); db.execute('create table t (n)'); db.commit(); db.close()",
        "shutil.rmtree('c')",
    )
    for step in steps:
        assert caged(step).error == ""
    assert caged.value("sorted(glob.glob('**', recursive=True))") == str(
        ["a", "a/b", "a/b/h", "a/g", "unzipped", "unzipped/a", "unzipped/a/g", "x.db", "z.zip"]
    )


def test_a_large_result_of_a_tool_arrives_whole(caged: Code) -> None:
    assert caged.value("rows = get_rows(50_000)\nlen(rows), rows[-1]['id']") == "(50000, 'r49999')"
    assert caged.value("import os\nlen(os.listdir('../inbox'))") == "0"


def test_an_upload_can_be_read_and_not_changed(caged: Code, tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "data.csv").write_text("a,b")
    assert caged.value("open('../uploads/data.csv').read()") == "'a,b'"
    for change in ("open('../uploads/data.csv', 'w')", "import os; os.remove('../uploads/data.csv')"):
        assert "PermissionError" in caged(change).error
    assert (tmp_path / "uploads" / "data.csv").read_text() == "a,b"


def test_a_link_in_its_folder_leads_no_further_than_the_code_may_go(caged: Code, tmp_path: Path) -> None:
    for name in ("work", "uploads"):
        (tmp_path / name).mkdir()
    (tmp_path / "uploads" / "data.csv").write_text("a,b")
    (tmp_path / "work" / "uploads").symlink_to("../uploads")
    (tmp_path / "work" / "etc").symlink_to("/etc")
    (tmp_path / "work" / "passwd").symlink_to("/etc/passwd")
    assert caged.value("open('uploads/data.csv').read()") == "'a,b'"
    for step in ("open('etc/passwd')", "open('passwd')", "import os; os.listdir('etc')", "open('uploads/new', 'w')"):
        assert "PermissionError" in caged(step).error


def test_many_threads_open_files_at_once(caged: Code) -> None:
    assert (
        caged.value(
            "from concurrent.futures import ThreadPoolExecutor\ndef f(n):\n    with open(f'f{n}', 'w') as file: file.write(str(n))\n"
            "    return int(open(f'f{n}').read())\n"
            "with ThreadPoolExecutor(20) as pool: seen = list(pool.map(f, range(300)))\nseen == list(range(300))"
        )
        == "True"
    )


def test_the_sessions_own_journal_and_marks_are_out_of_reach(caged: Code, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text("said")
    assert "PermissionError" in caged("open('../journal.jsonl')").error
    assert "PermissionError" in caged("open('../variables.marks')").error


def test_forks_do_not_draw_the_same_random_numbers(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    drawn = []
    for name in "ab":
        with Code(tmp_path / name) as code:
            drawn.append(code.value("import random, numpy as np\nrandom.random(), np.random.rand()"))
    assert drawn[0] != drawn[1]


# --- what a worker may take -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "code", "why"),
    [
        (Limits(resident_bytes=300 << 20), "x = [b'x' * (8 << 20) + bytes([i]) for i in range(90)]", "300 MB of memory"),
        (Limits(threads=20), "import threading, time\nfor _ in range(50): threading.Thread(target=time.sleep, args=(9,)).start()", "20 threads"),
        (Limits(cpu_seconds=0.3), "while True: pass", "0.3 s of CPU"),
        (Limits(disk=DiskUsage(1 << 20, 100, 5)), "open('f', 'wb').write(b'x' * (3 << 20))", "1 MB"),
        (Limits(disk=DiskUsage(1 << 20, 100, 5)), "for i in range(200): open(str(i), 'w').close()", "100 files or folders"),
        (Limits(disk=DiskUsage(1 << 20, 100, 5)), "import os\nfor _ in range(50): os.mkdir('d'); os.chdir('d')", "5 folders deep"),
        (
            Limits(disk=DiskUsage(1 << 20, 100, 5)),
            "import os\nf = open('f', 'wb')\nos.unlink('f')\nf.write(b'x' * (3 << 20))\nf.flush()",
            "1 MB",
        ),
    ],
)  # fmt: skip
def test_a_step_that_takes_too_much_is_ended_and_the_next_works(
    tmp_path: Path, limits: Limits, code: str, why: str
) -> None:
    with Code(tmp_path, limits, level="full") as session:
        session("x = 'kept'")
        assert why in session(f"{code}\nimport time\ntime.sleep(60)").error
        assert session.value("import os\nx, [n for n in os.listdir() if os.path.isfile(n)]") == "('kept', [])"


def test_files_that_tools_have_put_there_are_not_held_against_the_code(tmp_path: Path) -> None:
    with Code(tmp_path, Limits(disk=DiskUsage(1 << 20, 100, 5)), level="full") as code:
        code("x = 1")
        (tmp_path / "work" / "downloaded").write_bytes(bytes(3 << 20))
        assert code("import time\ntime.sleep(0.2)").error == ""


# --- the zygote -----------------------------------------------------------------------------------


def test_a_dead_zygote_is_followed_by_another_and_variables_are_kept(tmp_path: Path) -> None:
    own = Zygote()
    with Code(tmp_path, level="full") as code:
        code._zygote = own
        code("x = 1")
        assert own._process
        assert code.pid
        os.kill(own._process.pid, signal.SIGKILL)
        until_dead(code.pid)  # it goes with its zygote
        assert code.value("x") == "1"
    own.close()


def test_a_process_that_is_no_worker_of_this_zygote_is_not_ended_by_its_number() -> None:
    own = Zygote()
    own.start()
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as another:
        assert own.reap(another.pid) == -signal.SIGKILL
        assert another.poll() is None
        another.kill()
    own.close()


def test_the_zygote_holds_nothing_of_the_apps_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    own = Zygote()
    own.start()
    assert own._process
    assert b"hf_secret" not in Path(f"/proc/{own._process.pid}/environ").read_bytes()
    assert own.facts["threads"] == 1
    own.close()


# --- who may run ----------------------------------------------------------------------------------


class Worker:
    """Notes whether it is let run."""

    def __init__(self) -> None:
        self.runs = False
        self.turn = Turn(self)

    def thaw(self) -> None:
        self.runs = True

    def freeze(self) -> None:
        self.runs = False


def never() -> bool:
    return False


def entered_by(turns: Turns, *workers: Worker) -> list[threading.Thread]:
    """In this order: each has entered, or waits for it, before the next comes."""
    threads = [threading.Thread(target=turns.enter, args=(worker.turn, never), daemon=True) for worker in workers]
    for worker, thread in zip(workers, threads, strict=True):
        thread.start()
        until(lambda worker=worker: worker.turn in turns._turns)  # type: ignore[misc]
    return threads


def test_of_two_endless_steps_each_gets_its_share() -> None:
    turns, one, two = Turns(at_once=1), Worker(), Worker()
    entered_by(turns, one, two)
    seen = set()
    end = looked = time.monotonic()
    end, longest = end + 1, 0.0
    while looked < end:
        turns.look(one.turn)
        seen.add((one.runs, two.runs))
        time.sleep(0.005)
        longest, looked = max(longest, time.monotonic() - looked), time.monotonic()
    assert seen == {(True, False), (False, True)}
    assert abs(one.turn.used - two.turn.used) < 0.1 + longest  # who runs, runs on while nobody looks


def test_a_new_step_does_not_wait_for_one_that_runs_long() -> None:
    turns, old, new = Turns(at_once=1), Worker(), Worker()
    entered_by(turns, old)
    time.sleep(0.1)
    turns.enter(new.turn, never)
    assert (old.runs, new.runs) == (False, True)
    turns.leave(new.turn)
    assert old.runs


def test_many_short_steps_count_as_a_long_one() -> None:
    turns, busy, rare = Turns(at_once=1), Worker(), Worker()
    for _ in range(10):
        turns.enter(busy.turn, never)
        time.sleep(0.01)
        turns.leave(busy.turn)
    turns.enter(busy.turn, never)
    turns.enter(rare.turn, never)
    assert (busy.runs, rare.runs) == (False, True)


def test_a_step_that_waits_for_a_tool_lets_others_run() -> None:
    turns, asking, other = Turns(at_once=1), Worker(), Worker()
    entered_by(turns, asking)
    turns.look(asking.turn, in_tools=True)
    turns.enter(other.turn, never)
    assert (asking.runs, other.runs) == (False, True)
    turns.leave(other.turn)
    assert asking.runs


def test_a_stop_ends_the_wait_for_a_turn() -> None:
    turns, one, two = Turns(at_once=1), Worker(), Worker()
    turns.enter(one.turn, never)
    two.turn.used = 100.0
    with pytest.raises(Stopped):
        turns.enter(two.turn, lambda: True)
    assert one.runs


class Sitter:
    def __init__(self, seats: Seats, busy: bool = False) -> None:
        self.seats, self.busy, self.sits, self.in_tools = seats, busy, False, False

    def let_go(self) -> bool:
        if not self.busy:
            self.sits = False
            self.seats.leave(self)
        return not self.busy

    def sit(self, stop: threading.Event) -> None:
        self.seats.take(self, stop.is_set)
        self.sits = True


def test_the_longest_idle_worker_makes_room() -> None:
    seats = Seats(limit=2)
    one, two, three = Sitter(seats), Sitter(seats, busy=True), Sitter(seats)
    for sitter in (one, two, three):
        sitter.sit(threading.Event())
    assert (one.sits, two.sits, three.sits) == (False, True, True)


def test_who_waits_for_the_user_keeps_nobody_out() -> None:
    seats = Seats(limit=1)
    asking, other = Sitter(seats, busy=True), Sitter(seats, busy=True)
    asking.sit(threading.Event())
    asking.in_tools = True
    other.sit(threading.Event())
    assert (asking.sits, other.sits) == (True, True)


def test_who_waits_for_a_place_can_be_stopped_and_leaves_the_queue() -> None:
    seats = Seats(limit=1)
    first, second, third = Sitter(seats, busy=True), Sitter(seats), Sitter(seats)
    first.sit(threading.Event())
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(Stopped):
        second.sit(stop)
    first.busy = False
    third.sit(threading.Event())
    assert third.sits


def test_an_idle_worker_is_let_go_and_its_variables_come_back(tmp_path: Path) -> None:
    with Executor(tmp_path, call, TOOLS, on_output=lambda _: None, level="full") as code:
        code.run("x = 1", threading.Event())
        before = code.pid
        assert code.let_go()
        assert code.pid is None
        result = code.run("x", threading.Event())
        assert (result.value, result.restarted, result.lost) == ("1", "", ())
        assert code.pid != before
