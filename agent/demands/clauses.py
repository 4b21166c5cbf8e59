"""How people ask and refuse, in English, German and French: clauses, commands, conditions. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from tools.cards import Demand

LONGEST_TEXT = 300  # characters of one demand
LONGEST_HEARD = 20_000  # characters of a message that are looked at
LONGEST_SENTENCE = 1_000  # characters that are looked at
Rule = Literal["must", "must_not"]

TRAIN = (
    r"(?:re)?train|pre-?train|fine-?tune|finetune|distil{1,2}|quanti[sz]e|prune|evaluate|benchmark"
    r"|test|compare|merge|adapt"
    r"|trainiere?|feintune|vergleiche|entra[iî]ne[rz]?|affine[rz]?|compare[rz]"
)
USE = (
    r"use|take|pick|try|choose|stick (?:with|to)|start (?:from|with)|work with|build on|switch to|load"
    r"|run|go (?:on )?with|continue with|proceed with|nimm|nutze|nutzt|verwende|benutze|utilise[rz]?"
    r"|prends|prenez|emploie"
)
DO = re.compile(
    rf"\b(?:{TRAIN}|{USE}|do|make|build|write|keep|train|publish|push|mach|baue|halte|garde[rz]?|fais)\b", re.I
)
COMMAND = (  # what stands before a verb that is a command: the clause's beginning, or a word of asking
    r"(?:^\W*|[,;:(–—]\s*|\b(?:and|then|but|so|also|please|just|only|now|first|always|to|must|should"
    r"|will|let'?s|(?:can|could|would|will) you|kannst du|könntest du|peux-tu|pouvez-vous|bitte|und"
    r"|dann|"
    r"nur|et|puis|veuillez|merci de|don'?t|not|never)\s+)"
)
NOT = (
    r"(?:(?:do not|don'?t) want (?:you )?to|rather not|ne pas|n'utilise[rz]? pas|do not|don'?t|never"
    r"|must not|should not|shouldn'?t|avoid|without|instead of|rather than|nicht|kein\w*|ohne|statt"
    r"|niemals|jamais|sans|pas(?: de| d')?|au lieu de|no|not)"
)
_NO = (
    r"\b(?:not|never|don'?t|cannot|can'?t|won'?t|wouldn'?t|shouldn'?t|nicht|kein\w*|nie|jamais|pas|ne"
    r"|instead of|statt)"
)
POLITE = re.compile(
    r"^\W*(?:please|can you|could you|would you|will you|kannst du|könn\w+|bitte|peux-tu|pou(?:vez|rriez)-vous)", re.I
)
_SOFT = re.compile(
    r"\b(?:if|when|whether|why|how|unless|maybe|perhaps|possibly|might|could|can|may|e\.g|for example"
    r"|for instance|such as|"
    r"something like|like|wenn|falls|vielleicht|z\. ?b|zum beispiel|könnte\w*|peut-être|par exemple|comme|si)\b",
    re.I,
)
OTHERS = re.compile(
    r"\b(?:they|authors?|paper|papers|article|blog|he|she|people|others|somebody|someone|i read"
    r"|i heard|i used|sie haben|die autoren|ils|les auteurs)\b",
    re.I,
)
RESEARCH = re.compile(
    r"^\W*(?:please |can you |could you )?(?:find|search|look|read|summari[sz]e|explain|list|tell"
    r"|describe|review|survey|show|what|who|"
    r"suche|finde|lies|erkläre|fasse|cherche|trouve|lis|explique|résume)\b",
    re.I,
)
PENDING = re.compile(r"\b(?:unless|until|before|yet|except|bevor|bis|außer|avant|sauf)\b", re.I)


def sentences(said: str) -> Iterator[str]:
    """Sentences without code blocks, quotations and quoted speech."""
    text = re.sub(r"```.*?(?:```|\Z)|<code>.*?(?:</code>|\Z)", "\n", said, flags=re.DOTALL)
    text = re.sub(r"^[ \t]*>.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"[“«„\"][^“”«»„\"\s]*\s[^“”«»„\"\n]*[”»“\"]", "\n", text)  # a name in quotes is no quotation
    text = re.sub(r"(?:^|(?<=\n))(?: {4,}|\t).*", "", text)
    if len(text) > LONGEST_HEARD:  # what is demanded stands at the beginning or at the end of a long message
        end = re.sub(r"^[^.!?;\n]*", "", text[-LONGEST_HEARD // 2 :])  # half a sentence may have lost its "not"
        text = f"{text[: LONGEST_HEARD // 2]}\n{end}"
    for sentence in re.split(r"(?<=[.!?;])(?<!\bmax\.)(?<!e\.g\.)(?<!z\.B\.)(?<!\bca\.)\s+|\n+", text, flags=re.I):
        if sentence.strip():
            yield sentence.strip()[:LONGEST_SENTENCE]


def demand_of(about: str, rule: Rule, words: str, *, value: str = "") -> Demand:
    text = words.strip(" \t\n,;:(–—`")[:LONGEST_TEXT].rstrip(" .")
    return Demand.model_validate({"about": about, "rule": rule, "text": text, "value": value})


def asks(sentence: str, start: int) -> bool:
    """Whether what stands before leaves a command a command: no condition, no suggestion, no report of others."""
    before = POLITE.sub("", sentence[:start])
    return not (_SOFT.search(before) or OTHERS.search(before))


def refused(sentence: str, match: re.Match[str]) -> bool:
    """Whether the clause says no before it comes to this: "I do not want to use X"."""
    start = match.start() + len(match[0]) - len(match[0].lstrip(" ,;:(–—\t"))
    clause = re.split(r"[,;:(–—]|\b(?:and|but|then|und|aber|et|mais|puis)\b", sentence[:start], flags=re.I)[-1]
    return re.search(rf"{_NO}\b", clause, re.I) is not None or re.match(rf"\W*{_NO}\b", match[0], re.I) is not None
