"""What the user demanded or forbade, kept as data: joined, told to the model, and held against what is asked for. Pure.

`heard.demands_in` finds it in the user's words. A must of one kind allows what it names and nothing else of that kind;
several of them allow all that they name. The later word wins, and only the user's own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial

from agent.demands.script import ScriptFacts, read_script, strings
from agent.events import DemandsSet, Entry
from tools.cards import Demand, Request, Spend
from tools.money import usd

__all__ = ["ASK", "after_rewinding", "folded", "made_by", "merged", "pinned_budget", "violations"]

ASK = (
    "Do not put something else in its place, and do not look for a way around. Ask the user with ask_user; "
    "the user can also change what is pinned on the page."
)
_PERMISSIVE = (
    "apache",
    "mit",
    "bsd",
    "cc0",
    "cc-by-4",
    "cc-by-3",
    "cc-by-2",
    "unlicense",
    "isc",
    "zlib",
    "odc-by",
    "openrail",
)
_RIVALS = frozenset(("dpo", "ppo", "grpo", "kto", "orpo", "rloo", "cpo"))  # one of them is not another
_FEW_WEIGHTS = frozenset(("lora", "qlora", "dora"))
_WORDS = {"base_model": "model", "data": "dataset"}


def merged(old: Sequence[Demand], new: Iterable[Demand]) -> tuple[Demand, ...]:
    """The list after the user said more: a new budget, licence or "instead" replaces; the opposite of a demand ends it."""
    demands, past = list(old), tuple(old)
    for demand in new:
        if demand in demands:
            continue
        opposite = "must_not" if demand.rule == "must" else "must"
        demands = [
            one
            for one in demands
            if not (one.about == demand.about and one.rule == opposite and one.value and _same(one.value, demand.value))
            and not (one in past and one.about == demand.about and one.rule == demand.rule and _replaces(demand))
        ]
        demands.append(demand)
    return tuple(demands)


def folded(entries: Iterable[Entry]) -> tuple[Demand, ...]:
    demands: tuple[Demand, ...] = ()
    for entry in entries:
        if isinstance(entry.event, DemandsSet):
            demands = entry.event.demands
    return demands


def after_rewinding(entries: Iterable[Entry], seq: int) -> tuple[Demand, ...]:
    """The demands once everything after seq is taken back: what its words had brought goes, what the user pinned by hand stays."""
    demands: tuple[Demand, ...] = ()
    before: tuple[Demand, ...] = ()
    for entry in entries:
        if not isinstance(event := entry.event, DemandsSet):
            continue
        if entry.seq <= seq:
            demands = event.demands
        elif event.by == "user":
            kept = [d for d in demands if d in event.demands or d not in before]
            demands = (*kept, *(d for d in event.demands if d not in before and d not in kept))
        before = event.demands
    return demands


def violations(
    demands: Sequence[Demand],
    request: Request,
    *,
    committed_micro_usd: int = 0,
    made: Collection[str] = (),
    licences: Mapping[str, str] | None = None,
) -> list[str]:
    """What of the request goes against the demands, a sentence each; [] when nothing does.

    committed_micro_usd: what the session has spent and holds already. made: repositories that the session itself made.
    licences: licences of repositories, where they are known. A request of another kind than Spend is judged by the
    fields it has: private, repo, licence, base_models, datasets.
    """
    script = read_script(request.script, request.env) if isinstance(request, Spend) else _declared(request)
    script.models = {name for name in script.models if not any(_same(one, name) for one in made)}
    checks = {
        "base_model": partial(_of_names, script=script, kind="model"),
        "data": partial(_of_names, script=script, kind="dataset"),
        "method": partial(_of_method, script=script),
        "budget": partial(_of_budget, request=request, committed=committed_micro_usd),
        "licence": partial(_of_licence, script=script, licences=licences or {}),
        "privacy": partial(_of_privacy, script=script, request=request),
    }
    broken: list[str] = []
    for about, check in checks.items():
        own = [demand for demand in demands if demand.about == about and demand.value]
        broken += check(own) if own else []
    return broken


def made_by(request: Request) -> set[str]:
    """Repositories and folders that this request makes, so that they may be loaded later."""
    return read_script(request.script, request.env).outputs if isinstance(request, Spend) else set()


def _of_names(demands: list[Demand], script: ScriptFacts, kind: str) -> list[str]:
    named = script.models if kind == "model" else script.datasets
    wanted = [demand for demand in demands if demand.rule == "must"]
    broken = [
        f"It names {name}, and the user said “{demand.text}”."
        for demand in demands
        if demand.rule == "must_not"
        for name in sorted({text for text in strings(script) if _forbids(demand.value, text)}, key=len)[:1]
    ]
    if not wanted:
        return broken
    said = " and ".join(f"“{demand.text}”" for demand in wanted)
    others = {name for name in named if not any(_meets(demand.value, name) for demand in wanted)}
    if kind == "model":  # a model may be loaded by a function of the script's own
        others |= {
            name for name in script.others if _looks_like_model(name) and not any(_meets(d.value, name) for d in wanted)
        }
        others -= script.outputs | script.datasets
    broken += [f"It takes the {kind} {name}, and the user said {said}." for name in sorted(others)]
    readable = any(_meets(demand.value, name) for demand in wanted for name in strings(script))
    if kind in script.unreadable and not readable:
        broken.append(f"It loads a {kind} under a name that cannot be read from the script, and the user said {said}.")
    return broken


def _of_method(demands: list[Demand], script: ScriptFacts) -> list[str]:
    broken = []
    for demand in demands:
        used = demand.value in script.methods or (demand.value == "lora" and "qlora" in script.methods)
        used = used or (demand.value == "full" and script.trains and not script.methods & _FEW_WEIGHTS)
        if demand.rule == "must_not" and used:
            broken.append(f"It uses {demand.value}, and the user said “{demand.text}”.")
    wanted = {demand.value for demand in demands if demand.rule == "must"}
    said = " and ".join(f"“{demand.text}”" for demand in demands if demand.rule == "must")
    rivals = script.methods & _RIVALS
    if wanted & _RIVALS and rivals - wanted:
        broken.append(f"It uses {', '.join(sorted(rivals - wanted))}, and the user said {said}.")
    few = script.methods & _FEW_WEIGHTS
    if script.trains and wanted & _FEW_WEIGHTS and not few and "full" not in wanted:
        broken.append(f"It trains all weights, and the user said {said}.")
    if "full" in wanted and few and not wanted & _FEW_WEIGHTS:
        broken.append(f"It uses {', '.join(sorted(few))}, and the user said {said}.")
    return broken


def _of_budget(demands: list[Demand], request: Request, committed: int) -> list[str]:
    if not request.hold_micro_usd:
        return []
    tightest = _tightest(demands)
    if tightest is None or committed + request.hold_micro_usd <= int(tightest.value):
        return []
    cost = usd(request.hold_micro_usd) + (f" on top of {usd(committed)}" if committed else "")
    return [f"It may cost up to {cost}, and the user said “{tightest.text}”."]


def pinned_budget(demands: Iterable[Demand]) -> int | None:
    """What all may cost at most by the user's own words, in micro-dollars; None if they name no sum."""
    tightest = _tightest(demand for demand in demands if demand.about == "budget")
    return None if tightest is None else int(tightest.value)


