"""Make running text of what a PDF's pages say: ligatures, hyphens and page headers mended, sections found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tools.papers.markdown import split_number
from tools.papers.paper import Section

_LETTERS = str.maketrans(
    {
        "ﬀ": "ff",
        "ﬁ": "fi",
        "ﬂ": "fl",
        "ﬃ": "ffi",
        "ﬄ": "ffl",
        "ﬅ": "st",
        "ﬆ": "st",
        "\u00ad": "",
        "\u00a0": " ",
        "\u0000": "",
        "\ufffe": "",
        "\ufeff": "",
    }
)
_LONE = re.compile("[\ud800-\udfff]")
_HYPHEN = re.compile(r"([^\W\d_]{2,40})-[ \t]*\n[ \t]*([a-zà-ÿ]{2,40})")
_EDGE = 2  # lines at the top and bottom of a page that may be a running header or footer
_SHARE = 0.3  # of the pages on which such a line comes again

_NUMBER = re.compile(r"(\d{1,2}(?:\.\d{1,2}){0,3}|[A-Z](?:\.\d{1,2}){0,2}|[IVX]{1,5})\.?\s+(\S.{1,98})")
_ENDS = frozenset({"abstract", "references", "bibliography", "acknowledgements", "acknowledgments"})
_NAMED = _ENDS | {"introduction", "background", "method", "methods", "experiments", "results", "discussion"}
_NAMED |= {"conclusion", "conclusions", "limitations", "appendix"}
_ROMAN = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII", "XIV", "XV")


def mended(pages: Sequence[str]) -> list[str]:
    """The pages' text without broken letters, running headers, page numbers and hyphens at line ends."""
    cleaned = [_LONE.sub("", page.translate(_LETTERS)) for page in pages]
    cleaned = _without_headers(cleaned)
    words = Counter(word for page in cleaned for word in re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)?", page.lower()))

    def joined(match: re.Match[str]) -> str:
        with_hyphen, without = f"{match[1]}-{match[2]}", match[1] + match[2]
        return with_hyphen if words[with_hyphen.lower()] > words[without.lower()] else without

    return [_HYPHEN.sub(joined, page).strip() for page in cleaned]


def _without_headers(pages: list[str]) -> list[str]:
    """Drop what comes again, but for its digits, in the first or last lines of many pages, and bare page numbers."""
    split = [page.strip().splitlines() for page in pages]
    seen = Counter(mask for lines in split for mask in {_mask(lines[i]) for i in _edges(lines)})
    often = max(2.0, _SHARE * len(pages))
    kept = []
    for lines in split:
        gone = {i for i in _edges(lines) if seen[_mask(lines[i])] >= often or re.fullmatch(r"\W*\d+\W*", lines[i])}
        kept.append("\n".join(line for i, line in enumerate(lines) if i not in gone))
    return kept


def _edges(lines: list[str]) -> set[int]:
    return {*range(min(_EDGE, len(lines))), *range(max(0, len(lines) - _EDGE), len(lines))}


def _mask(line: str) -> str:
    return re.sub(r"\d+", "0", line.strip())


def sections(pages: Sequence[str], outline: Sequence[tuple[int, str, int]]) -> tuple[Section, ...]:
    """Cut the text at its headings: the PDF's own outline, else numbered headings, else well-known ones, else pages.

    outline: (level, title, page from 1).
    """
    lines = [(number, line.strip()) for number, page in enumerate(pages, start=1) for line in page.splitlines()]
    for heads in (_outlined(lines, outline), _numbered(lines), _named(lines)):
        if len(heads) >= 2:
            return _cut(lines, heads)
    return tuple(Section("", f"Page {n}", 1, page, n) for n, page in enumerate(pages, start=1) if page)


_Lines = Sequence[tuple[int, str]]
_Head = tuple[int, int, str, str]  # index of its line, level, number, title


