"""Jobs on this machine: real uv, real processes, nothing from the network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.doubles.desk import desk
from tests.doubles.jobs import view_here
from tools.cards import Answer, FileMade, Spend
from tools.desk import JobEnd
from tools.jobs import job_run
from tools.jobs.here.jobs import READ_BYTES, JobState, LocalJobs
from tools.jobs.here.words import HERE
from tools.jobs.metrics import points
from tools.problem import Problem, Refused

TRAINING = """
import json, pathlib, random
random.seed(0)
weight, rate = 0.0, 0.1
for step in range(1, 21):
    x = random.uniform(-1, 1)
    error = weight * x - 3 * x
    weight -= rate * error * x
    print({"loss": round(error * error, 6), "step": step})
pathlib.Path("model").mkdir()
pathlib.Path("model/weights.json").write_text(json.dumps(weight))
"""
SLEEP = "import time\nprint('asleep')\ntime.sleep(60)\n"


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache of uv for all, so that the user's own stays as it is."""
    with pytest.MonkeyPatch.context() as settings:
        settings.setenv("UV_CACHE_DIR", str(tmp_path_factory.mktemp("uv")))
        settings.setenv("HF_TOKEN", "hf_" + "q" * 34)
        yield


@pytest.fixture
def jobs(tmp_path: Path) -> LocalJobs:
    return LocalJobs(tmp_path)


def spend(script: str, timeout: int = 30, **more: object) -> Spend:
    return Spend.model_validate(
        {
            "title": "t",
            "where": "here",
            "place": HERE,
            "script": script,
            "timeout_seconds": timeout,
            "price_micro_usd_per_hour": 0,
        }
        | more
    )


def end_of(jobs: LocalJobs, job: str) -> JobState:
    until(lambda: jobs.state(job).status != "running")
    return jobs.state(job)


def log_of(jobs: LocalJobs, job: str) -> str:
    text, offset = "", 0
    while True:
        piece, offset = jobs.read(job, offset)
        if not piece:
            return text
        text += piece


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# --- what a job is --------------------------------------------------------------------------------


def test_a_job_trains_and_leaves_log_measurements_and_files(jobs: LocalJobs) -> None:
    job = jobs.start("s-c1", spend(TRAINING))
    end = end_of(jobs, job)
    assert (end.status, end.exit_code, end.message) == ("completed", 0, "")
    assert end.files == (f"jobs/{job}/work/model/weights.json",)
    curve = points(log_of(jobs, job))
    assert [point["step"] for point in curve] == list(range(1, 21))
    losses = [point["loss"] or 0.0 for point in curve]
    assert losses[-1] < losses[0]


def test_a_job_sees_no_secret_and_none_of_the_apps_packages(jobs: LocalJobs) -> None:
    script = "import os, sys\nprint(dict(os.environ), os.getcwd(), sys.version_info[:2])\nimport pydantic"
    job = jobs.start("s-c1", spend(script, env={"SEED": "7"}))
    assert end_of(jobs, job).status == "failed"
    log = log_of(jobs, job)
    assert "'SEED': '7'" in log
    assert "qqqq" not in log
    assert f"jobs/{job}/work" in log
    assert str(sys.version_info[:2]) in log
    assert "ModuleNotFoundError" in log


def test_a_script_that_fails_says_how(jobs: LocalJobs) -> None:
    wrong = end_of(jobs, jobs.start("a", spend("raise SystemExit(3)")))
    assert (wrong.status, wrong.exit_code, wrong.message) == ("failed", 3, "The script ended with exit code 3.")
    killed = end_of(jobs, jobs.start("b", spend("import os; os.kill(os.getpid(), 9)")))
    assert killed.status == "failed"
    assert "out of memory" in killed.message


