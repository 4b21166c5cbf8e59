"""Jobs on this machine: each in a folder of its own, supervised by a process that outlives the app. What a script needs
is lent from the app's packages where all of it is installed; else `uv run` installs it. The log's first line says which.

How a label starts at most one job, whoever crashes when: the job's folder is named after the label and appears whole,
by a rename. Whoever wants to start it must hold the lock on its job.json; the supervisor inherits that lock and keeps
it for life, and notes in started.json that the script starts, before it does. So, with the lock free: no started.json
means that nothing was started, and an end.json that is missing beside it means that the supervisor was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from tools.cards import Spend
from tools.jobs import tracking
from tools.jobs.here import installed, processes, supervise
from tools.jobs.here.outputs import OutputsHere, files_under
from tools.jobs.here.words import HERE
from tools.jobs.place import JobPlace, JobState, JobStatus
from tools.jobs.remote.log import hidden
from tools.problem import Problem

__all__ = ["JobPlace", "JobState", "LocalJobs"]

LOG_BYTES = 64 * 1024**2
FILE_BYTES = 32 * 1024**3  # the largest file a job may write; half of the free disk if that is less
MEMORY_SHARE = 0.9  # of the machine's memory, for each process of a job
READ_BYTES = 256 * 1024  # of the log at a time
CANCEL_SECONDS = 6.0  # more than the supervisor takes to give up on a process that will not die
START_SECONDS = 30.0

_FROM_THE_APP = (  # how this machine reaches the network: a job cannot install without; never with a password in it
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS", "HF_ENDPOINT"),
)


class _Started(BaseModel):
    supervisor: int = Field(gt=1)  # its process
    at: float  # Unix time


class _End(BaseModel):
    status: Literal["completed", "failed", "cancelled", "timeout"]
    exit_code: int | None = None
    seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    message: str = ""
    survivors: list[int] = []  # processes that would not die


_Told = TypeVar("_Told", _Started, _End)


class LocalJobs:
    """A JobPlace on this machine. For one's own machine only: a job can read and write what its user can."""

    words = HERE
    settles_seconds = 0.0
    measures_seconds = 5.0

    def __init__(self, folder: Path, uv: str | None = None, patience: float = CANCEL_SECONDS) -> None:
        """folder: the session's; jobs lie in its jobs/. uv: the program; None: the installed one is found.

        patience: seconds that cancel waits for an end.
        """
        self._folder = folder.absolute()  # the script has a working folder of its own
        self._jobs = self._folder / "jobs"
        self._uv, self._patience = uv, patience
        self._samples: dict[str, processes.Sample] = {}

    def quote(self, flavor: str) -> int:  # noqa: ARG002  # there is one machine, and nobody is paid for it
        return 0

    def start(self, label: str, spec: Spend) -> str:
        if spec.place.name != self.words.name:
            raise Problem(f"A job for {spec.where!r} cannot run on this machine.", 'Ask for where="here".')
        job = _job_id(label)
        folder = self._jobs / job
        try:
            if not folder.exists():
                self._publish(folder, label, spec)
        except OSError as error:
            raise Problem(
                f"The job's folder could not be made: {error.strerror}.", "Make room in it, then try again."
            ) from error
        with _lock(folder) as lock:
            deadline = time.monotonic() + START_SECONDS
            while not _started(folder) and time.monotonic() < deadline:
                if not _take(lock):  # somebody is just starting it, or looked
                    time.sleep(0.01)
                elif not _started(folder):
                    _spawn(folder, lock)
        return job

    def find(self, label: str, spec: Spend | None = None) -> str | None:  # noqa: ARG002  # a label is enough here
        job = _job_id(label)
        folder = self._jobs / job
        return job if folder.exists() and (_held(folder) or _started(folder)) else None

    def read(self, job: str, offset: int) -> tuple[str, int]:
        try:
            log = os.open(self._of(job) / "log.txt", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return "", offset  # it has not said anything yet
        with open(log, "rb") as file:
            offset = max(offset, 0)
            file.seek(offset)
            data = file.read(READ_BYTES)
        whole = data[: data.rfind(b"\n") + 1]  # the supervisor writes whole lines, none as long as a piece
        return whole.decode("utf-8", "replace"), offset + len(whole)

    def state(self, job: str) -> JobState:
        folder = self._of(job)
        held = _held(folder)  # asked first: the end is written while the lock is held, and only then to be believed
        started, end = _read(folder / "started.json", _Started), _read(folder / "end.json", _End)
        if held:
            return JobState("running", seconds=max(0.0, time.time() - started.at) if started else 0.0)
        if end:
            message = end.message or _in_words(end.status, end.exit_code)
            return JobState(end.status, end.exit_code, end.seconds, message, self._files(folder))
        if started:
            return JobState(
                "lost", message="Its supervisor was killed; the script was told to end.", files=self._files(folder)
            )
        return JobState("lost", message="It was never started: the app ended just before.")

    def cancel(self, job: str) -> None:
        folder = self._of(job)
        told, deadline = False, time.monotonic() + self._patience
        with _lock(folder) as lock:
            while not _over(folder, lock):
                started = _read(folder / "started.json", _Started)
                if time.monotonic() > deadline:
                    raise Problem(
                        f"Job {job} could not be cancelled: its supervisor does not answer.",
                        f"End process {started.supervisor} and its children by hand." if started else "Try again.",
                    )
                if started and not told:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(started.supervisor, signal.SIGTERM)
                    told = True
                time.sleep(0.01)
        end = _read(folder / "end.json", _End)
        if end and end.survivors:
            raise Problem(f"Job {job} left processes that will not end: {end.survivors}.", "End them by hand.")

    def url(self, job: str) -> str:  # noqa: ARG002  # it has no page
        return ""

    def metrics(self, job: str) -> dict[str, float]:
        started = _read(self._of(job) / "started.json", _Started)
        if started is None:
            return {}
        found, self._samples[job] = processes.use(started.supervisor, self._samples.get(job))
        return found

    def tracker(self, job: str, label: str, spec: Spend) -> tracking.Tracker | None:  # noqa: ARG002
        return tracking.Inbox(self._jobs / job / "trackio", hidden) if spec.track else None

    def outputs(self, job: str, label: str, spec: Spend) -> OutputsHere:  # noqa: ARG002  # it is known by its id
        return OutputsHere(self._of(job) / "work", f"jobs/{job}/work/")

    def bill(self, job: str) -> None:
        """It costs nothing."""

    def close(self) -> None:
        """Nothing here watches."""

    def _publish(self, folder: Path, label: str, spec: Spend) -> None:
        """Make the job's folder, whole or not at all. Someone else having made it is as good."""
        found = installed.look(spec.dependencies, spec.script) if spec.dependencies else installed.Missing("")
        command, more = _lent(folder) if isinstance(found, installed.Lent) else self._by_uv(spec)
        self._jobs.mkdir(mode=0o700, parents=True, exist_ok=True)
        plan = _plan(folder, label, spec, command=command, more=more)
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=self._jobs))
        (new / "work").mkdir()
        (new / "tmp").mkdir()
        (new / "script.py").write_text(spec.script, encoding="utf-8")
        supervise.write_json(new / "job.json", {"label": label, "says": _says(found), **plan})
        if isinstance(found, installed.Lent):
            installed.build(found, new / "env")
        try:
            new.rename(folder)
        except OSError:
            shutil.rmtree(new, ignore_errors=True)
            if not folder.exists():
                raise

    def _by_uv(self, spec: Spend) -> tuple[list[str], dict[str, str]]:
        """The command, and variables for it. The script gets this Python's version and none of the app's packages."""
        command = [
            self._uv or find_uv(),
            "run",
            "--no-project",
            "--no-config",
            "--isolated",
            "--python",
            sys.executable,
        ]
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = os.environ.get("UV_CACHE_DIR") or str(Path(home, "uv"))
        env = {"UV_CACHE_DIR": cache, "UV_PYTHON_DOWNLOADS": "never"}
        return [*command, *(f"--with={requirement}" for requirement in spec.dependencies)], env

    def _of(self, job: str) -> Path:
        folder = self._jobs / job
        if not re.fullmatch(r"here-[0-9a-f]{16}", job) or not folder.exists():
            raise Problem(f"There is no job {job!r} on this machine.", "Use the id that job_run returned.")
        return folder

    def _files(self, folder: Path) -> tuple[str, ...]:
        return tuple(f"jobs/{folder.name}/work/{file.path}" for file in files_under(folder / "work")[0])


