"""Cut HTML into tags and text, in time that grows with its length and with nothing else.

The standard library's parser is quadratic on pages full of unclosed comments or tags in Python 3.11.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

_ATTRIBUTES = 100_000  # characters of one tag's attributes that are looked at
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9:_-]{0,40}")
_END_OR_QUOTE = re.compile(r"[>\"']")
_ATTRIBUTE = re.compile(r"([^\s=/>\"']+)(?:\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s>]+))?")
_RAW = {name: re.compile(rf"</{name}", re.IGNORECASE) for name in ("script", "style", "textarea", "template")}


class Tag(NamedTuple):
    name: str
    attributes: str = ""  # as written
    closes: bool = False

    def values(self) -> dict[str, str]:
        """The attributes; one written twice counts as it was written first."""
        found: dict[str, str] = {}
        for match in _ATTRIBUTE.finditer(self.attributes):
            value = match[2] or ""
            if value[:1] in ("'", '"') and value[-1:] == value[:1]:
                value = value[1:-1]
            found.setdefault(match[1].lower(), unescape(value))
        return found


def tokens(html: str) -> Iterator[Tag | str]:
    """Tags and unescaped text in their order. Comments, declarations and scripts are left out.

    What is opened and never closed (a comment, a tag, a script) ends the page there.
    """
    at = 0
    while at < len(html):
        start = html.find("<", at)
        if start < 0:
            yield unescape(html[at:])
            return
        if start > at:
            yield unescape(html[at:start])
        if html.startswith("<!--", start):
            end = html.find("-->", start + 4)
            at = end + 3 if end >= 0 else len(html)
        elif html[start + 1 : start + 2] in ("!", "?"):
            end = html.find(">", start)
            at = end + 1 if end >= 0 else len(html)
        elif name := _NAME.match(html, start + 1 + (closes := html.startswith("</", start))):
            end = _end_of_tag(html, name.end())
            if end < 0:
                return
            tag = name[0].lower()
            yield Tag(tag, html[name.end() : min(end, name.end() + _ATTRIBUTES)], closes)
            at = end + 1
            if tag in _RAW and not closes:
                close = _RAW[tag].search(html, at)
                at = close.start() if close else len(html)
        else:
            yield "<"
            at = start + 1


def _end_of_tag(html: str, at: int) -> int:
    """Where the tag's ">" is, quotes skipped; -1 when it has none."""
    while match := _END_OR_QUOTE.search(html, at):
        if match[0] == ">":
            return match.start()
        at = html.find(match[0], match.end()) + 1
        if at == 0:
            return -1
    return -1