def test_a_job_ends_at_its_time_limit_and_takes_its_children_along(jobs: LocalJobs) -> None:
    script = (
        "import subprocess, time\n"
        "print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    job = jobs.start("a", spend(script, timeout=3))
    end = end_of(jobs, job)
    assert (end.status, end.exit_code) == ("timeout", None)
    assert not alive(int(log_of(jobs, job)))


def test_nothing_stays_behind_when_the_script_ends_by_itself(jobs: LocalJobs) -> None:
    job = jobs.start("a", spend("import subprocess\nprint(subprocess.Popen(['setsid', 'sleep', '60']).pid)"))
    assert end_of(jobs, job).status == "completed"
    assert not alive(int(log_of(jobs, job)))


def test_memory_is_limited(jobs: LocalJobs) -> None:
    job = jobs.start("a", spend("bytearray(1 << 44)"))
    assert end_of(jobs, job).status == "failed"
    assert "MemoryError" in log_of(jobs, job)


def test_links_hidden_names_and_depths_are_not_listed_as_files(jobs: LocalJobs) -> None:
    script = """
import os, pathlib
os.symlink("/etc/passwd", "link"); os.symlink("/etc", "folder"); os.mkfifo("pipe")
pathlib.Path(".hidden").touch(); pathlib.Path("new\\nline").touch(); pathlib.Path("seen é.txt").touch()
os.makedirs("/".join("d" * 30)); pathlib.Path("/".join("d" * 30) + "/deep").touch()
"""
    job = jobs.start("a", spend(script))
    assert end_of(jobs, job).files == (f"jobs/{job}/work/seen é.txt",)


# --- once, whatever happens -----------------------------------------------------------------------


def counting(mark: Path) -> Spend:
    return spend("import os\nopen(os.environ['MARK'], 'a').write('started\\n')", env={"MARK": str(mark)})


def test_a_label_starts_one_job_however_many_ask_at_once(jobs: LocalJobs, tmp_path: Path) -> None:
    mark, spec = tmp_path / "mark", counting(tmp_path / "mark")
    others = [LocalJobs(tmp_path) for _ in range(8)]
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda n: others[n % 8].start("same", spec), range(32)))
    (job,) = found
    assert end_of(jobs, job).status == "completed"
    assert jobs.start("same", spec) == jobs.find("same") == job
    assert mark.read_text() == "started\n"
    assert jobs.start("another", spec) != job


def test_a_killed_starter_never_leads_to_a_second_run(jobs: LocalJobs, tmp_path: Path) -> None:
    """kill -9 at twelve moments of a start: find never says no to a job that runs, and asking again runs it once."""
    for number in range(12):
        mark, label = tmp_path / f"mark{number}", f"label{number}"
        if (starter := os.fork()) == 0:
            jobs.start(label, counting(mark))
            os._exit(0)
        time.sleep(number * 0.006)  # a start takes about 60 ms
        os.kill(starter, signal.SIGKILL)
        os.waitpid(starter, 0)
        found = jobs.find(label)
        job = jobs.start(label, counting(mark))
        assert found in (None, job)
        assert end_of(jobs, job).status == "completed"
        assert mark.read_text() == "started\n"


def test_a_job_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    script = "import time\ntime.sleep(0.3)\nprint('done')"
    starter = (
        "import os, sys\nfrom pathlib import Path\nfrom tools.cards import Spend\nfrom tools.jobs.here.jobs import LocalJobs\n"
        "print(LocalJobs(Path(sys.argv[1])).start('a', Spend.model_validate_json(sys.argv[2])), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", starter, str(tmp_path), spend(script).model_dump_json()]
    job = subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout.decode().strip()
    jobs = LocalJobs(tmp_path)
    assert jobs.find("a") == job
    assert end_of(jobs, job).status == "completed"
    assert log_of(jobs, job) == "done\n"


def test_a_folder_without_a_start_is_told_as_such_and_can_be_started(jobs: LocalJobs, tmp_path: Path) -> None:
    """What a crash leaves between the making of the folder and the start of the supervisor."""
    job = jobs.start("a", counting(tmp_path / "mark"))
    end_of(jobs, job)
    for name in ("started.json", "end.json", "log.txt"):
        (tmp_path / "jobs" / job / name).unlink()
    until(lambda: jobs.state(job).status == "lost")
    assert "never started" in jobs.state(job).message
    assert jobs.find("a") is None
    assert jobs.start("a", counting(tmp_path / "mark")) == job
    assert end_of(jobs, job).status == "completed"


