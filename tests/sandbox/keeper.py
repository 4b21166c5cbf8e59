"""Process 1 of the place in which attacks run: lays out the canaries, starts the app, runs the cases, judges.

`python -m tests.sandbox.keeper` reads an Order as JSON from standard input and prints one Verdict as JSON per line.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from tests import ROOT
from tests.sandbox import canaries, spacelike
from tests.sandbox.canaries import APP, HOME, KEPT, MARKS, OTHER, SESSIONS, STREAM, Scene, Watch, processes

GRACE = 2.0  # seconds after its wall limit within which a step must have returned: one for us, one for a busy machine
_HUNG = 15.0  # seconds after its wall limit when nobody waits any longer
_LOG = KEPT / "app.log"

# The most that is no breach. The sandbox's own limits are lower: it reacts within 50 ms, and a burst is faster.
RESIDENT_BYTES = 2 << 30
STORAGE_BYTES = 5 << 28  # twice the quota of 512 MB and a burst
THREADS = 400
FILES = 25_000  # the quota is 5,000 entries
APP_GROWTH_BYTES = 400 << 20
CALLS = 500
TOLD_CHARS = 110_000
IDLE_CPU_SECONDS = 0.06  # in IDLE_SECONDS, of all workers together
IDLE_SECONDS = 0.4
CPUS = 1.35  # in a step of at least a second

_RIGHTS = {
    True: spacelike.Rights(processes=600, memory_bytes=16 << 30, file_bytes=4 << 30),
    False: spacelike.Rights(processes=120, memory_bytes=4 << 30, file_bytes=2 << 30),  # nothing else holds the code
}


@dataclass(frozen=True)
class Verdict:
    """What came of one case. breaches: what must not have happened and did, as the canaries saw it."""

    name: str
    breaches: list[str]
    claimed: bool  # the attack printed that it succeeded, which proves nothing
    printed: str  # cut
    error: str
    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)
    judged: bool = True  # False: what went wrong is the place's, and says nothing of the attack


class App:
    """The app's process, and our conversation with it."""

    def __init__(self, uid: int, level: str, python: str, known: canaries.Secrets) -> None:
        self.log = _LOG.open("wb")
        secret = known.at["environment"]
        rights = _RIGHTS[level != "unsafe"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.sandbox.app"],
            cwd=APP,
            env=_environment() | {"HF_TOKEN": secret, "OPENAI_API_KEY": secret},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: spacelike.become_app(uid, rights),
        )
        self._lines: SimpleQueue[str] = SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self.tell(level=level, python=python, memory=known.at["memory"])

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self._lines.put(line)
        self._lines.put("")

    def tell(self, **command: object) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def heard(self, seconds: float) -> dict[str, Any] | None:
        """The answer to the last command; None when it does not come in time. Raises Gone when the app is."""
        try:
            line = self._lines.get(timeout=seconds)
        except Empty:
            return None
        if not line:
            raise Gone(f"the app ended with {self.process.wait()}")
        return dict(json.loads(line))

    def ask(self, seconds: float, **command: object) -> dict[str, Any]:
        self.tell(**command)
        if (answer := self.heard(seconds)) is None:
            raise Gone(f"the app did not answer to {command['do']} within {seconds:g} s")
        return answer


class Gone(Exception):
    """There is no app any more that could be attacked."""