def find_uv() -> str:
    """The uv program: the one installed with the app, else one on the PATH. Raises Problem without any."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise Problem("uv, which runs jobs on this machine, is not installed.", "Install it: pip install uv.")
    return found


def _job_id(label: str) -> str:
    return f"here-{hashlib.sha256(label.encode()).hexdigest()[:16]}"


def _lent(folder: Path) -> tuple[list[str], dict[str, str]]:
    """The command in an environment of lent packages, and variables for it. Nothing is written beside those packages."""
    programs = folder / "env" / "bin"
    path = os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)])
    return [str(programs / "python")], {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _says(found: installed.Lent | installed.Missing) -> str:
    """The log's first line: where the packages come from."""
    if isinstance(found, installed.Lent):
        return f"Nothing is downloaded, these are installed here: {', '.join(found.asked) or 'none is needed'}.\n"
    return f"uv installs what is needed: {found.what}.\n" if found.what else ""


def _plan(folder: Path, label: str, spec: Spend, *, command: list[str], more: dict[str, str]) -> dict[str, Any]:
    """What the supervisor needs to know. command: what runs a script; more: variables that it needs."""
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
    }
    env |= {name: os.environ[name] for name in _FROM_THE_APP if "@" not in os.environ.get(name, "@")}
    return {
        "command": [*command, str(folder / "script.py")],
        "env": env | more | spec.env | tracking.environment(label, spec, str(folder / "trackio")),
        "timeout": spec.timeout_seconds,
        "memory_bytes": int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * MEMORY_SHARE),
        "file_bytes": max(min(FILE_BYTES, shutil.disk_usage(folder.parent).free // 2), 2 * LOG_BYTES),
        "log_bytes": LOG_BYTES,
    }


def _spawn(folder: Path, lock: int) -> None:
    """Start the supervisor, which inherits the lock. Returns when it has started the script."""
    command = [sys.executable, "-I", "-S", supervise.__file__, str(folder)]
    done = subprocess.run(
        command,
        env={"PATH": os.defpath, "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=[lock],
        start_new_session=True,
        check=False,
    )
    if done.returncode and not _started(folder):
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
        raise Problem(f"The job could not be started: {said or 'no word why'}.", "Is the disk full? Then try again.")


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[int]:
    """A descriptor to lock with. Closing it leaves the lock to a supervisor that inherited it, so never unlock."""
    descriptor = os.open(folder / "job.json", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _take(lock: int, how: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _held(folder: Path) -> bool:
    """Whether somebody supervises or just starts this job. Readers share the lock for an instant to find out."""
    with _lock(folder) as lock:
        return not _take(lock, fcntl.LOCK_SH)


def _over(folder: Path, lock: int) -> bool:
    """Whether nothing runs, nor ever shall: what was not started until now is marked as cancelled."""
    if not _take(lock, fcntl.LOCK_SH):
        return False
    if not _started(folder) and _take(lock) and not _started(folder):
        supervise.write_json(folder / "end.json", {"status": "cancelled"})
    return _started(folder)


def _started(folder: Path) -> bool:
    """Whether it must not be started (again): it was, or it was cancelled before."""
    return (folder / "started.json").exists() or (folder / "end.json").exists()


def _read(path: Path, kind: type[_Told]) -> _Told | None:
    """What the supervisor wrote; None: nothing, or the script wrote over it."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return kind.model_validate_json(file.read(65_536))
    except (OSError, ValidationError):
        return None


def _in_words(status: JobStatus, code: int | None) -> str:
    if status == "timeout":
        return "It was ended at its time limit."
    if status == "cancelled":
        return "It was cancelled."
    if status != "failed" or code is None:
        return ""
    number = -code if code < 0 else code - 128  # uv says 128 + the signal that ended the script
    if number == signal.SIGKILL:
        return "It was killed, most likely because the machine ran out of memory."
    if number in set(signal.Signals):
        return f"It was ended by the signal {signal.Signals(number).name}."
    return f"The script ended with exit code {code}."