def test_a_job_cancelled_before_it_started_never_starts(jobs: LocalJobs, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    job = jobs.start("a", counting(mark))
    end_of(jobs, job)
    for name in ("started.json", "end.json"):
        (tmp_path / "jobs" / job / name).unlink()
    until(lambda: jobs.state(job).status == "lost")
    jobs.cancel(job)
    assert jobs.start("a", counting(mark)) == job
    assert jobs.state(job).status == "cancelled"
    assert mark.read_text() == "started\n"


def test_a_job_whose_supervisor_was_killed_is_lost_ends_and_is_not_run_again(jobs: LocalJobs, tmp_path: Path) -> None:
    script = "import os\nprint(os.getpid())\n" + SLEEP
    job = jobs.start("a", spend(script))
    until(lambda: "asleep" in log_of(jobs, job))
    pid = int(log_of(jobs, job).split()[0])
    supervisor = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]  # uv, and its parent
    supervisor = Path(f"/proc/{supervisor}/stat").read_text().rpartition(")")[2].split()[1]
    os.kill(int(supervisor), signal.SIGKILL)
    assert end_of(jobs, job).status == "lost"
    until(lambda: not alive(pid))
    assert jobs.start("a", spend(script)) == job
    assert jobs.state(job).status == "lost"
    jobs.cancel(job)  # nothing left to end


def test_a_script_cannot_tell_its_own_end(jobs: LocalJobs) -> None:
    forged = "import os\nopen(os.path.expanduser('~/end.json'), 'w').write('{\"status\": \"completed\"}')\n"
    job = jobs.start("a", spend(forged + SLEEP))
    until(lambda: "asleep" in log_of(jobs, job))
    assert jobs.state(job).status == "running"
    jobs.cancel(job)
    assert jobs.state(job).status == "cancelled"


# --- cancel ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        SLEEP,
        "print('asleep')\nwhile True: pass",
        "import signal\nsignal.signal(15, signal.SIG_IGN)\n" + SLEEP,
        "import os\nfor _ in range(4): os.fork()\nos.setsid() if os.getpid() != os.getpgrp() else None\n" + SLEEP,
    ],
    ids=["sleeping", "spinning", "deaf to SIGTERM", "forked and fled"],
)
def test_cancel_ends_the_whole_tree(jobs: LocalJobs, script: str) -> None:
    job = jobs.start("a", spend(script))
    until(lambda: "asleep" in log_of(jobs, job))
    jobs.cancel(job)
    assert jobs.state(job).status == "cancelled"
    left = subprocess.run(["pgrep", "-f", job], stdout=subprocess.PIPE, check=False).stdout.split()
    until(lambda: not any(alive(int(pid)) for pid in left), seconds=2)  # the supervisor itself is on its way out
    jobs.cancel(job)  # again is harmless


def test_cancel_during_a_start_ends_the_job(jobs: LocalJobs) -> None:
    job = jobs.start("a", spend(SLEEP))
    jobs.cancel(job)
    assert jobs.state(job).status == "cancelled"


def test_a_supervisor_that_does_not_answer_is_a_problem(jobs: LocalJobs, tmp_path: Path) -> None:
    job = jobs.start("a", spend(SLEEP))
    started = tmp_path / "jobs" / job / "started.json"
    supervisor = int(started.read_text().partition('"supervisor": ')[2].partition(",")[0])
    os.kill(supervisor, signal.SIGSTOP)
    try:
        with pytest.raises(Problem, match="could not be cancelled"):
            LocalJobs(tmp_path, patience=0.3).cancel(job)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert end_of(jobs, job).status == "cancelled"


