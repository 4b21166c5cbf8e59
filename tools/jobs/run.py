"""job_run: a script, on this machine or on Hugging Face, after the user agreed."""

from __future__ import annotations

import re
import time
from typing import Any, Literal

from tools.cards import FileMade, Spend
from tools.desk import Contract, Desk, view_of
from tools.jobs import checks, cron, tracking
from tools.jobs.outputs import listed
from tools.jobs.place import JobsView
from tools.jobs.watch import told_alerts
from tools.money import cost
from tools.problem import Problem

LOG_TAIL = 4_000  # characters
MANY = checks.MANY


def job_run(
    desk: Desk,
    script: str,
    title: str = "",
    where: Literal["", "here", "jobs"] = "",
    flavor: str = "",
    timeout: str = "10m",
    dependencies: list[str] | None = None,
    env: dict[str, str] | None = None,
    secrets: list[str] | None = None,
    volumes: list[str] | None = None,
    outputs: bool = True,
    labels: dict[str, str] | None = None,
    nodes: int = 1,
    schedule: str = "",
    runs: int = 1,
    namespace: str = "",
    track: str = "",
    expected: str = "",
    steps: int = 0,
    dry_run: str = "",
    why: str = "",
    wait: bool = True,
) -> dict[str, Any]:
    """Run a Python script as a job, after the user agreed. Print measurements as {'step': 10, 'loss': 0.5}: they become curves.

    It has the network and its own packages, no token and no input. "here" keeps its working folder; on "jobs" only
    what it writes into os.environ["OUTPUTS"] is kept, in a private bucket.

    Args:
        where: "here" (this machine), "jobs" (Hugging Face, costs money); default: jobs if a flavor is named.
        flavor: Hardware of "jobs"; see hardware().
        timeout: The most it may take, installing included: "90s", "1h30m". It bounds the price.
        dependencies: As "transformers==5.2.0"; nothing but the standard library is there without.
        secrets: Names only. "HF_TOKEN" only if the script must write to the Hub.
        volumes: Mounted for reading: "datasets/ada/pets:/data".
        nodes: Machines; above 1 the script runs under torchrun on all.
        schedule: Cron in UTC ("0 9 * * 1") or "@daily", for so many runs; returns at once.
        namespace: Who pays; default: the user.
        track: A project, for a private live Trackio dashboard; see skill("live-tracking").
        expected: Your guess of its time.
        steps: Optimizer steps it will make.
        dry_run: Id of a short job (20 printed steps) on the same hardware: its pace foretells time and cost. Make one
            before what costs more than a little.
        why: Why this hardware.
        wait: False returns at once; then see job_wait.

    Returns: A dict: job (str), status ("running", "completed", "failed", "cancelled", "timeout", "lost"), message,
        exit_code, seconds, log (its end), files, outputs (bucket folder), outputs_files, edited (bool: the user changed the script).
    """
    checks.check_script(script)
    for given in (dependencies, env, secrets, volumes, labels):
        if given and len(given) > MANY:
            raise Problem("These are too many dependencies or variables.", f"Give at most {MANY} of each.")
    first_line = script.strip().splitlines()[0][:60]
    values: dict[str, Any] = {
        "title": " ".join(title.split())[:120] or f"Run a script: {first_line}",
        "script": script,
        "dependencies": tuple(checks.requirement(text) for text in dependencies or []),
        "env": dict(checks.variable(name, value) for name, value in (env or {}).items()),
        "timeout_seconds": checks.seconds(timeout),
        "steps": checks.steps(steps, dry_run),
    }
    when = cron.check(schedule, runs)
    if track:
        values |= _tracked(track, values["dependencies"], when)
    place = _where(desk.jobs, where, flavor)
    remote = {"flavor": flavor, "secrets": secrets, "volumes": volumes, "labels": labels, "namespace": namespace}
    remote["schedule"] = when
    if place == "here":
        if nodes != 1 or any(remote.values()):
            given_here = ", ".join([*(name for name, value in remote.items() if value), *(["nodes"] * (nodes != 1))])
            raise Problem(f"A job on this machine takes no {given_here}.", 'Leave it out, or ask for where="jobs".')
        request = Spend(where="here", price_micro_usd_per_hour=0, **values)
    else:
        terms = _remote(view_of(desk), flavor, namespace, nodes, runs, outputs, expected, secrets or [])
        request = Spend(
            where="jobs",
            volumes=tuple(_volume(text) for text in volumes or []),
            labels=dict(checks.label(name, value) for name, value in (labels or {}).items()),
            why=" ".join(why.split())[:300],
            schedule=when,
            runs=runs,
            dashboard=tracking.dashboard(terms["namespace"], values["track"]) if track else "",
            **values,
            **terms,
        )
    if dry_run:
        request = request.model_copy(update={"foreseen": view_of(desk).foresee(dry_run, request)})
    contract = desk.approve(cron.planned(request, time.time()))
    job = contract.submit()
    if not wait or when:
        return {"job": job, "status": "running", "edited": contract.request.script != script}
    return _ended(desk, contract, script)