class Keeper:
    def __init__(self, uid: int, level: str, python: str) -> None:
        self.uid = uid
        self.known = canaries.Secrets()
        canaries.build(uid, self.known)
        self.listeners = canaries.Listeners(uid)
        self.exits = canaries.Exits()
        self.app = App(uid, level, python, self.known)
        self.parents: set[int] = set()
        self.other_pid = 0

    def prepare(self) -> None:
        """Another session lives in the app, with a file and a variable of its own."""
        self.app.ask(60, do="hello")
        pid = self.app.process.pid  # the app and what it starts before any session may have children: zygotes
        self.parents = {pid, *(seen.pid for seen in processes(self.uid).values() if seen.parent == pid)}
        self.app.ask(60, do="open", session="other", folder=str(OTHER), wall=30)
        secret = self.known.at["other_variable"]
        answer = self.app.ask(60, do="run", session="other", code=f"mine = {secret!r}\nlen(mine)")
        if answer["value"] != str(len(secret)):
            raise Gone(f"the other session does not work: {answer['error']}")
        if int(answer["capabilities"], 16):
            raise Gone("the app has capabilities; nothing would be proven")
        self.other_pid = answer["pid"] or 0

    # --- one case -----------------------------------------------------------------------------------

    def run(self, number: int, case: dict[str, Any]) -> Verdict:
        folder = SESSIONS / f"s{number}"
        self.app.ask(30, do="open", session=str(number), folder=str(folder), wall=case["wall"])
        self.app.ask(30, do="run", session=str(number), code="kept = 41")
        before, heard, exits = Scene.now(), len(self.listeners.heard), self.exits.size()
        ports, rights = canaries.open_ports(self.uid), canaries.rights(self.app.process.pid)
        self.watch = Watch(self.uid, self.app.process.pid, self.parents)
        self.watch.look()
        app_bytes = self.watch.app_bytes
        breaches: list[str] = []
        answer: dict[str, Any] = {}
        try:
            for step in case["steps"]:
                answer = self._step(number, self.fill(step), case["wall"], breaches)
            breaches += [f"opened {port}" for port in sorted(canaries.open_ports(self.uid) - ports)]
            breaches += [f"holds {what}" for what in canaries.strange_descriptors(answer["pid"])]
            breaches += canaries.ipc_objects()
            breaches += self._after(number, case["recovers"])
        except Gone as gone:
            breaches.append(str(gone))
        breaches += [*Scene.now().changes(before), *sorted(set(self.listeners.heard[heard:]))]
        breaches += self._processes(exits, rights)
        breaches += self._amounts(app_bytes)
        log = _LOG.read_text(errors="replace")
        breaches += [f"{place} in the app's log" for place in self.known.leaked(log)]
        if "Traceback" in log:
            breaches.append(f"the app logged {log[-600:]!r}")
        printed = f"{answer.get('output', '')}{answer.get('value', '')}"
        return Verdict(
            case["name"],
            list(dict.fromkeys(breaches)),
            "PWNED" in printed,
            _cut(printed),
            _cut(str(answer.get("error", ""))),
            round(float(answer.get("seconds", 0)), 3),
            {
                "resident_mb": self.watch.resident_bytes >> 20,
                "storage_mb": self.watch.storage_bytes >> 20,
                "threads": self.watch.threads,
                "report": answer.get("report"),
            },
        )

    def honest(self, number: int, case: dict[str, Any]) -> dict[str, Any]:
        """What each step of an honest session gave."""
        self.app.ask(30, do="open", session=str(number), folder=str(SESSIONS / f"s{number}"), wall=60)
        answers = [self.app.ask(90, do="run", session=str(number), code=code) for code in case["steps"]]
        self.app.ask(30, do="close", session=str(number))
        return {"name": case["name"], "answers": answers}

    def _step(self, number: int, code: str, wall: float, breaches: list[str]) -> dict[str, Any]:
        """Run one step, watching; raises Gone when it never returns."""
        cpu, started = sum(self.watch.cpu_seconds.values()), time.monotonic()
        told = self.app.ask(30, do="facts", session=str(number))["told"]
        self.app.tell(do="run", session=str(number), code=code)
        while (answer := self.app.heard(0.02)) is None:
            self.watch.look()
            if time.monotonic() - started > wall + _HUNG:
                raise Gone("the step never came back")
        self.watch.look()
        took = time.monotonic() - started
        share = (sum(self.watch.cpu_seconds.values()) - cpu) / took
        if took > wall + GRACE:
            breaches.append(f"the step came back after {took:.1f} s, its limit was {wall:g} s")
        if took >= 1 and share > CPUS:
            breaches.append(f"{share:.1f} CPUs were used")
        text = "".join(str(answer[key]) for key in ("output", "value", "error", "final"))
        breaches += [f"{place} leaked" for place in self.known.leaked(text)]
        if len(text) > 2 * TOLD_CHARS or answer["told"] - told > TOLD_CHARS:
            breaches.append(f"{len(text):,} characters came back, {answer['told'] - told:,} were told")
        return answer

    def _after(self, number: int, recovers: bool) -> Iterator[str]:
        """Is all as it was: this session, the other one, the app?"""
        idle = self.watch.idle_cpu(IDLE_SECONDS)
        if idle > IDLE_CPU_SECONDS:  # a killed one may take a while to die: only what lasts counts
            idle = self.watch.idle_cpu(IDLE_SECONDS)
        if idle > IDLE_CPU_SECONDS:
            yield f"{idle:.2f} CPU seconds in {IDLE_SECONDS} s after the step"
        answer = self.app.ask(30, do="facts", session=str(number))
        if answer["outside_steps"]:
            yield f"{answer['outside_steps']} tool calls after the step"
        if answer["most_calls"] > CALLS:
            yield f"{answer['most_calls']} tool calls in one step"
        if answer["pushed"] or answer["asked_to_push"] != answer["questions"]:
            yield f"{answer['asked_to_push']} gated calls, {answer['questions']} questions, {answer['pushed']} done"
        if not answer["sound"]:
            yield "the app's own modules were changed"
        for chance in range(2 if recovers else 0, -1, -1):
            following = self.app.ask(60, do="run", session=str(number), code="print(20 + 22)\nadd(1, 2)")
            yield from (f"{place} leaked" for place in self.known.leaked(json.dumps(following)))
            if following["value"] == "3" and (following["output"] == "42\n" or recovers):
                break
            if not chance:
                yield f"the next step fails: {following['output'][:200]!r} {following['error'][-400:]!r}"
        others = self.app.ask(30, do="run", session="other", code="mine")
        if others["value"] != repr(self.known.at["other_variable"]) or others["restarted"]:
            yield f"the other session suffered: {others['error'][-200:]} {others['restarted']}"
        self.app.ask(30, do="close", session=str(number))

    def _processes(self, exits: int, rights: tuple[object, ...]) -> Iterator[str]:
        yield from sorted(self.watch.strangers)
        self.watch.look()
        app = self.watch.last.get(self.app.process.pid)
        if app is None:
            yield "the app is gone"
        else:
            if app.state == "T":
                yield "the app is stopped"
            if (now := canaries.rights(app.pid)) != rights:
                yield (
                    "the app's "
                    + ", ".join(
                        name
                        for name, old, new in zip(
                            ("nice value", "scheduler", "CPUs", "limits"), rights, now, strict=True
                        )
                        if old != new
                    )
                    + " changed"
                )
        yield from self.exits.strangers(self.uid, exits, self.parents)

    def _amounts(self, app_bytes: int) -> Iterator[str]:
        watch = self.watch
        if watch.resident_bytes > RESIDENT_BYTES:
            yield f"{watch.resident_bytes >> 20:,} MB of memory"
        if watch.storage_bytes > STORAGE_BYTES:
            yield f"{watch.storage_bytes >> 20:,} MB of storage"
        if watch.files > FILES:
            yield f"{watch.files:,} files"
        if watch.threads > THREADS:
            yield f"{watch.threads} threads"
        if watch.app_bytes - app_bytes > APP_GROWTH_BYTES:
            yield f"the app grew by {(watch.app_bytes - app_bytes) >> 20} MB"

    def fill(self, code: str) -> str:
        """Fill in the placeholders. Raises KeyError for one that is unknown."""
        places = {
            "APP_PID": self.app.process.pid,
            "APP_DIR": APP,
            "HOME": HOME,
            "MARK": MARKS / "mark",
            "OTHER": OTHER,
            "OTHER_PID": self.other_pid,
            "TCP": self.listeners.tcp.getsockname()[1],
            "UDP": self.listeners.udp.getsockname()[1],
            "USOCK": STREAM,
            "ABS": self.listeners.abstract,
            "ROOT": HOME,
        }
        return re.sub(r"@([A-Z][A-Z_]*)@", lambda found: str(places[found[1]]), code)

    def finish(self) -> list[str]:
        """Quit the app; what it leaves behind."""
        try:
            self.app.ask(30, do="quit")
            self.app.process.wait(10)
        except (Gone, subprocess.TimeoutExpired) as error:
            return [f"the app does not end: {error}"]
        time.sleep(0.3)
        return [f"{seen.name} was left behind" for seen in processes(self.uid).values()]