@pytest.mark.parametrize("job", ["", "..", "here-0000000000000000", "../../etc", "here-x"])
def test_an_unknown_job_is_a_problem(jobs: LocalJobs, job: str) -> None:
    for ask in (jobs.state, jobs.cancel, lambda job: jobs.read(job, 0)):
        with pytest.raises(Problem, match="There is no job"):
            ask(job)


def test_a_session_folder_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = LocalJobs(Path("session"))
    job = jobs.start("a", spend("open('x', 'w')"))
    assert end_of(jobs, job).files == (f"jobs/{job}/work/x",)


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "jobs").touch()
    with pytest.raises(Problem, match="could not be made"):
        LocalJobs(tmp_path).start("a", spend("1"))


def test_a_uv_that_cannot_be_run_makes_a_failed_job(tmp_path: Path) -> None:
    jobs = LocalJobs(tmp_path, uv=str(tmp_path / "no-such-uv"))
    job = jobs.start("a", spend("1"))
    end = end_of(jobs, job)
    assert end.status == "failed"
    assert "no-such-uv" in end.message


# --- the log --------------------------------------------------------------------------------------


def test_the_log_is_read_in_pieces_that_join_to_the_whole(jobs: LocalJobs) -> None:
    job = jobs.start("a", spend("for n in range(30_000): print(f'{n} größer 🤗')"))
    seen, offset = "", 0
    while (running := jobs.state(job).status == "running") or True:
        piece, offset = jobs.read(job, offset)
        assert len(piece.encode()) <= READ_BYTES
        seen += piece
        if not piece and not running:
            break
    assert seen == "".join(f"{n} größer 🤗\n" for n in range(30_000))


def test_half_a_line_is_shown_while_the_job_waits(jobs: LocalJobs) -> None:
    job = jobs.start("a", spend("import time\nprint('loading', end='')\ntime.sleep(60)"))
    until(lambda: log_of(jobs, job) == "loading\n")
    jobs.cancel(job)
    assert log_of(jobs, job) == "loading\n"


# --- the tool -------------------------------------------------------------------------------------


class Signed:
    """A Contract over a real LocalJobs, as the agent makes one, without its journal."""

    def __init__(self, request: Spend, jobs: LocalJobs) -> None:
        self.request, self._jobs = request, jobs

    def submit(self) -> str:
        return self._jobs.start("label", self.request)

    def wait(self) -> JobEnd:
        job = self.submit()
        end = end_of(self._jobs, job)
        return JobEnd(job, end.status, end.exit_code, end.seconds, log_of(self._jobs, job), end.files, end.message)


def test_job_run_asks_runs_and_shows_the_files(tmp_path: Path, jobs: LocalJobs) -> None:
    at = desk(folder=tmp_path, jobs=view_here(jobs), sign=lambda request: Signed(request, jobs))
    result = job_run(at, TRAINING, title="Train a line", timeout="1m")
    assert (result["status"], result["exit_code"], result["edited"]) == ("completed", 0, False)
    assert "'step': 20" in result["log"]
    (asked,) = at.asked
    assert isinstance(asked, Spend)
    assert (asked.title, asked.timeout_seconds, asked.hold_micro_usd) == ("Train a line", 60, 0)
    (card,) = at.cards
    assert isinstance(card, FileMade)
    assert (card.path, card.job) == (result["files"][0], result["job"])
    assert card.bytes == (tmp_path / card.path).stat().st_size


def test_job_run_tells_that_the_user_changed_the_script(tmp_path: Path, jobs: LocalJobs) -> None:
    answer = Answer(verdict="yes", edits={"script": "print('mine')"})
    at = desk(folder=tmp_path, answer=answer, jobs=view_here(jobs), sign=lambda request: Signed(request, jobs))
    result = job_run(at, "print('yours')")
    assert result["edited"]
    assert result["log"] == "mine\n"


def test_a_refused_job_starts_nothing(tmp_path: Path, jobs: LocalJobs) -> None:
    asking = desk(folder=tmp_path, answer="no", jobs=view_here(jobs), sign=lambda request: Signed(request, jobs))
    with pytest.raises(Refused):
        job_run(asking, "print(1)")
    assert jobs.find("label") is None
