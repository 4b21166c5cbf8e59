"""What a user's own words say about money, licences and privacy. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from agent.demands.clauses import DO, NOT, OTHERS, PENDING, RESEARCH, TRAIN, asks, demand_of
from tools.cards import Demand

_AMOUNT = (
    r"(?:(?:US)?\$\s?(?P<a>\d{1,7}(?:[.,]\d{1,3})?)|(?P<b>\d{1,7}(?:[.,]\d{1,3})?)\s?(?P<unit>US\$|\$"
    r"|USD|dollars?|bucks|cents?)(?!\w))(?!\s?(?:/|per\b|an hour|pro\b|par\b|a (?:month|day)|k\b"
    r"|million))"
)
_AT_MOST = (
    r"(?:under|below|less than|at most|max(?:imum|\.)?(?: of)?|up to|(?:no|not) more than|within"
    r"|budget(?: of| is| to|:)?|cap(?:ped)?(?: of| at)?|limit(?: of| is|:)?|cheaper than|only have|"
    r"don'?t spend (?:more than|over)|do not spend (?:more than|over)|(?:don'?t|do not) (?:go"
    r"|get) (?:over|above|beyond)|not exceed(?:ing)?|unter|höchstens|maximal|bis zu|nicht mehr als"
    r"|weniger als|budget von|moins de|au plus|au maximum|pas plus de|budget de|jusqu'à)"
)
_BUDGET = re.compile(
    rf"\b{_AT_MOST}\s*(?:a total of\s*|about\s*)?{_AMOUNT}"
    rf"|{_AMOUNT.replace('<a>', '<c>').replace('<b>', '<d>').replace('<unit>', '<unit2>')}\s*(?:at most"
    rf"|max(?:imum|\.)?\b|budget\b|or less|höchstens|maximal|au plus|au maximum)",
    re.I,
)
_NOTHING = re.compile(
    r"\b(?:do not|don'?t) spend (?:any(?:thing|\s+money)|money)\b|\bwithout spending (?:any|money)"
    r"|\bgib(?:t)? (?:kein geld|nichts) aus\b|\bne dépense[rz]? rien\b",
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
    rf"\b(?P<only>only|nothing but|must be|has to be|nur|uniquement|seulement)\s+(?:models? "
    rf"|data(?:sets?)? |under )?{_LICENCE}(?P<word>[- ]?(?:licen[cs]\w*|lizen\w*))?(?![\w/])"
    rf"|\b{_LICENCE.replace('<licence>', '<l2>')}[- ]?(?:licen[cs]\w*|lizen\w*)(?:\s+(?:models?|data\w*"
    rf"|weights))?(?:\s+(?P<after>only|is required|required|nur))?"
    rf"|\b(?:licen[cs]e|lizenz|licence)\s*(?:must be|should be|:|=|muss"
    rf"|doit être)\s*{_LICENCE.replace('<licence>', '<l3>')}(?![\w/])"
    rf"|\b(?P<no>no|not|nothing|without|keine?|pas de)\s+{_LICENCE.replace('<licence>', '<l4>')}\b",
    re.I,
)
_PRIVATE = re.compile(
    r"\b(?:do not|don'?t|never) make (?:it|the \w+) public\b|\b(?:keep|make|leave) (?:it|them|this"
    r"|everything|all|(?:the|my|our) [\w ]{1,30}?) private\b|\b(?:must|should|has to|have to) (?:be"
    r"|stay|remain) private\b"
    r"|\b(?:in|to|into|as) (?:a |my |our )?private (?:repo\w*|model|dataset|space)\b"
    r"|\bprivate repo(?:sitory|s)?\b(?= only)|\b(?:halte|bleibt|bleiben|muss"
    r"|müssen)\b[^.!?]{0,40}\bprivat\b|\bgarde[rz]?\b[^.!?]{0,40}\bprivée?s?\b|\bdoi(?:t"
    r"|vent) rester privée?s?\b",
    re.I,
)
_THING = (
    r"(?:it|anything|them|this|the (?:\w+ )?(?:model|models|data|dataset|results?|weights|adapter"
    r"|checkpoint)|my (?:data|model|dataset|files?)|nothing|any of (?:it|this))"
)
_NO_PUBLISHING = re.compile(
    rf"\b(?:do not|don'?t|never|must not|without|please no|no)\s+(?:publish(?:ing)?|upload(?:ing|s)?"
    rf"|releas(?:e|ing)(?= {_THING}|\s*$|[.,!]))(?: {_THING})?"
    rf"|\b(?:do not|don'?t|never|must not|without)\s+(?:push(?:ing)?|shar(?:e|ing))\s+(?:{_THING}|to (?:the )?hub)"
    r"|\b(?:nicht|nichts) (?:veröffentlichen|hochladen|publizieren)\b|\b(?:veröffentliche|lade) (?:es "
    r"|nichts |sie )?(?:nichts|nicht)(?: hoch)?\b|\bne (?:publie[rz]?|partage[rz]?"
    r"|téléverse[rz]?) (?:pas|rien)\b|\bne (?:pas|rien) (?:publier|partager|téléverser)\b"
    r"|\bsans publier\b",
    re.I,
)
_LOCAL = re.compile(
    r"\bkeep (?:it|everything|(?:the|my|our) (?:data|dataset|files?)) (?:local(?:ly)?|here|in-house"
    r"|on (?:this|my|our) (?:machine|laptop|computer|server))\b|\b(?:data|files?|everything"
    r"|all) (?:must|may|should|has to|have to) (?:stay (?:local|here|in-house|on (?:this|my"
    r"|our) (?:machine|laptop|computer|server))|(?:not|never) leave\b)"
    r"|\bdaten (?:bleiben|müssen|sollen)\b[^.!?]{0,30}\b(?:lokal|hier)\b|\b(?:die "
    r"|meine )?daten lokal (?:halten|behalten|lassen)\b|\bgarde[rz]? les données (?:en local|ici)\b"
    r"|\bdonnées\b[^.!?]{0,20}\brest\w+ (?:en local|locales|ici)\b",
    re.I,
)  # fmt: skip


def amount_in(text: str) -> int | None:
    """The sum of money that a text names, in micro-dollars; None if it names none or several."""
    sums = {_micro_usd(match["a"] or match["b"], match["unit"]) for match in re.finditer(_AMOUNT, text, re.I)}
    return sums.pop() if len(sums) == 1 else None


def licence_in(text: str) -> str:
    """The licence that a text names, as a value of a demand; "" if none."""
    match = re.search(rf"\b{_LICENCE}(?![\w/])", text, re.I)
    return _licence(match["licence"]) if match else ""


def money(sentence: str) -> Iterator[Demand]:
    if RESEARCH.match(sentence) and not re.search(rf"\b(?:{TRAIN}|budget|spend)\b", sentence[20:], re.I):
        return
    for match in _BUDGET.finditer(sentence):
        before = sentence[: match.start()]
        if _PAST.search(before) or OTHERS.search(before):
            continue
        number, unit = (
            (match["a"] or match["b"], match["unit"])
            if match["a"] or match["b"]
            else (match["c"] or match["d"], match["unit2"])
        )
        yield demand_of("budget", "must", match[0], value=str(_micro_usd(number, unit)))
    if (nothing := _NOTHING.search(sentence)) and asks(sentence, nothing.start()):
        yield demand_of("budget", "must", nothing[0], value="" if PENDING.search(sentence) else "0")


def _micro_usd(number: str, unit: str | None) -> int:
    """ "1,500" is a thousand and a half, "1,5" is one and a half."""
    plain = number.replace(",", "") if re.search(r",\d{3}$", number) else number.replace(",", ".")
    return int(Decimal(plain) * (10_000 if (unit or "").lower().startswith("cent") else 1_000_000))


def licences(sentence: str) -> Iterator[Demand]:
    for match in _LICENSED.finditer(sentence):
        name = next(match[group] for group in ("licence", "l2", "l3", "l4") if match[group])
        value = _licence(name)
        if not asks(sentence, match.start()) or (RESEARCH.match(sentence) and not match["only"] and not match["after"]):
            continue
        if match["l2"] and not match["after"] and not DO.search(sentence[: match.start()]):
            continue  # "the MIT license is short" asks for nothing
        if match["licence"] and value == "mit" and not match["word"]:
            continue  # "only MIT" may be the university
        names = [name]
        if re.search(r"\b(?:or|oder|ou)\b|/", sentence) and not match["no"]:
            names = [one["licence"] for one in re.finditer(rf"\b{_LICENCE}(?![\w/])", sentence, re.I)] or names
        forbidden = match["no"] or re.search(rf"\b{NOT}(?: \w+)?\s*$", sentence[: match.start()], re.I)
        for one in names:
            words = sentence if len(names) > 1 else match[0]
            yield demand_of("licence", "must_not" if forbidden else "must", words, value=_licence(one))


def _licence(written: str) -> str:
    return next((value for pattern, value in _LICENCES.items() if re.fullmatch(pattern, written, re.I)), "")


def privacy(sentence: str) -> Iterator[Demand]:
    for pattern, rule, value in (
        (_PRIVATE, "must", "private"),
        (_NO_PUBLISHING, "must_not", "publish"),
        (_LOCAL, "must", "local"),
    ):
        hit = pattern.search(sentence)
        if not hit or not asks(sentence, hit.start()):
            continue
        if rule == "must" and re.search(rf"\b{NOT}\s*$", sentence[: hit.start()], re.I):
            continue
        if value == "publish" and re.search(r"\b(?:my|our|the) (?:data|dataset|files?)\b", hit[0], re.I):
            rule, value = "must", "local"
        held = "" if PENDING.search(sentence[hit.start() :]) else value
        yield demand_of("privacy", "must" if rule == "must" else "must_not", hit[0] if held else sentence, value=held)
