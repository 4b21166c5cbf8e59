"""What job_run and job_schedule put before the user: a Spend, made of what a model asks for. Nothing is started here."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from tools.cards import PlaceWords, Spend
from tools.jobs import checks, cron, tracking
from tools.jobs.place import JobsView
from tools.money import cost
from tools.problem import Problem

MANY = checks.MANY


@dataclass(frozen=True, kw_only=True)
class JobDraft:
    """What a model asks for, as it writes it: nothing of it is checked yet."""

    script: str
    title: str
    flavor: str
    timeout: str
    dependencies: list[str] | None
    env: dict[str, str] | None
    secrets: list[str] | None
    volumes: list[str] | None
    outputs: bool
    labels: dict[str, str] | None
    namespace: str
    expected: str
    steps: int
    dry_run: str
    why: str
    nodes: int = 1
    track: str = ""
    schedule: str = ""
    runs: int = 1


def place_for(view: JobsView, runs: str, where: str = "", *, flavor: str = "") -> PlaceWords:
    """The place that is meant: the one that is named, else the first, of those with a choice of hardware if a flavor is."""
    there = [place for place in view.places if place.runs == runs]
    if where:
        fitting = [place for place in there if place.where == where]
    else:
        fitting = [place for place in there if not flavor or "flavor" in place.takes] or there
    if not fitting:
        others = " or ".join(f'where="{place.where}"' for place in there)
        how = f"on {where!r}" if where else "like that"
        raise Problem(f"Nothing can be run {how} by this app.", f"Use {others}." if others else "Ask the user.")
    return fitting[0]


def request_of(view: JobsView, place: PlaceWords, draft: JobDraft) -> Spend:
    """The request, with its price and, of a schedule, its dates. Raises Problem for what cannot be had there."""
    values = _script(draft)
    if place.runs == "cron":
        values |= {"schedule": cron.check(draft.schedule, draft.runs), "runs": draft.runs}
    if draft.track:
        values |= _tracked(draft.track, values["dependencies"])
    _refuse_what_it_does_not_take(view, place, draft)
    if "flavor" in place.takes:
        values |= _hardware(view, place, draft)
    else:
        values["price_micro_usd_per_hour"] = view.quote(place, "")
    if draft.track and "dashboard" in place.takes:
        values["dashboard"] = tracking.dashboard(values["namespace"], values["track"])
    request = Spend(where=place.where, place=place, **values)
    if draft.dry_run:
        request = request.model_copy(update={"foreseen": view.foresee(draft.dry_run, request)})
    return cron.planned(request, time.time())


def _script(draft: JobDraft) -> dict[str, Any]:
    """What is the same wherever it runs."""
    checks.check_script(draft.script)
    for given in (draft.dependencies, draft.env, draft.secrets, draft.volumes, draft.labels):
        if given and len(given) > MANY:
            raise Problem("These are too many dependencies or variables.", f"Give at most {MANY} of each.")
    first_line = draft.script.strip().splitlines()[0][:60]
    return {
        "title": " ".join(draft.title.split())[:120] or f"Run a script: {first_line}",
        "script": draft.script,
        "dependencies": tuple(checks.requirement(text) for text in draft.dependencies or []),
        "env": dict(checks.variable(name, value) for name, value in (draft.env or {}).items()),
        "timeout_seconds": checks.seconds(draft.timeout),
        "steps": checks.steps(draft.steps, draft.dry_run),
    }


def _tracked(track: str, dependencies: tuple[str, ...]) -> dict[str, Any]:
    """The project, and Trackio among the packages."""
    named = any(re.match(r"trackio\b", text) for text in dependencies)
    return {
        "track": tracking.project(track),
        "dependencies": dependencies if named else (*dependencies, tracking.REQUIREMENT),
    }


def _refuse_what_it_does_not_take(view: JobsView, place: PlaceWords, draft: JobDraft) -> None:
    given = {name: getattr(draft, name) for name in ("flavor", "secrets", "volumes", "labels", "namespace")}
    given["nodes"] = draft.nodes != 1
    foreign = [name for name, value in given.items() if value and name not in place.takes]
    if foreign:
        others = [one.where for one in view.places if one.runs == place.runs and {*foreign} <= {*one.takes}]
        instead = f', or ask for where="{others[0]}"' if others else ""
        raise Problem(f"A job on {place.title} takes no {', '.join(foreign)}.", f"Leave it out{instead}.")


def _hardware(view: JobsView, place: PlaceWords, draft: JobDraft) -> dict[str, Any]:
    """What a card says where there is hardware to choose from: who pays, for what, how much, and with which token."""
    if not draft.flavor:
        raise Problem(f"What runs on {place.title} needs a flavor.", "See hardware(need=…), then name one.")
    nodes, runs, expected = draft.nodes, draft.runs, draft.expected
    if not 1 <= nodes <= 16:
        raise Problem(f"{nodes} machines cannot be had.", "Ask for 1 to 16.")
    price = view.quote(place, draft.flavor)
    payer = payer_of(view, draft.namespace) if "namespace" in place.takes else ""
    token, names = token_of(view, draft.secrets or [])
    likely = cost(price, checks.seconds(expected), machines=nodes, runs=runs) if expected else None
    return {
        "flavor": draft.flavor,
        "namespace": payer,
        "nodes": nodes,
        "outputs": f"{payer}/ml-intern" if draft.outputs and "outputs" in place.takes else "",
        "secrets": names,
        "token": token,
        "volumes": tuple(_volume(text) for text in draft.volumes or []),
        "labels": dict(checks.label(name, value) for name, value in (draft.labels or {}).items()),
        "why": " ".join(draft.why.split())[:300],
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