def _tracked(track: str, dependencies: tuple[str, ...], when: str) -> dict[str, Any]:
    """The project, and Trackio among the packages."""
    if when:
        raise Problem("A schedule cannot be tracked: its runs would share one name.", "Leave out track.")
    named = any(re.match(r"trackio\b", text) for text in dependencies)
    return {
        "track": tracking.project(track),
        "dependencies": dependencies if named else (*dependencies, tracking.REQUIREMENT),
    }


def _where(view: JobsView | None, where: str, flavor: str) -> str:
    places = view.places if view else ("here",)
    if not where:
        where = "jobs" if "jobs" in places and (flavor or "here" not in places) else "here"
    if where not in places:
        there = " or ".join(f'where="{place}"' for place in places if place != "sandbox")
        raise Problem(f"Nothing can be run on {where!r} by this app.", f"Use {there}." if there else "Ask the user.")
    return where


def _remote(
    view: JobsView,
    flavor: str,
    namespace: str,
    nodes: int,
    runs: int,
    outputs: bool,
    expected: str,
    secrets: list[str],
) -> dict[str, Any]:
    """What a card for Hugging Face says beyond the script: who pays, what, how much, and with which token."""
    if view.prices is None:
        raise Problem("Prices are not known here, so nothing can be agreed to.", 'Use where="here".')
    if not flavor:
        raise Problem("A job on Hugging Face needs a flavor.", "See hardware(need=…), then name one.")
    if not 1 <= nodes <= 16:
        raise Problem(f"{nodes} machines cannot be had.", "Ask for 1 to 16.")
    price = view.prices.quote(flavor).micro_usd_per_hour
    payer = payer_of(view, namespace)
    token, names = token_of(view, secrets)
    likely = cost(price, checks.seconds(expected), machines=nodes, runs=runs) if expected else None
    return {
        "flavor": flavor,
        "namespace": payer,
        "nodes": nodes,
        "outputs": f"{payer}/ml-intern" if outputs else "",
        "secrets": names,
        "token": token,
        "price_micro_usd_per_hour": price,
        "likely_micro_usd": likely,
    }


def payer_of(view: JobsView, namespace: str) -> str:
    """Who pays, by name: the user unless another is named. Raises Problem for one who is not among the payers."""
    payers = view.payers()
    if namespace and namespace not in payers:
        raise Problem(f"{namespace[:60]!r} does not pay for you.", f"These can: {', '.join(payers)}.")
    if not payers:
        raise Problem("Nobody is signed in who could pay.", "Ask the user to sign in with Hugging Face.")
    return namespace or payers[0]


def token_of(view: JobsView, secrets: list[str]) -> tuple[str, tuple[str, ...]]:
    """(what HF_TOKEN will be, the names). Raises Problem for a name that the user keeps no secret under."""
    names = checks.secret_names(secrets)
    kept = view.secrets()
    if unknown := [name for name in names if name not in kept and name != "HF_TOKEN"]:
        raise Problem(
            f"There is no secret {', '.join(unknown)}.",
            f"The user keeps {', '.join(kept) or 'none'}; ask for others to be added to the app.",
        )
    return ("stored" if "HF_TOKEN" in kept else "own") if "HF_TOKEN" in names else "none", names


def _volume(text: str) -> str:
    kind, source, path = checks.volume(text)
    return f"{kind}s/{source}:{path}"


def _ended(desk: Desk, contract: Contract, script: str) -> dict[str, Any]:
    end = contract.wait()
    for path in end.files:
        file = desk.folder / path
        if file.is_file() and not file.is_symlink():
            desk.show(FileMade(path=path, bytes=file.stat().st_size, job=end.job))
    alerts = told_alerts(desk.jobs.state(end.job)) if desk.jobs and contract.request.track else []
    return {
        "job": end.job,
        "status": end.status,
        "message": end.message,
        "exit_code": end.exit_code,
        "seconds": round(end.seconds, 1),
        "log": end.log[-LOG_TAIL:],
        "files": list(end.files),
        "outputs": end.outputs,
        "outputs_files": listed(end.left),
        "edited": contract.request.script != script,
        **({"alerts": alerts} if alerts else {}),
    }