def _outlined(lines: _Lines, outline: Sequence[tuple[int, str, int]]) -> list[_Head]:
    """Each title of the outline that stands as a line on its page, in the order of the text."""
    heads: list[_Head] = []
    where: dict[tuple[int, str], list[int]] = {}
    for i, (page, line) in enumerate(lines):
        where.setdefault((page, _letters(split_number(line)[1])), []).append(i)
    after = -1
    for level, title, page in outline:
        name = split_number(title)[1]
        here = next((i for i in where.get((page, _letters(name)), []) if i > after), None)
        if here is not None:
            number = split_number(title)[0] or split_number(lines[here][1])[0]
            heads.append((here, level, number, name))
            after = here
    return heads


def _numbered(lines: _Lines) -> list[_Head]:
    """The longest chain of lines numbered in legal order, 1, 1.1, 1.2, 2 … A, so that no list or table is taken for one."""
    found = [(i, m[1], m[2]) for i, (_, line) in enumerate(lines) if len(line) < 110 and (m := _NUMBER.fullmatch(line))]
    found = [(i, number, title) for i, number, title in found if _looks_like_a_title(title)][:1000]
    latest: dict[str, list[_Head]] = {}  # the longest chain that ends with this number
    for i, number, title in found:
        head = (i, number.count(".") + 1, number, title)
        before = [latest[p] for p in _predecessors(number) if p in latest]
        if not before and number not in ("1", "I"):
            continue
        chain = [*max(before, key=len), head] if before else [head]
        if len(chain) > len(latest.get(number, [])):
            latest[number] = chain
    return max(latest.values(), key=len, default=[])


def _predecessors(number: str) -> Iterable[str]:
    """Numbers that may come right before: the parent for a first child, else the elder sibling and what lies below it."""
    parts = number.split(".")
    last = _ordinal(parts[-1])
    if last is None:
        return
    parent = parts[:-1]
    if parent and last == 1:
        yield ".".join(parent)
        return
    if parts == ["A"]:
        elders = [str(n) for n in range(1, 20)] + [_ROMAN[n] for n in range(1, 15)]
    elif last > 1:
        elders = [_like(parts[-1], last - 1)]
    else:
        return
    for elder in elders:
        path = ".".join([*parent, elder])
        yield path
        for n in range(1, 20):
            yield f"{path}.{n}"
            for m in range(1, 10):
                yield f"{path}.{n}.{m}"


def _ordinal(part: str) -> int | None:
    if part.isdigit():
        return int(part)
    if part in _ROMAN:
        return _ROMAN.index(part)
    return ord(part) - ord("A") + 1 if len(part) == 1 else None


def _like(part: str, ordinal: int) -> str:
    """Write a number the way another one is written."""
    if part.isdigit():
        return str(ordinal)
    return _ROMAN[ordinal] if part in _ROMAN else chr(ord("A") + ordinal - 1)


def _looks_like_a_title(text: str) -> bool:
    letters = sum(character.isalpha() for character in text)
    return text[0].isupper() and letters >= 0.6 * len(text) and not text.endswith((".", ",", ";"))


def _named(lines: _Lines) -> list[_Head]:
    return [(i, 1, "", line) for i, (_, line) in enumerate(lines) if line.lower().rstrip(".:") in _NAMED]


def _cut(lines: _Lines, heads: Sequence[_Head]) -> tuple[Section, ...]:
    heads = _with_ends(lines, heads)
    cut = [Section("", "Front matter", 1, _joined(lines[: heads[0][0]]), 1)]
    for (i, level, number, title), stop in zip(heads, [h[0] for h in heads[1:]] + [len(lines)], strict=True):
        cut.append(Section(number, title, level, _joined(lines[i + 1 : stop]), lines[i][0]))
    return tuple(section for section in cut if section.text or section.title != "Front matter")


def _with_ends(lines: _Lines, heads: Sequence[_Head]) -> list[_Head]:
    """Add what has no number in most papers: the abstract before the first heading, the references at the end."""
    taken = {i for i, *_ in heads}
    ends = [
        head
        for head in _named(lines)
        if head[0] not in taken
        and head[3].lower().rstrip(".:") in _ENDS
        and (head[0] < heads[0][0] or head[0] > heads[-1][0])
    ]
    return sorted([*heads, *ends])


def _joined(lines: _Lines) -> str:
    return "\n".join(line for _, line in lines).strip()


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).lower()