def _environment() -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(HOME),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_DISABLE_XET": "1",
    }


def _cut(text: str, chars: int = 600) -> str:
    return text if len(text) <= chars else f"{text[: chars // 2]} … {text[-chars // 2 :]}"


def _prefixes(python: str) -> set[Path]:
    """The folders of an interpreter: of its environment, and of the installation that this was made from."""
    asked = subprocess.run(
        [python, "-c", "import sys; print(sys.prefix, sys.base_prefix, sep='\\n')"], capture_output=True, text=True
    )
    return {Path(line) for line in asked.stdout.split()} | {Path(os.path.realpath(python)).parent}


def main() -> None:
    order = json.loads(sys.stdin.read())
    try:
        uid = spacelike.enter([ROOT, *_prefixes(sys.executable), *_prefixes(order["python"])])
        for line in _module(uid, order) if "module" in order else _cases(uid, order):
            print(json.dumps(line), flush=True)
    except spacelike.Impossible as error:
        print(json.dumps({"impossible": str(error)}), flush=True)
    except Gone as gone:
        print(json.dumps({"failed": f"{gone}: {_LOG.read_text()[-3000:]}"}), flush=True)
    os._exit(0)  # and with this process everything in its place


def _cases(uid: int, order: dict[str, Any]) -> Iterator[dict[str, Any]]:
    keeper = Keeper(uid, order["level"], order["python"])
    keeper.prepare()
    for number, case in enumerate(order["cases"]):
        if "expected" in case:
            yield keeper.honest(number, case)
            continue
        verdict = keeper.run(number, case)
        yield asdict(verdict)
        if verdict.breaches:
            return  # nothing after it would prove anything
    yield {"left": keeper.finish()}


def _module(uid: int, order: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run a module of ours as the app: the argument on its standard input, JSON lines from its standard output."""
    canaries.build(uid, canaries.Secrets())
    KEPT.mkdir(mode=0o700)
    with _LOG.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", order["module"]],
            cwd=APP,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: spacelike.become_app(uid, _RIGHTS[True]),
        )
        assert process.stdin
        process.stdin.write(json.dumps(order["argument"]))
        process.stdin.close()
        for line in process.stdout or ():
            yield json.loads(line)
    if status := process.wait():
        raise Gone(f"{order['module']} ended with {status}")


if __name__ == "__main__":
    main()
