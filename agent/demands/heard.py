"""What a user's own words demand or forbid. Pure, and precise rather than greedy: a mention is no demand.

English, and the plain forms in German and French. Code blocks, quotations and questions are left out. What a clause
demands is told with the words of that clause, as they stand. Here models, data and methods; terms.py has the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.demands.clauses import (
    COMMAND,
    DO,
    NOT,
    PENDING,
    POLITE,
    RESEARCH,
    TRAIN,
    USE,
    asks,
    demand_of,
    refused,
    sentences,
)
from agent.demands.heard_terms import licences, money, privacy
from tools.cards import Demand

_ORDINARY = frozenset(
    re.findall(
        r"\w+",
        "and or train test val valid validation dev eval input output cpu gpu tpu yes no true false he she his her read "
        "write on off in out client server up down left right precision recall loss acc accuracy day hour month s h km m "
        "min sec token tokens step steps model dataset data n a i o w pos neg positive negative question answer prompt "
        "response chosen rejected source target en de fr tcp ip lora qlora dpo sft ppo grpo full html css js json csv parquet",
    )
)  # words that stand in "train/test" and are no names
_FILE = re.compile(r"\.(?:py|csv|tsv|json|jsonl|parquet|txt|md|pdf|zip|ipynb|yaml|yml|toml|sh)$", re.I)
_FAMILY = (
    r"(?:qwen|llama|mistral|mixtral|gemma|smollm|tinyllama|codellama|distilbert|roberta|deberta"
    r"|modernbert|bert|gpt-?2"
    r"|gpt-?oss|gpt-?neo|gpt-?j|pythia|flan-t5|t5|deepseek|olmo|granite|whisper|wav2vec2|resnet"
    r"|starcoder|nemotron|kimi"
    r"|(?:phi|opt|vit|clip|bart|glm|yi|falcon|bloom|flux|yolo|lfm)(?=-?\d|-\w))"
)
_BARE = rf"\b{_FAMILY}[\w.]*(?:-[\w.]+)*(?: v?\d[\w.]*){{0,2}}(?: (?:instruct|base|chat)\b)?"
_FULL = r"(?<![\w/.:@-])[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}(?![\w/])"
_HUB = r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/(?:datasets/|spaces/|models/)?[\w.-]+/[\w.-]+"
_ID = rf"`?(?:{_HUB}|{_FULL}|{_BARE})`?"
_IDS = rf"{_ID}(?:(?:, | or | and | & |, and |, or | oder | und | ou | et ){_ID})*"
_NAMES = re.compile(_ID, re.I)
_LOOKS_LIKE_A_MODEL = re.compile(rf"{_FAMILY}|\b\d+(?:\.\d+)?[BM]\b|[-_]\d+(?:\.\d+)?[bm]\b", re.I)
_METHOD = r"(?:qlora|lora|dora|dpo|ppo|grpo|kto|orpo|rloo|cpo|sft|full fine-?tuning|full-parameter fine-?tuning)"
_FILL = (
    r"(?:\s+(?:only|the|a|an|my|our|this|base|small|pretrained|model|models|dataset|data|checkpoint"
    r"|on top of|den|die|das|dem|le|la|les|nur|seulement|modèle|modell|datensatz)){0,4}\s+"
)
_LOOSE = re.compile(
    r"^\s*(?:,\s*)?(?:or|oder|ou)\s+(?:something|similar|another|any|whatever|the like|so\b|ähnlich"
    r"|etwas|autre|similaire)",
    re.I,
)

_MODEL_AFTER_TRAIN = re.compile(rf"{COMMAND}(?:{TRAIN}){_FILL}(?P<ids>{_IDS})", re.I)
_AFTER_USE = re.compile(rf"{COMMAND}(?:{USE}){_FILL}(?P<ids>{_IDS})(?P<after>(?: \w+){{0,4}})", re.I)
_LABELLED = re.compile(
    rf"\b(?P<what>(?:base|student|teacher|judge) model|backbone|dataset|datensatz)\s*(?:is|ist|est"
    rf"|must be|should be|:|=)\s*(?P<ids>{_IDS})"
    rf"|\b(?P<what2>model|modell|modèle)\s*(?:must be|should be|:|=)\s*(?P<ids2>{_IDS})",
    re.I,
)
_ON = re.compile(
    rf"\b(?:on|auf|sur)(?:\s+(?:the|dem|den|le|la|les|dataset|datensatz|data|our"
    rf"|my)){{0,3}}\s+(?:(?P<ids>{_IDS})|`(?P<tick>[\w.-]+)`|(?P<word>[A-Za-z][\w.-]+) dataset\b)",
    re.I,
)
_WITH_MODEL = re.compile(
    rf"\b(?P<word>with|into|against|versus|vs\.?|to|from|mit|gegen|von|avec|contre|de)\s+(?P<ids>{_ID})", re.I
)
_FORBIDDEN = re.compile(
    rf"(?P<before>^|.)(?P<not>\b{NOT})(?:\s+(?:use|using|train\w*|try|take|pick|load|on|with|verwenden"
    rf"|nutzen|utiliser|utilise[rz]?)){{0,2}}{_FILL[:-3]}\s*\b(?P<what>{_IDS}"
    rf"|{_METHOD}\b)(?P<after>(?: \w+){{0,2}})",
    re.I,
)
_USE_NOT_DE = re.compile(rf"\b(?:verwende|nutze|nimm|benutze)\s+(?P<what>{_ID})\s+nicht\b", re.I)
_METHODS = re.compile(rf"\b{_METHOD}\b", re.I)
_WITH_METHOD = re.compile(
    rf"(?:{COMMAND}(?:{USE}|do|apply)(?:\s+(?:only|the|a|plain|nur|seulement))*\s+|\b(?:using|with|via"
    rf"|by|through|mit|per|avec|par)\s+(?:only\s+|nur\s+)?)(?P<method>{_METHOD})\b"
    rf"|(?P<only>\b{_METHOD})\b(?= only\b|,? not\b|,? nicht\b|,? pas\b)|\bonly\s+(?P<just>{_METHOD})\b",
    re.I,
)


def demands_in(text: str) -> tuple[Demand, ...]:
    """The demands in one message of the user, in the order of the text, each once."""
    demands: dict[Demand, None] = {}
    for sentence in sentences(text):
        if sentence.rstrip().endswith("?") and not POLITE.match(sentence):
            continue
        for part in (_names, _methods, money, licences, privacy):
            for demand in part(sentence):
                demands.setdefault(demand)
    return tuple(demands)


def names_in(text: str) -> set[str]:
    """Repository ids and model names in a text, as they are written."""
    return {name for match in _NAMES.finditer(text) if (name := _name(match[0]))}


def _names(sentence: str) -> Iterator[Demand]:
    forbidden = [m for p in (_FORBIDDEN, _USE_NOT_DE) for m in p.finditer(sentence) if _names_in_force(sentence, m)]
    taken = [(m.start("what"), m.end("what")) for m in forbidden]
    for match in forbidden:
        words = match[0][len(match.groupdict().get("before") or "") :]
        for name in _each(match["what"]):
            about = "data" if _is_data(name, f"{match[0]} {match.groupdict().get('after') or ''}") else "base_model"
            yield demand_of(about, "must_not", words, value="" if PENDING.search(sentence) else _name(name))
    if RESEARCH.match(sentence):
        return
    commanded = False
    for match in _MODEL_AFTER_TRAIN.finditer(sentence):
        if _stands(sentence, match, taken):
            commanded = True
            for name in _each(match["ids"]):
                yield demand_of("data" if "/datasets/" in name else "base_model", "must", match[0], value=_name(name))
    for match in _AFTER_USE.finditer(sentence):
        if _stands(sentence, match, taken):
            words = match[0][: match.start("after") - match.start()]
            words += " instead" if match["after"].strip().lower() in ("instead", "instead of") else ""
            for name in _each(match["ids"]):
                about = _about(name, f"{words} {match['after']}")
                yield demand_of(about, "must", words, value="" if about == "other" else _name(name))
    for match in _LABELLED.finditer(sentence):
        if _stands(sentence, match, taken, group="ids" if match["ids"] else "ids2"):
            about = "data" if (match["what"] or "").lower().startswith("dat") else "base_model"
            yield from (
                demand_of(about, "must", match[0], value=_name(n)) for n in _each(match["ids"] or match["ids2"])
            )
    doing = re.search(rf"{COMMAND}(?:{TRAIN})\b", sentence, re.I)
    if not doing or not asks(sentence, doing.start()):
        return
    for match in _ON.finditer(sentence, doing.end()):
        if _stands(sentence, match, taken, group="word" if match["word"] else "tick" if match["tick"] else "ids"):
            for name in _each(match["ids"]) if match["ids"] else [match["tick"] or match["word"]]:
                yield demand_of("data", "must", match[0], value=_name(name))
    for match in _WITH_MODEL.finditer(sentence, doing.end()):
        if not commanded and match["word"].lower() not in ("from", "von"):
            continue
        if _stands(sentence, match, taken) and _LOOKS_LIKE_A_MODEL.search(match["ids"]):
            yield demand_of("base_model", "must", match[0], value=_name(match["ids"]))


def _names_in_force(sentence: str, match: re.Match[str]) -> bool:
    """Whether this really forbids: "not X" only where a clause begins, and a name that is one."""
    groups = match.groupdict()
    if not any(_name(name) for name in _each(match["what"])) or not asks(sentence, match.start("what")):
        return False
    plain = (groups.get("not") or "").lower() in ("not", "no", "nicht", "pas")
    before = sentence[: match.start("not")].rstrip() if plain else ""
    return not before or before[-1] in ",;:(–—-" or bool(re.search(r"\b(?:and|but|or|und|aber|et|mais)$", before, re.I))


def _stands(sentence: str, match: re.Match[str], taken: list[tuple[int, int]], *, group: str = "ids") -> bool:
    start, end = match.span(group)
    overlaps = any(start < stop and begin < end for begin, stop in taken)
    return not overlaps and not refused(sentence, match) and asks(sentence, start) and not _LOOSE.match(sentence[end:])


def _each(names: str) -> list[str]:
    return [match[0] for match in _NAMES.finditer(names) if _name(match[0])]


def _name(written: str) -> str:
    """The name itself; "" for what only looks like one."""
    name = re.sub(r"^https?://[^/]+/(?:datasets/|spaces/|models/)?", "", written.strip("`")).rstrip(".-_")
    name = re.sub(r"-(?:modelle?n?|models?|modèles?|based)$", "", name, flags=re.I)
    parts = name.lower().split("/")
    if len(parts) == 2 and (any(part in _ORDINARY or part.isdigit() for part in parts) or _FILE.search(name)):
        return ""
    return name


def _is_data(name: str, around: str) -> bool:
    if "/datasets/" in name:
        return True
    cue = re.search(r"\b(?:data|datasets?|corpus|datensatz|daten|données)\b", around.replace(name, ""), re.I)
    return bool(cue) and not _LOOKS_LIKE_A_MODEL.search(name)


def _about(name: str, around: str) -> str:
    if _is_data(name, around):
        return "data"
    is_model = _LOOKS_LIKE_A_MODEL.search(name) or re.search(
        r"\b(?:model|modell|modèle|checkpoint|base|backbone)\b", around, re.I
    )
    return "base_model" if is_model else "other"


def _methods(sentence: str) -> Iterator[Demand]:
    taken: set[int] = set()
    for match in _FORBIDDEN.finditer(sentence):
        if _METHODS.fullmatch(match["what"]) and asks(sentence, match.start("not")):
            taken.add(match.start("what"))
            words = match[0][len(match["before"]) : match.end("what") - match.start()]
            yield demand_of("method", "must_not", words, value=_method(match["what"]))
    if RESEARCH.match(sentence):
        return
    commanded = DO.search(sentence)
    for match in _WITH_METHOD.finditer(sentence):
        group = "method" if match["method"] else "only" if match["only"] else "just"
        asked = asks(sentence, match.start()) and not refused(sentence, match)
        if match.start(group) not in taken and asked and (commanded or group != "method"):
            yield demand_of("method", "must", match[0], value=_method(match[group]))
    if re.search(rf"{COMMAND}(?:compare|vergleiche|compare[rz])\b", sentence, re.I):
        for match in _METHODS.finditer(sentence):
            if match.start() not in taken:
                yield demand_of("method", "must", sentence, value=_method(match[0]))


def _method(written: str) -> str:
    name = written.lower().replace(" ", "-")
    return "full" if name.startswith("full") else name
