"""Lines of a job's log that say little one by one: installers, downloads, redrawn bars. Folded for the eye. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_LOOKED_AT = 400  # characters of a line: what it is shows at its beginning
_SHOWN = 200  # characters of a folded group's last line

_TROUBLE = re.compile(r"error|fail|warn|exception|traceback|denied|not found|conflict", re.IGNORECASE)
_INSTALLING = re.compile(
    r"\s*(?:Resolved|Prepared|Installed|Uninstalled|Audited|Downloading|Downloaded|Building|Built|Updating|Updated) \S"
    r"|\s*(?:Using CPython|Using Python|Creating virtual environment|Reading inline script|Bytecode compiled)"
    r"|\s*(?:Collecting|Obtaining|Requirement already satisfied|Using cached|Installing collected|Successfully|Preparing metadata"
    r"|Getting requirements|Installing build|Building wheels?|Created wheel|Stored in directory|Looking in|Running setup)"
    r"|(?:Get|Hit|Ign):\d+ |(?:Selecting previously|Preparing to unpack|Unpacking|Setting up|Processing triggers|Reading package|Fetched) "
    r"|\s[+~-] [\w.-]+==\S|\s+[━╸╺─ ]{10,}"
)
_BAR = re.compile(
    r"\d{1,3}%\|.{0,200}?\|\s*[\d.]+[kMGT]?B?/[\d.]+[kMGT]?B?|\b\d+(?:it)? \[\d\d:\d\d,|\b\d+/\d+ \[\d\d:\d\d"
)
_LOADING = re.compile(
    r"^\s*[^|]{0,120}?(?:download|load|fetch|generat|shard|\bmap\b|filter|tokeniz|upload|saving|\.safetensors|\.parquet|\.json"
    r"|\.bin|\.model|\.txt)",
    re.IGNORECASE,
)


def folded(lines: Iterable[str]) -> list[str]:
    """The lines, each run of noise of one sort as one line with its count and its last line.

    Trouble is never folded. Feed str.splitlines(): there a bar that redraws itself with \\r is many lines.
    """
    return list(_folded(lines))


def marked(text: str) -> tuple[tuple[int, int, str], ...]:
    """(first line, lines, sort) of each run of noise, for a screen that folds by itself: by the same rule as folded.

    Lines end with \\n here. One that redraws itself is noise if all that it ever showed is; the last one has its end.
    """
    runs: list[tuple[int, int, str]] = []
    for at, line in enumerate(text.removesuffix("\n").split("\n")):
        if not (sort := _sort_of_redrawn(line) if "\r" in line else _sort(line)):
            continue
        first, count, before = runs[-1] if runs else (0, 0, "")
        if before == sort and first + count == at:
            runs[-1] = (first, count + 1, sort)
        else:
            runs.append((at, 1, sort))
    return tuple(runs)


def _sort_of_redrawn(line: str) -> str:
    sorts = [_sort(one) for one in line.split("\r") if one.strip()]
    return sorts[-1] if all(sorts) and sorts else ""


def _folded(lines: Iterable[str]) -> Iterator[str]:
    sort, count, last = "", 0, ""
    for line in lines:
        now = _sort(line)
        if now and now == sort:
            count, last = count + 1, line
            continue
        if count:
            yield _one(sort, count, last)
        sort, count, last = now, 1 if now else 0, line
        if not now:
            yield line
    if count:
        yield _one(sort, count, last)


def _one(sort: str, count: int, last: str) -> str:
    return last if count == 1 else f"⋯ {count:,} lines of {sort}, the last: {last[:_SHOWN]}"


def _sort(line: str) -> str:
    """What noise a line is; empty: none."""
    start = line[:_LOOKED_AT]
    if not start or _TROUBLE.search(start):
        return ""
    if _INSTALLING.match(start):
        return "installing"
    if _BAR.search(start):
        return "downloading and loading" if _LOADING.match(start) else "progress"
    return ""
