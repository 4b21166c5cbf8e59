"""What a user's own words demand or forbid. Pure, and precise rather than greedy: a mention is no demand.

English, and the plain forms in German and French. Code blocks, quotations and questions are left out. What a clause
demands is told with the words of that clause, as they stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Literal

from tools.cards import Demand

LONGEST_TEXT = 300  # characters of one demand
LONGEST_SENTENCE = 1_000  # characters that are looked at
Rule = Literal["must", "must_not"]

# --- names ---
_ORDINARY = frozenset(
    [
        "and",
        "or",
        "train",
        "test",
        "val",
        "valid",
        "validation",
        "dev",
        "eval",
        "input",
        "output",
        "cpu",
        "gpu",
        "tpu",
        "yes",
        "no",
        "true",
        "false",
        "he",
        "she",
        "his",
        "her",
        "read",
        "write",
        "on",
        "off",
        "in",
        "out",
        "client",
        "server",
        "up",
        "down",
        "left",
        "right",
        "precision",
        "recall",
        "loss",
        "acc",
        "accuracy",
        "day",
        "hour",
        "month",
        "s",
        "h",
        "km",
        "m",
        "min",
        "sec",
        "token",
        "tokens",
        "step",
        "steps",
        "model",
        "dataset",
        "data",
        "n",
        "a",
        "i",
        "o",
        "w",
        "pos",
        "neg",
        "positive",
        "negative",
        "question",
        "answer",
        "prompt",
        "response",
        "chosen",
        "rejected",
        "source",
        "target",
        "en",
        "de",
        "fr",
        "tcp",
        "ip",
        "lora",
        "qlora",
        "dpo",
        "sft",
        "ppo",
        "grpo",
        "full",
        "html",
        "css",
        "js",
        "json",
        "csv",
        "parquet",
    ]
)
_FILE = re.compile(r"\.(?:py|csv|tsv|json|jsonl|parquet|txt|md|pdf|zip|ipynb|yaml|yml|toml|sh)$", re.I)
_FAMILY = (
    r"(?:qwen|llama|mistral|mixtral|gemma|smollm|tinyllama|codellama|distilbert|roberta|deberta|modernbert|bert|gpt-?2"
    r"|gpt-?oss|gpt-?neo|gpt-?j|pythia|flan-t5|t5|deepseek|olmo|granite|whisper|wav2vec2|resnet|starcoder|nemotron|kimi"
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

# --- verbs ---
_TRAIN = (
    r"(?:re)?train|pre-?train|fine-?tune|finetune|distil{1,2}|quanti[sz]e|prune|evaluate|benchmark|test|compare|merge|adapt"
    r"|trainiere?|feintune|vergleiche|entra[iî]ne[rz]?|affine[rz]?|compare[rz]"
)
_USE = r"use|take|pick|try|choose|stick (?:with|to)|start (?:from|with)|work with|build on|switch to|load|run|nimm|nutze|nutzt|verwende|benutze|utilise[rz]?|prends|prenez|emploie"
_DO = re.compile(
    rf"\b(?:{_TRAIN}|{_USE}|do|make|build|write|keep|train|publish|push|mach|baue|halte|garde[rz]?|fais)\b", re.I
)
_COMMAND = (  # what stands before a verb that is a command: the clause's beginning, or a word of asking
    r"(?:^\W*|[,;:(–—]\s*|\b(?:and|then|but|so|also|please|just|only|now|first|always|to|must|should|will|let'?s|you|we|bitte|und|dann|"
    r"nur|et|puis|veuillez|merci de|don'?t|not|never)\s+)"
)
_FILL = r"(?:\s+(?:only|the|a|an|my|our|this|base|small|pretrained|model|models|dataset|data|checkpoint|on top of|den|die|das|dem|le|la|les|nur|seulement|modèle|modell|datensatz)){0,4}\s+"
_NOT = r"(?:do not|don'?t|never|must not|should not|shouldn'?t|avoid|without|instead of|rather than|nicht|kein\w*|ohne|statt|niemals|jamais|sans|pas(?: de| d')?|au lieu de|no|not)"
_POLITE = re.compile(
    r"^\W*(?:please|can you|could you|would you|will you|kannst du|könn\w+|bitte|peux-tu|pou(?:vez|rriez)-vous)", re.I
)
_SOFT = re.compile(
    r"\b(?:if|when|whether|why|how|unless|maybe|perhaps|possibly|might|could|can|may|e\.g|for example|for instance|such as|"
    r"something like|like|wenn|falls|vielleicht|z\. ?b|zum beispiel|könnte\w*|peut-être|par exemple|comme|si)\b",
    re.I,
)
_OTHERS = re.compile(
    r"\b(?:they|authors?|paper|papers|article|blog|he|she|people|others|somebody|someone|i read|i heard|i used|sie haben|die autoren|ils|les auteurs)\b",
    re.I,
)
_RESEARCH = re.compile(
    r"^\W*(?:please |can you |could you )?(?:find|search|look|read|summari[sz]e|explain|list|tell|describe|review|survey|show|what|who|"
    r"suche|finde|lies|erkläre|fasse|cherche|trouve|lis|explique|résume)\b",
    re.I,
)
_LOOSE = re.compile(
    r"^\s*(?:,\s*)?(?:or|oder|ou)\s+(?:something|similar|another|any|whatever|the like|so\b|ähnlich|etwas|autre|similaire)",
    re.I,
)
_PENDING = re.compile(r"\b(?:unless|until|before|yet|except|bevor|bis|außer|avant|sauf)\b", re.I)

_MODEL_AFTER_TRAIN = re.compile(rf"{_COMMAND}(?:{_TRAIN}){_FILL}(?P<ids>{_IDS})", re.I)
_AFTER_USE = re.compile(rf"{_COMMAND}(?:{_USE}){_FILL}(?P<ids>{_IDS})(?P<after>(?: \w+){{0,4}})", re.I)
_LABELLED = re.compile(
    rf"\b(?P<what>(?:base |student |teacher |judge )?model|backbone|dataset|modell|datensatz|modèle)\s*(?:is|must be|should be|:|=|ist|est)\s*(?P<ids>{_IDS})",
    re.I,
)
_ON = re.compile(
    rf"\b(?:on|auf|sur)(?:\s+(?:the|dem|den|le|la|les|dataset|datensatz|data|our|my)){{0,3}}\s+(?:(?P<ids>{_IDS})|`(?P<tick>[\w.-]+)`|(?P<word>[A-Za-z][\w.-]+) dataset\b)",
    re.I,
)
_WITH_MODEL = re.compile(
    rf"\b(?P<word>with|against|versus|vs\.?|to|from|mit|gegen|von|avec|contre|de)\s+(?P<ids>{_ID})", re.I
)
_FORBIDDEN = re.compile(
    rf"(?P<before>^|.)(?P<not>\b{_NOT})(?:\s+(?:use|using|train\w*|try|take|pick|load|on|with|verwenden|nutzen|utiliser|utilise[rz]?)){{0,2}}{_FILL[:-3]}\s*\b(?P<what>{_IDS}|{_METHOD}\b)(?P<after>(?: \w+){{0,2}})",
    re.I,
)
_USE_NOT_DE = re.compile(rf"\b(?:verwende|nutze|nimm|benutze)\s+(?P<what>{_ID})\s+nicht\b", re.I)
_METHODS = re.compile(rf"\b{_METHOD}\b", re.I)
_WITH_METHOD = re.compile(
    rf"(?:{_COMMAND}(?:{_USE}|do|apply)(?:\s+(?:only|the|a|plain|nur|seulement))*\s+|\b(?:using|with|via|by|through|mit|per|avec|par)\s+(?:only\s+|nur\s+)?)(?P<method>{_METHOD})\b"
    rf"|(?P<only>\b{_METHOD})\b(?= only\b|,? not\b|,? nicht\b|,? pas\b)|\bonly\s+(?P<just>{_METHOD})\b",
    re.I,
)

# --- money, licence, privacy ---
_AMOUNT = r"(?:(?:US)?\$\s?(?P<a>\d{1,7}(?:[.,]\d{1,3})?)|(?P<b>\d{1,7}(?:[.,]\d{1,3})?)\s?(?P<unit>US\$|\$|USD|dollars?|bucks|cents?)(?!\w))(?!\s?(?:/|per\b|an hour|pro\b|par\b|a (?:month|day)|k\b|million))"
_AT_MOST = (
    r"(?:under|below|less than|at most|max(?:imum|\.)?(?: of)?|up to|(?:no|not) more than|within|budget(?: of| is| to|:)?|cap(?:ped)?(?: of| at)?|limit(?: of| is|:)?|cheaper than|"
    r"don'?t spend (?:more than|over)|do not spend (?:more than|over)|not exceed(?:ing)?|unter|höchstens|maximal|bis zu|nicht mehr als|weniger als|budget von|moins de|au plus|au maximum|pas plus de|budget de|jusqu'à)"
)
_BUDGET = re.compile(
    rf"\b{_AT_MOST}\s*(?:a total of\s*|about\s*)?{_AMOUNT}|{_AMOUNT.replace('<a>', '<c>').replace('<b>', '<d>').replace('<unit>', '<unit2>')}\s*(?:at most|max(?:imum|\.)?\b|budget\b|or less|höchstens|maximal|au plus|au maximum)",
    re.I,
)
_NOTHING = re.compile(
    r"\b(?:do not|don'?t) spend (?:any(?:thing|\s+money)|money)\b|\bwithout spending (?:any|money)|\bgib(?:t)? (?:kein geld|nichts) aus\b|\bne dépense[rz]? rien\b",
    re.I,
)
_PAST = re.compile(r"\b(?:was|were|had|costs? (?:me|us)|paid|spent|used to|kostete|coûtait)\b", re.I)
_LICENCES = {
    r"apache(?:[- ]?(?:license[- ]?)?2(?:\.0)?)?": "apache-2.0", r"mit": "mit", r"bsd(?:-3-clause)?": "bsd-3-clause", r"cc0(?:-1\.0)?": "cc0-1.0",
    r"cc-by-nc(?:-sa|-nd)?(?:-\d\.\d)?": "cc-by-nc", r"cc-by-sa(?:-\d\.\d)?": "cc-by-sa", r"cc-by(?:-\d\.\d)?": "cc-by", r"agpl(?:-3\.0)?": "agpl", r"gpl(?:-?v?3(?:\.0)?)?": "gpl",
    r"non-?commercial": "non-commercial", r"permissive(?:ly)?": "permissive", r"permissiven?": "permissive", r"libre": "permissive",
}  # fmt: skip
_LICENCE = rf"(?P<licence>{'|'.join(_LICENCES)})"
_LICENSED = re.compile(
    rf"\b(?P<only>only|nothing but|must be|has to be|nur|uniquement|seulement)\s+(?:models? |data(?:sets?)? |under )?{_LICENCE}(?P<word>[- ]?(?:licen[cs]\w*|lizen\w*))?(?![\w/])"
    rf"|\b{_LICENCE.replace('<licence>', '<l2>')}[- ]?(?:licen[cs]\w*|lizen\w*)(?:\s+(?:models?|data\w*|weights))?(?:\s+(?P<after>only|is required|required|nur))?"
    rf"|\b(?:licen[cs]e|lizenz|licence)\s*(?:must be|should be|:|=|muss|doit être)\s*{_LICENCE.replace('<licence>', '<l3>')}(?![\w/])"
    rf"|\b(?P<no>no|not|nothing|without|keine?|pas de)\s+{_LICENCE.replace('<licence>', '<l4>')}\b",
    re.I,
)
_PRIVATE = re.compile(
    r"\b(?:keep|make|leave) (?:it|them|this|everything|all|(?:the|my|our) [\w ]{1,30}?) private\b|\b(?:must|should|has to|have to) (?:be|stay|remain) private\b"
    r"|\b(?:in|to|into|as) (?:a |my |our )?private (?:repo\w*|model|dataset|space)\b|\bprivate repo(?:sitory|s)?\b(?= only)|\b(?:halte|bleibt|bleiben|muss|müssen)\b[^.!?]{0,40}\bprivat\b|\bgarde[rz]?\b[^.!?]{0,40}\bprivée?s?\b|\bdoi(?:t|vent) rester privée?s?\b",
    re.I,
)
_THING = r"(?:it|anything|them|this|the (?:\w+ )?(?:model|models|data|dataset|results?|weights|adapter|checkpoint)|my (?:data|model|dataset|files?)|nothing|any of (?:it|this))"
_NO_PUBLISHING = re.compile(
    rf"\b(?:do not|don'?t|never|must not|without|please no|no)\s+(?:publish(?:ing)?|upload(?:ing|s)?|releas(?:e|ing)(?= {_THING}|\s*$|[.,!]))(?: {_THING})?"
    rf"|\b(?:do not|don'?t|never|must not|without)\s+(?:push(?:ing)?|shar(?:e|ing))\s+(?:{_THING}|to (?:the )?hub)"
    r"|\b(?:nicht|nichts) (?:veröffentlichen|hochladen|publizieren)\b|\b(?:veröffentliche|lade) (?:es |nichts |sie )?(?:nichts|nicht)(?: hoch)?\b|\bne (?:publie[rz]?|partage[rz]?|téléverse[rz]?) (?:pas|rien)\b|\bne (?:pas|rien) (?:publier|partager|téléverser)\b|\bsans publier\b",
    re.I,
)
_LOCAL = re.compile(
    r"\bkeep (?:it|everything|(?:the|my|our) (?:data|dataset|files?)) (?:local(?:ly)?|here|in-house|on (?:this|my|our) (?:machine|laptop|computer|server))\b|\b(?:data|files?) (?:must|may|should) (?:stay (?:local|here|in-house|on this machine)|(?:not|never) leave\b)"
    r"|\bdaten (?:bleiben|müssen|sollen)\b[^.!?]{0,30}\b(?:lokal|hier)\b|\b(?:die |meine )?daten lokal (?:halten|behalten|lassen)\b|\bgarde[rz]? les données (?:en local|ici)\b|\bdonnées\b[^.!?]{0,20}\brest\w+ (?:en local|locales|ici)\b",
    re.I,
)  # fmt: skip


def found(said: str) -> tuple[Demand, ...]:
    """The demands in one message of the user, in the order of the text, each once."""
    demands: dict[Demand, None] = {}
    for sentence in _sentences(said):
        if sentence.rstrip().endswith("?") and not _POLITE.match(sentence):
            continue
        for part in (_names, _methods, _money, _licences, _privacy):
            for demand in part(sentence):
                demands.setdefault(demand)
    return tuple(demands)


def names_in(text: str) -> set[str]:
    """Repository ids and model names in a text, as they are written."""
    return {name for match in _NAMES.finditer(text) if (name := _name(match[0]))}


def amount_in(text: str) -> int | None:
    """The sum of money that a text names, in micro-dollars; None if it names none or several."""
    sums = {_micro_usd(match["a"] or match["b"], match["unit"]) for match in re.finditer(_AMOUNT, text, re.I)}
    return sums.pop() if len(sums) == 1 else None


def licence_in(text: str) -> str:
    """The licence that a text names, as a value of a demand; "" if none."""
    match = re.search(rf"\b{_LICENCE}(?![\w/])", text, re.I)
    return _licence(match["licence"]) if match else ""


def _sentences(said: str) -> Iterator[str]:
    """Sentences without code blocks, quotations and quoted speech."""
    text = re.sub(r"```.*?(?:```|\Z)|<code>.*?(?:</code>|\Z)", "\n", said, flags=re.DOTALL)
    text = re.sub(r"^[ \t]*>.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"[“«„\"][^“”«»„\"\n]{25,}[”»“\"]", "\n", text)
    text = re.sub(r"(?:^|(?<=\n))(?: {4,}|\t).*", "", text)
    for sentence in re.split(r"(?<=[.!?;])(?<!\bmax\.)(?<!e\.g\.)(?<!z\.B\.)(?<!\bca\.)\s+|\n+", text, flags=re.I):
        if sentence.strip():
            yield sentence.strip()[:LONGEST_SENTENCE]


def _demand(about: str, rule: Rule, words: str, value: str = "") -> Demand:
    text = words.strip(" \t\n,;:(–—`")[:LONGEST_TEXT].rstrip(" .")
    return Demand.model_validate({"about": about, "rule": rule, "text": text, "value": value})


def _asks(sentence: str, start: int) -> bool:
    """Whether what stands before leaves a command a command: no condition, no suggestion, no report of others."""
    before = _POLITE.sub("", sentence[:start])
    return not (_SOFT.search(before) or _OTHERS.search(before))


def _names(sentence: str) -> Iterator[Demand]:
    forbidden = [m for p in (_FORBIDDEN, _USE_NOT_DE) for m in p.finditer(sentence) if _names_in_force(sentence, m)]
    taken = [(m.start("what"), m.end("what")) for m in forbidden]
    for match in forbidden:
        words = match[0][len(match.groupdict().get("before") or "") :]
        for name in _each(match["what"]):
            about = "data" if _is_data(name, f"{match[0]} {match.groupdict().get('after') or ''}") else "base_model"
            yield _demand(about, "must_not", words, "" if _PENDING.search(sentence) else _name(name))
    if _RESEARCH.match(sentence):
        return
    commanded = False
    for match in _MODEL_AFTER_TRAIN.finditer(sentence):
        if _stands(sentence, match, taken):
            commanded = True
            for name in _each(match["ids"]):
                yield _demand("data" if "/datasets/" in name else "base_model", "must", match[0], _name(name))
    for match in _AFTER_USE.finditer(sentence):
        if _stands(sentence, match, taken):
            words = match[0][: match.start("after") - match.start()]
            words += " instead" if match["after"].strip().lower() in ("instead", "instead of") else ""
            for name in _each(match["ids"]):
                about = _about(name, f"{words} {match['after']}")
                yield _demand(about, "must", words, "" if about == "other" else _name(name))
    for match in _LABELLED.finditer(sentence):
        if _stands(sentence, match, taken):
            about = "data" if match["what"].lower().startswith("data") else "base_model"
            yield from (_demand(about, "must", match[0], _name(name)) for name in _each(match["ids"]))
    doing = re.search(rf"{_COMMAND}(?:{_TRAIN})\b", sentence, re.I)
    if not doing or not _asks(sentence, doing.start()):
        return
    for match in _ON.finditer(sentence, doing.end()):
        if _stands(sentence, match, taken, "word" if match["word"] else "tick" if match["tick"] else "ids"):
            for name in _each(match["ids"]) if match["ids"] else [match["tick"] or match["word"]]:
                yield _demand("data", "must", match[0], _name(name))
    for match in _WITH_MODEL.finditer(sentence, doing.end()):
        if not commanded and match["word"].lower() not in ("from", "von"):
            continue
        if _stands(sentence, match, taken) and _LOOKS_LIKE_A_MODEL.search(match["ids"]):
            yield _demand("base_model", "must", match[0], _name(match["ids"]))


def _names_in_force(sentence: str, match: re.Match[str]) -> bool:
    """Whether this really forbids: "not X" only where a clause begins, and a name that is one."""
    groups = match.groupdict()
    if not any(_name(name) for name in _each(match["what"])) or not _asks(sentence, match.start("what")):
        return False
    plain = (groups.get("not") or "").lower() in ("not", "no", "nicht", "pas")
    before = sentence[: match.start("not")].rstrip() if plain else ""
    return not before or before[-1] in ",;:(–—-" or bool(re.search(r"\b(?:and|but|or|und|aber|et|mais)$", before, re.I))


def _stands(sentence: str, match: re.Match[str], taken: list[tuple[int, int]], group: str = "ids") -> bool:
    start, end = match.span(group)
    negated = re.search(rf"\b{_NOT}\s*$", sentence[: match.start()], re.I) or re.match(
        r"\W*(?:don'?t|not|never)\b", match[0], re.I
    )
    overlaps = any(start < stop and begin < end for begin, stop in taken)
    return not negated and not overlaps and _asks(sentence, start) and not _LOOSE.match(sentence[end:])


def _each(names: str) -> list[str]:
    return [match[0] for match in _NAMES.finditer(names) if _name(match[0])]


def _name(written: str) -> str:
    """The name itself; "" for what only looks like one."""
    name = re.sub(r"^https?://[^/]+/(?:datasets/|spaces/|models/)?", "", written.strip("`")).rstrip(".-_")
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
        if _METHODS.fullmatch(match["what"]) and _asks(sentence, match.start("not")):
            taken.add(match.start("what"))
            words = match[0][len(match["before"]) : match.end("what") - match.start()]
            yield _demand("method", "must_not", words, _method(match["what"]))
    if _RESEARCH.match(sentence):
        return
    commanded = _DO.search(sentence)
    for match in _WITH_METHOD.finditer(sentence):
        group = "method" if match["method"] else "only" if match["only"] else "just"
        if match.start(group) not in taken and _asks(sentence, match.start()) and (commanded or group != "method"):
            yield _demand("method", "must", match[0], _method(match[group]))
    if re.search(rf"{_COMMAND}(?:compare|vergleiche|compare[rz])\b", sentence, re.I):
        for match in _METHODS.finditer(sentence):
            if match.start() not in taken:
                yield _demand("method", "must", sentence, _method(match[0]))


def _method(written: str) -> str:
    name = written.lower().replace(" ", "-")
    return "full" if name.startswith("full") else name


def _money(sentence: str) -> Iterator[Demand]:
    if _RESEARCH.match(sentence) and not re.search(rf"\b(?:{_TRAIN}|budget|spend)\b", sentence[20:], re.I):
        return
    for match in _BUDGET.finditer(sentence):
        before = sentence[: match.start()]
        if _PAST.search(before) or _OTHERS.search(before):
            continue
        number, unit = (
            (match["a"] or match["b"], match["unit"])
            if match["a"] or match["b"]
            else (match["c"] or match["d"], match["unit2"])
        )
        yield _demand("budget", "must", match[0], str(_micro_usd(number, unit)))
    if (nothing := _NOTHING.search(sentence)) and _asks(sentence, nothing.start()):
        yield _demand("budget", "must", nothing[0], "" if _PENDING.search(sentence) else "0")


def _micro_usd(number: str, unit: str | None) -> int:
    """ "1,500" is a thousand and a half, "1,5" is one and a half."""
    plain = number.replace(",", "") if re.search(r",\d{3}$", number) else number.replace(",", ".")
    return int(Decimal(plain) * (10_000 if (unit or "").lower().startswith("cent") else 1_000_000))


def _licences(sentence: str) -> Iterator[Demand]:
    for match in _LICENSED.finditer(sentence):
        name = next(match[group] for group in ("licence", "l2", "l3", "l4") if match[group])
        value = _licence(name)
        if not _asks(sentence, match.start()) or (
            _RESEARCH.match(sentence) and not match["only"] and not match["after"]
        ):
            continue
        if match["l2"] and not match["after"] and not _DO.search(sentence[: match.start()]):
            continue  # "the MIT license is short" asks for nothing
        if match["licence"] and value == "mit" and not match["word"]:
            continue  # "only MIT" may be the university
        refused = match["no"] or re.search(rf"\b{_NOT}(?: \w+)?\s*$", sentence[: match.start()], re.I)
        yield _demand("licence", "must_not" if refused else "must", match[0], value)


def _licence(written: str) -> str:
    return next((value for pattern, value in _LICENCES.items() if re.fullmatch(pattern, written, re.I)), "")


def _privacy(sentence: str) -> Iterator[Demand]:
    for pattern, rule, value in (
        (_PRIVATE, "must", "private"),
        (_NO_PUBLISHING, "must_not", "publish"),
        (_LOCAL, "must", "local"),
    ):
        hit = pattern.search(sentence)
        if not hit or not _asks(sentence, hit.start()):
            continue
        if rule == "must" and re.search(rf"\b{_NOT}\s*$", sentence[: hit.start()], re.I):
            continue
        held = "" if _PENDING.search(sentence[hit.start() :]) else value
        yield _demand("privacy", "must" if rule == "must" else "must_not", hit[0] if held else sentence, held)