def _tightest(demands: Iterable[Demand]) -> Demand | None:
    return min((demand for demand in demands if demand.value.isdecimal()), key=lambda d: int(d.value), default=None)


def _of_licence(demands: list[Demand], script: ScriptFacts, licences: Mapping[str, str]) -> list[str]:
    declared = [(licence, f"It declares the licence {licence}") for licence in sorted(script.licences)]
    known = [
        (licences[name].lower(), f"{name} is under {licences[name]}")
        for name in sorted(script.names)
        if licences.get(name)
    ]
    broken = []
    for licence, words in declared + known:
        wanted = [demand for demand in demands if demand.rule == "must"]
        wrong = [d for d in demands if d.rule == "must_not" and _licensed(d.value, licence)]
        if wanted and not any(_licensed(demand.value, licence) for demand in wanted):
            wrong += wanted
        broken += [f"{words}, and the user said “{demand.text}”." for demand in wrong[:1]]
    return broken


def _of_privacy(demands: list[Demand], script: ScriptFacts, request: Request) -> list[str]:
    broken = []
    for demand in demands:
        said = f"and the user said “{demand.text}”."
        if (demand.value == "publish" and demand.rule == "must_not") or demand.value == "local":
            broken += [f"It publishes by {call}, {said}" for call, _ in script.published[:1]]
        elif demand.value == "private" and script.published and not _is_private(script):
            broken.append(f"It publishes by {script.published[0][0]} and does not say private=True, {said}")
        if demand.value == "local" and isinstance(request, Spend) and request.place.away:
            broken.append(f"It would run on {request.where}, away from this machine, {said}")
    return broken


