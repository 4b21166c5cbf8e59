"""Cut a Markdown text into sections at its headings."""

from __future__ import annotations

import re

from tools.papers.paper import Section

_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*$")
_NUMBERED = re.compile(r"((?:\d{1,2}|[A-Z])(?:\.\d{1,2}){0,3}|[IVX]{1,5})\.?\s+(.+)")


def read_markdown(text: str) -> tuple[str, tuple[Section, ...]]:
    """(title, sections). A heading of the first level before all others is the title; code blocks have no headings."""
    title = ""
    sections = [Section("", "", 1, "")]
    lines: list[str] = []
    fence = False
    for line in text.splitlines():
        fence ^= line.lstrip().startswith("```")
        heading = None if fence else _HEADING.match(line[:500])
        if not heading:
            lines.append(line)
            continue
        sections[-1] = _with_text(sections[-1], lines)
        lines = []
        if len(heading[1]) == 1 and not title and len(sections) == 1:
            title = heading[2]
            continue
        number, name = split_number(heading[2])
        sections.append(Section(number, name, max(1, len(heading[1]) - 1), ""))
    sections[-1] = _with_text(sections[-1], lines)
    return title, tuple(section for section in sections if section.text or section.title)


def split_number(heading: str) -> tuple[str, str]:
    """("3.1", "Method") of "3.1 Method"; ("", heading) when it has no number."""
    match = _NUMBERED.fullmatch(heading)
    return (match[1], match[2]) if match else ("", heading)


def _with_text(section: Section, lines: list[str]) -> Section:
    return Section(section.number, section.title, section.level, "\n".join(lines).strip())
