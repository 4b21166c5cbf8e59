"""sandbox_run and sandbox_file: a machine on Hugging Face to try things on, held open for a while."""

from __future__ import annotations

import posixpath
import threading
from pathlib import Path
from typing import Any, Literal

from tools.cards import FileMade, PlaceWords, Spend
from tools.desk import Desk
from tools.jobs import checks
from tools.jobs.place import JobsView, Ran
from tools.jobs.request import payer_of
from tools.problem import MachineEnded, Problem

IDLE = 600  # seconds without a command until it ends itself
LONGEST = 540  # seconds of one command: while it runs, the machine counts as idle
START = 180.0  # seconds
SHOWN = 8_000  # characters of each stream
FETCHED = 1_000_000_000  # bytes


def sandbox_run(
    desk: Desk,
    command: str,
    flavor: str = "cpu-basic",
    *,
    seconds: int = 120,
    lifetime: str = "1h",
    namespace: str = "",
) -> dict[str, Any]:
    """Run a shell command on a Hugging Face machine (root, network, Python, no token), to try things. Costs money.

    The first call asks the user and starts it; later ones use it until its lifetime, 10 idle minutes or job_cancel.

    Args:
        flavor: As hardware() names it; another flavor is another machine.
        seconds: For the command, at most 540; use job_run for longer.

    Returns: A dict: sandbox (str), exit_code, stdout, stderr (their ends), timed_out.
    """
    if not command.strip() or len(command) > checks.SCRIPT:
        raise Problem("The command is empty or too long.", "Pass one shell command.")
    if checks.has_secret(command):
        raise Problem("The command contains what looks like a token.", "Take it out: sandboxes run without tokens.")
    view, place = _view(desk)
    job = _running(view, flavor) or _start(
        desk, view, place, command=command, flavor=flavor, lifetime=lifetime, namespace=namespace
    )
    ran = _awaited(desk, view, job, command=command, seconds=min(max(seconds, 1), LONGEST))
    return {
        "sandbox": job,
        "exit_code": ran.exit_code,
        "stdout": ran.stdout[-SHOWN:],
        "stderr": ran.stderr[-SHOWN:],
        "timed_out": ran.timed_out,
    }


def sandbox_file(
    desk: Desk, op: Literal["read", "write", "list", "fetch"], path: str, *, text: str = "", sandbox: str = ""
) -> Any:
    """Files of a running sandbox: read or write text, list a folder, fetch a file to the user.

    Args:
        sandbox: Its id; default: the latest.

    Returns: read: str. list: list of dicts (name, type, bytes). write, fetch: a dict with the path.
    """
    view, _ = _view(desk)
    job = sandbox or _running(view, "")
    if not job:
        raise Problem("No sandbox is running.", "Start one with sandbox_run.")
    if not path.startswith("/") or "\0" in path:
        raise Problem(f"{path[:120]!r} is no full path.", 'Write it from the root: "/data/in.csv".')
    machine = view.machine(job)
    match op:
        case "read":
            return machine.read(path)
        case "list":
            return [{"name": name, "type": kind, "bytes": size} for name, kind, size in machine.list(path)]
        case "write":
            machine.write(path, text)
            return {"path": path}
    name = posixpath.basename(path.rstrip("/"))
    if not name.isprintable() or name.startswith(".") or "/" in name or not name:
        raise Problem(f"{name[:80]!r} cannot be the name of a file here.", "Copy it to a plain name first.")
    kept = Path("jobs") / job.replace("/", "-") / name
    size = machine.fetch(path, desk.folder / kept, FETCHED)
    desk.show(FileMade(path=str(kept), bytes=size, job=job))
    return {"path": str(kept)}


def _view(desk: Desk) -> tuple[JobsView, PlaceWords]:
    """The jobs, and the place that holds machines open."""
    for place in desk.jobs.places if desk.jobs else ():
        if desk.jobs and place.runs == "machine":
            return desk.jobs, place
    raise Problem("This app has no sandboxes.", "Run the code here, or with job_run.")


def _running(view: JobsView, flavor: str) -> str:
    """The latest sandbox of that flavor, or of any; not the one that runs the session's code."""
    for row in reversed(view.list()):
        if row.runs != "machine" or row.status != "running" or row.purpose == "code":
            continue
        if not flavor or row.flavor == flavor:
            try:
                view.machine(row.job).ready()
            except MachineEnded:  # only just
                continue
            return row.job
    return ""


def _start(
    desk: Desk, view: JobsView, place: PlaceWords, *, command: str, flavor: str, lifetime: str, namespace: str
) -> str:
    request = Spend(
        title=f"Open a sandbox on {flavor}",
        where=place.where,
        place=place,
        namespace=payer_of(view, namespace) if "namespace" in place.takes else "",
        flavor=flavor,
        script=command,
        timeout_seconds=checks.seconds(lifetime),
        idle_seconds=IDLE,
        price_micro_usd_per_hour=view.quote(place, flavor),
    )
    contract = desk.approve(request)
    job = contract.submit()
    waited = 0.0
    while not view.machine(job).ready():
        if waited > START:
            view.cancel(job)
            raise Problem(f"The sandbox did not start within {START:.0f} s and was cancelled.", "Try another flavor.")
        desk.sleep(0.5)
        waited += 0.5
    return job


def _awaited(desk: Desk, view: JobsView, job: str, *, command: str, seconds: float) -> Ran:
    """Run in a thread of its own, so that Stop is heeded while the command is silent; Stop ends the machine."""
    done: list[Ran | Problem] = []

    def work() -> None:
        try:
            done.append(view.machine(job).run(command, seconds, desk.check))
        except Problem as problem:
            done.append(problem)
        except BaseException as error:
            done.append(Problem(f"The command broke off ({type(error).__name__}).", "See job_status."))

    thread = threading.Thread(target=work, name=f"sandbox-{job}", daemon=True)
    thread.start()
    while thread.is_alive():
        desk.check()
        thread.join(0.05)
    desk.check()
    if isinstance(done[0], Problem):
        raise done[0]
    return done[0]