def _is_private(script: ScriptFacts) -> bool:
    """One place says that the repository is private, and none that it is not."""
    said = [private for _, private in script.published if private is not None]
    return bool(said) and all(said)


def _declared(request: Request) -> ScriptFacts:
    """A request that says itself what it is about."""
    facts = request.model_dump()
    script = ScriptFacts()
    for name in ("base_models", "base_model", "models"):
        script.models |= _names_of(facts.get(name))
    for name in ("datasets", "dataset"):
        script.datasets |= _names_of(facts.get(name))
    script.licences = {licence.lower() for name in ("licence", "license") for licence in _names_of(facts.get(name))}
    if isinstance(private := facts.get("private"), bool):
        script.published.append((str(facts.get("kind", "publish")), private))
    return script


def _names_of(value: object) -> set[str]:
    if isinstance(value, str):
        return {value} - {""}
    return {one for one in value if isinstance(one, str)} if isinstance(value, list | tuple) else set()


def _plain(name: str) -> str:
    return re.sub(r"[\s_]+", "-", name.strip().lower())


def _same(one: str, other: str) -> bool:
    return _plain(one) == _plain(other)


def _meets(wanted: str, name: str) -> bool:
    """A full id is meant as it stands; a bare name may have any owner, and a variant of itself behind it."""
    want, have = _plain(wanted), _plain(name)
    if "/" in want:
        return want == have
    bare = have.rsplit("/", 1)[-1]
    return bare == want or (
        bare.startswith(want) and not bare[len(want)].isalnum() and not re.match(r"-\d", bare[len(want) :])
    )


def _forbids(value: str, text: str) -> bool:
    """A full id is looked for anywhere; a bare name or a family as whole words of a name."""
    want, have = _plain(value), _plain(text)
    if "/" in want:
        return re.search(rf"(?<![\w/.-]){re.escape(want)}(?![\w/-]|\.\w)", have) is not None
    if len(have) > 200 or not ("/" in have or have.startswith(want)):
        return False
    return re.search(rf"(?<![a-z0-9]){re.escape(want)}(?:(?=\d)(?<!\d)|(?![a-z0-9]))", have) is not None


def _looks_like_model(name: str) -> bool:
    return bool(
        re.search(
            r"[-_]\d+(?:\.\d+)?[bm](?:[-_]|$)|llama|qwen|gemma|mistral|bert|gpt-?2|t5-|smollm|deepseek", name, re.I
        )
    )


def _licensed(wanted: str, licence: str) -> bool:
    if wanted == "permissive":
        return licence.startswith(_PERMISSIVE) and "-nc" not in licence and "-sa" not in licence
    if wanted == "non-commercial":
        return "-nc" in licence or "non-commercial" in licence
    if wanted in ("cc-by", "bsd-3-clause"):
        return re.fullmatch(r"cc-by-\d\.\d|cc-by" if wanted == "cc-by" else r"bsd.*", licence) is not None
    return licence == wanted or licence.startswith(f"{wanted}-")


def _replaces(demand: Demand) -> bool:
    """Whether this demand takes the place of the earlier ones of its kind."""
    if demand.about in ("budget", "licence") and demand.value:
        return demand.rule == "must"
    return (
        demand.rule == "must"
        and re.search(r"\binstead\b(?! of)|\bstattdessen\b|\bà la place\b", demand.text, re.I) is not None
    )
