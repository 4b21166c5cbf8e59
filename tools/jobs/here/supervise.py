"""Stands beside one local job for as long as it runs, so that the job outlives the app and its true end is known.

Started by LocalJobs as `python -I -S supervise.py FOLDER`, with the lock on FOLDER/job.json held in an inherited
descriptor: whoever finds that lock free knows that nobody supervises this job any more. Standard library only.
In FOLDER it reads job.json, and writes started.json before the script starts, log.txt while it runs, end.json after.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

LINE = 16_384  # characters after which a line is cut in two
TAIL = 65_536  # characters of the log's end that are kept when the log is full
GRACE = 0.5  # seconds to obey SIGTERM
PATIENCE = 3.0  # seconds for the kernel to end what was killed
LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Whole or not at all, also through a power cut."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with new.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


class Log:
    """Bytes in, whole clean lines out: escape sequences gone, of a progress bar only the states worth a line."""

    def __init__(self, path: Path, cap: int) -> None:
        """cap: bytes after which the file stops growing; what came last is added at the end."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._room = cap
        self._pending = ""  # what came since the last line end
        self._told = ""  # the last half line or bar that was written as a line
        self._told_at = time.monotonic()
        self._tail: deque[str] = deque()
        self._tail_size = self._left_out = 0

    def feed(self, data: bytes) -> None:
        *lines, pending = (self._pending + self._decode(data)).split("\n")
        if len(pending) > LINE:
            pending = pending[pending.rfind("\r", 0, -1) + 1 :]  # the states of a bar that were overwritten
        while len(pending) > LINE:
            lines.append(pending[:LINE])
            pending = pending[LINE:]
        self._pending = pending
        text = "".join(self._finished(line) for line in lines)
        if text:
            self._write(text)

    def tick(self) -> None:
        """Write what waits for its line end, if it waited a second: a bar that moves, a prompt, half a line."""
        now = time.monotonic()
        if now - self._told_at < 1.0:
            return
        self._told_at = now
        shown = _clean(self._pending)
        if shown.strip() and shown != self._told:
            self._told = shown
            self._write(shown + "\n")

    def close(self) -> None:
        last = self._finished(self._pending + self._decode(b"", True))
        if last.strip():
            self._write(last)
        if self._left_out:
            dropped = self._left_out - self._tail_size
            self._append(f"… {dropped:,} characters of the log are left out here …\n" + "".join(self._tail))
        os.close(self._file)

    def _finished(self, raw: str) -> str:
        line = _clean(raw)
        repeated, self._told = bool(self._told) and line == self._told, ""
        wiped = not line.strip() and "\r" in raw.rstrip("\r")  # a bar that cleared itself
        return "" if repeated or wiped else line + "\n"

    def _write(self, text: str) -> None:
        if self._room > 0:
            self._room -= len(text.encode())
            self._append(text)
            if self._room <= 0:
                self._append("… the log is full; its last lines follow when the job has ended …\n")
            return
        self._tail.append(text)
        self._left_out += len(text)
        self._tail_size += len(text)
        while self._tail_size - len(self._tail[0]) > TAIL:
            self._tail_size -= len(self._tail.popleft())

    def _append(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a full disk must not end the job's supervision
            os.write(self._file, text.encode("utf-8", "replace"))


def _clean(raw: str) -> str:
    return _CONTROL.sub("", _ESCAPE.sub("", raw.rstrip("\r").rpartition("\r")[2]))


class Script:
    """The running script and everything it started."""

    def __init__(self, plan: dict[str, Any], folder: Path) -> None:
        self._process = subprocess.Popen(
            plan["command"],
            cwd=folder / "work",
            env=plan["env"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=_die_with_supervisor if LINUX else None,
        )
        assert self._process.stdout is not None  # noqa: S101  # it is a pipe
        self.output = self._process.stdout.fileno()
        os.set_blocking(self.output, False)
        self.exit_code: int | None = None

    def reap(self) -> None:
        """Take leave of ended children; orphans of the script are ours too. Sets exit_code."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._process.pid:
                    self.exit_code = self._process.returncode = os.waitstatus_to_exitcode(ended[1])

    def end(self, grace: float) -> list[int]:
        """End the whole tree, with grace seconds to obey SIGTERM; returns the ids of processes that would not die."""
        if grace:
            self._signal(signal.SIGTERM)
            self._await_end(grace)
        deadline = time.monotonic() + PATIENCE
        while self._living() and time.monotonic() < deadline:  # again and again: it may be forking meanwhile
            self._signal(signal.SIGKILL)
            self._await_end(0.05)
        return self._living()

    def read(self) -> bytes | None:
        """What the script has said since; None: nothing more will come."""
        try:
            return os.read(self.output, 65_536) or None
        except BlockingIOError:
            return b""

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
        for pid in self._living():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def _await_end(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._living() and time.monotonic() < deadline:
            time.sleep(0.01)

    def _living(self) -> list[int]:
        """Process ids of the tree. Linux: every descendant, whatever session it fled to. Elsewhere: the script."""
        self.reap()
        if not LINUX:
            return [] if self.exit_code is not None else [self._process.pid]
        parents = dict(_processes())
        tree = {os.getpid()}
        while grown := {pid for pid, parent in parents.items() if parent in tree} - tree:
            tree |= grown
        return sorted(tree - {os.getpid()})


def _processes() -> list[tuple[int, int]]:
    """(process, parent) of all that live, by /proc."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = Path("/proc", name, "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    found.append((int(name), int(parent)))
    return found


def _die_with_supervisor() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # uv hands SIGTERM on to the script


def listen() -> int:
    """A descriptor that tells, one byte per signal, of SIGTERM (cancel) and SIGCHLD."""
    wake, tell = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(tell, False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(tell)
    return wake


def watch(script: Script, wake: int, timeout: float, *, log: Log) -> str:
    """Write the log until the script has ended, "timeout" or "cancelled" comes first; returns which."""
    deadline = time.monotonic() + timeout
    sources = [script.output, wake]
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select(sources, [], [], min(left, 1.0))
        if wake in ready:
            script.reap()
            if signal.SIGTERM in os.read(wake, 4096):
                return "cancelled"
        if script.exit_code is not None:
            return "ended"
        if script.output in ready:
            said = script.read()
            if said is None:
                sources.remove(script.output)
            else:
                log.feed(said)
                time.sleep(0.005)  # let more gather: a script that prints fast shall not cost a second core
        log.tick()
    return "timeout"


def supervise(folder: Path, plan: dict[str, Any], wake: int, *, script: Script) -> dict[str, Any]:
    began = time.monotonic()
    log = Log(folder / "log.txt", plan["log_bytes"])
    log.feed(plan["says"].encode())
    why = watch(script, wake, plan["timeout"], log=log)
    seconds = time.monotonic() - began
    survivors = script.end(0.0 if why == "ended" else GRACE)
    while said := script.read():
        log.feed(said)
    log.close()
    code = script.exit_code if why == "ended" else None
    status = why if why != "ended" else "failed" if code else "completed"
    return {"status": status, "exit_code": code, "seconds": round(seconds, 3), "survivors": survivors}


def limit(plan: dict[str, Any]) -> None:
    """Bound every process of the job. Memory is what it may write to; address space alone costs nothing."""
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_DATA, plan["memory_bytes"]),
        (resource.RLIMIT_FSIZE, plan["file_bytes"]),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def main(folder: Path) -> None:
    """Fork, so that the job is no child of the app; the first process ends when the script has started."""
    hear, tell = os.pipe()
    if os.fork():
        os.close(tell)
        os._exit(0 if os.read(hear, 1) else 1)
    wake = listen()
    plan = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    limit(plan)
    if LINUX:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans of the script come to us
    write_json(folder / "started.json", {"supervisor": os.getpid(), "at": time.time()})  # from here on never again
    try:
        script = Script(plan, folder)
    except OSError as error:
        end: dict[str, Any] = {"status": "failed", "message": f"The script could not be started: {error}."}
        write_json(folder / "end.json", end)
        raise
    os.write(tell, b"1")
    os.close(tell)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    write_json(folder / "end.json", supervise(folder, plan, wake, script=script))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
