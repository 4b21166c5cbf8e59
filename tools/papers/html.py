"""Read a paper from the HTML that LaTeXML makes of LaTeX, which is what arXiv and ar5iv serve.

Formulas come back as the LaTeX they were, tables as Markdown, and every piece of text once, in the section it is in.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tools.papers.markup import Tag, tokens
from tools.papers.paper import Section
from tools.problem import Problem

_SECONDS = 10.0
_DEEPEST = 400  # open elements; what lies deeper is read as text of the last one
_STRIDE = 2_000  # tags and texts between two looks at the clock
_WIDEST = 50  # columns up to which the rows of a table are filled up
_LONGEST = 500  # rows that are


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VOID = _names("area base br col embed hr img input link meta source track wbr")
_UNREAD_TAGS = _names("script style nav svg button iframe template noscript annotation annotation-xml head")
_UNREAD = _names(
    "ltx_page_header ltx_page_footer ltx_page_navbar ltx_TOC ltx_rdf ltx_ERROR ltx_pagination ltx_listing_data"
    " ltx_note_mark ltx_tag_note ltx_tag_listingline ltx_authors ltx_dates"
)
_SECTIONS = _names(
    "ltx_part ltx_chapter ltx_section ltx_subsection ltx_subsubsection ltx_appendix ltx_bibliography ltx_index"
    " ltx_acknowledgements ltx_abstract"
)
_TITLED = {"ltx_abstract": "Abstract", "ltx_acknowledgements": "Acknowledgements", "ltx_bibliography": "References"}
_EQUATION = _names("ltx_equation ltx_equationgroup ltx_eqn_table")
_GLUE = "\u2060"  # what follows belongs on the same line: a list item's paragraph after its bullet
_BULLET = f"- {_GLUE}"
_BLOCKS = _names("p div section article figure figcaption ul ol dl dt li blockquote table h1 h2 h3 h4 h5 h6")


@dataclass(frozen=True)
class HtmlPaper:
    """title, and watermark as arXiv prints it at the margin: "arXiv:2305.18290v3 [cs.LG] 29 Jul 2024"."""

    title: str
    sections: tuple[Section, ...]
    watermark: str = ""
    whole: bool = True  # False: it took too long, and the end is missing


def read_html(html: str, check: Callable[[], None] = lambda: None) -> HtmlPaper:
    """Read LaTeXML's HTML. check is called often. Raises Problem when this is some other kind of page."""
    reader = _ArticleReader()
    started = time.monotonic()
    whole = True
    for count, token in enumerate(tokens(html)):
        if count % _STRIDE == 0:
            check()
            if time.monotonic() - started > _SECONDS:
                whole = False
                break
        reader.read(token)
    reader.close()
    sections = tuple(section for section in reader.sections() if section.text or section.title)
    if not sections:
        raise Problem("This page holds no paper made by LaTeXML.", "Read the PDF instead.")
    return HtmlPaper(reader.title, sections, reader.watermark, whole)


@dataclass
class _Draft:
    level: int
    title: str = ""
    number: str = ""
    titled: bool = False  # its heading was read; a further one belongs to a theorem or paragraph
    text: list[str] = field(default_factory=list)


@dataclass
class _Table:
    rows: list[list[str]] = field(default_factory=list)

    def markdown(self) -> str:
        rows = [row for row in self.rows if any(row)]
        if not rows:
            return ""
        width = min(max(len(row) for row in rows[:_LONGEST]), _WIDEST)
        full = [row + [""] * (width - len(row)) for row in rows[:_LONGEST]] + rows[_LONGEST:]
        lines = ["| " + " | ".join(row) + " |" for row in full]
        return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])

    def line(self) -> str:
        """For a table inside a table's cell."""
        return "; ".join(" ".join(cell for cell in row if cell) for row in self.rows)


class _ArticleReader:
    """Walks the page once. _texts is a stack of buffers: what is captured (a title, a cell) has its own on top."""

    def __init__(self) -> None:
        self.title = ""
        self.watermark = ""
        self._open: list[tuple[str, Callable[[], None] | None]] = []
        self._too_deep = 0
        self._unread = 0  # open elements whose content is not read
        self._code = 0
        self._front = _Draft(level=1)
        self._drafts = [self._front]
        self._inside: list[_Draft] = []  # the sections that are open; empty outside the article
        self._texts: list[list[str]] = []
        self._tables: list[_Table] = []
        self._formulas: list[list[str]] = []  # of the equation rows that are open
        self._number = ""  # the tag just read: of a title, of an equation

    def sections(self) -> list[Section]:
        return [Section(draft.number, draft.title, draft.level, _tidy(draft.text)) for draft in self._drafts]

    def read(self, token: Tag | str) -> None:
        if isinstance(token, str):
            self._text(token)
        elif token.closes:
            self._close(token.name)
        else:
            self._begin(token)

    def _begin(self, tag: Tag) -> None:
        if tag.name == "br":
            self._say("\n")
        if tag.name in _VOID:
            return
        if len(self._open) >= _DEEPEST:
            self._too_deep += 1
            return
        if self._unread:
            self._open.append((tag.name, None))
            return
        values = tag.values()
        self._open.append((tag.name, self._enter(tag.name, set(values.get("class", "").split()), values)))

    def _close(self, tag: str) -> None:
        if self._too_deep:
            self._too_deep -= 1
            return
        if not any(name == tag for name, _ in self._open):
            return
        while self._open:
            name, leave = self._open.pop()
            if leave:
                leave()
            if name in _BLOCKS and not self._code:
                self._say("\n\n")
            if name == tag:
                return

    def _text(self, text: str) -> None:
        if self._unread:
            return
        if self._code:  # blanks count: until the end they are no-break spaces, which nothing else contains by then
            self._say(text.replace("\u00a0", " ").replace("\n", "").replace("\t", "    ").replace(" ", "\u00a0"))
        else:
            self._say(re.sub(r"\s+", " ", text))

    def close(self) -> None:
        """End whatever a page that breaks off has left open."""
        while self._open:
            _, leave = self._open.pop()
            if leave:
                leave()

    # --- what an element means --------------------------------------------------------------------

    def _enter(self, tag: str, classes: set[str], values: dict[str, str]) -> Callable[[], None] | None:
        """Begin an element; return what is to be done at its end."""
        if tag in _UNREAD_TAGS or classes & _UNREAD:
            return self._skip()
        if values.get("id") == "watermark-tr":
            return self._capture(lambda text: setattr(self, "watermark", text))
        if "ltx_document" in classes:
            self._inside.append(self._front)
            return lambda: self._inside.clear()
        if not self._inside:
            return None
        if tag in _BLOCKS and not self._code:
            self._say("\n\n")
        if tag == "math":
            return self._math(values)
        if kind := classes & _SECTIONS:
            return self._section(_TITLED.get(min(kind), ""))
        return self._in_section(tag, classes, values)

    def _in_section(self, tag: str, classes: set[str], values: dict[str, str]) -> Callable[[], None] | None:
        if "ltx_title" in classes:
            return self._capture(lambda text: self._titled(text, classes))
        if "ltx_tag" in classes:
            return self._capture(lambda text: self._tagged(text, classes))
        if "ltx_role_footnote" in classes:
            return self._capture(lambda text: self._say(f" [footnote: {text}]"))
        if "ltx_eqn_row" in classes or ("ltx_equation" in classes and tag != "table"):
            return self._equation()
        if "ltx_tabular" in classes and not classes & _EQUATION:
            return self._table()
        if self._tables and (tag == "tr" or "ltx_tr" in classes):
            self._tables[-1].rows.append([])
        elif self._tables and (tag in ("td", "th") or classes & {"ltx_td", "ltx_th"}):
            return self._capture(lambda text: self._cell(text, values.get("colspan", "")))
        elif "ltx_listing" in classes:
            return self._listing()
        elif "ltx_listingline" in classes:
            self._say("\n")  # the only line breaks of a listing
        elif tag == "li" and "ltx_bibitem" not in classes:
            self._say(_BULLET)
        return None

    def _skip(self) -> Callable[[], None]:
        self._unread += 1

        def leave() -> None:
            self._unread -= 1

        return leave

    def _capture(self, then: Callable[[str], None]) -> Callable[[], None]:
        """Gather the element's text apart, as one line, and hand it on at the end."""
        self._texts.append([])

        def leave() -> None:
            then(" ".join(_tidy(self._texts.pop()).split()))

        return leave

    def _section(self, title: str) -> Callable[[], None]:
        draft = _Draft(level=len(self._inside), title=title)
        self._drafts.append(draft)
        self._inside.append(draft)
        texts, self._texts = self._texts, []

        def leave() -> None:
            if len(self._inside) > 1:
                self._inside.pop()
            self._texts = texts

        return leave

    def _titled(self, text: str, classes: set[str]) -> None:
        number, self._number = self._number, ""
        draft = self._inside[-1] if self._inside else self._front
        if "ltx_title_document" in classes:
            self.title = text
        elif draft is not self._front and not draft.titled:
            draft.titled = True
            draft.number = re.sub(r"^(appendix|chapter|part)\s+", "", number, flags=re.IGNORECASE).rstrip(".:")
            draft.title = text or draft.title
        else:
            self._say(f"\n\n**{' '.join(filter(None, (number, text)))}** ")

    def _tagged(self, text: str, classes: set[str]) -> None:
        if "ltx_tag_item" in classes:
            if not re.search(r"\w", text):
                return  # another kind of bullet
            if self._open_text() and self._open_text()[-1] == _BULLET:
                self._open_text().pop()
            self._say(f"{text} {_GLUE}")
        elif classes & {"ltx_tag_equation", "ltx_tag_equationgroup"} or self._in_title():
            self._number = text
        else:
            self._say(f"{text} ")

    def _in_title(self) -> bool:
        return any(name in ("h1", "h2", "h3", "h4", "h5", "h6") for name, _ in self._open[-4:])

    def _math(self, values: dict[str, str]) -> Callable[[], None] | None:
        latex = " ".join(re.sub(r"%\s*\n", "", values.get("alttext", "")).split())
        if not latex:
            return None  # its characters are better than nothing
        if self._formulas:
            self._formulas[-1].append(latex.removeprefix("\\displaystyle").strip())
        elif values.get("display") == "block":
            self._say(f"\n\n$${latex}$$\n\n")
        else:
            self._say(f"${latex}$")
        return self._skip()

    def _equation(self) -> Callable[[], None]:
        """One row of displayed mathematics, whose cells are pieces of one formula, with its number."""
        self._formulas.append([])
        self._texts.append([])

        def leave() -> None:
            words = " ".join(_tidy(self._texts.pop()).split())
            formula = " ".join(self._formulas.pop())
            number, self._number = self._number, ""
            parts = (f"$${formula}$$" if formula else "", words, number)
            self._say("\n\n" + " ".join(part for part in parts if part) + "\n\n")

        return leave

    def _table(self) -> Callable[[], None]:
        self._tables.append(_Table())
        self._texts.append([])  # what stands between the cells is layout

        def leave() -> None:
            table = self._tables.pop()
            self._texts.pop()
            self._say(table.line() if self._tables else f"\n\n{table.markdown()}\n\n")

        return leave

    def _cell(self, text: str, colspan: str) -> None:
        if not self._tables:
            return
        rows = self._tables[-1].rows or [[]]
        self._tables[-1].rows = rows
        span = int(colspan) if colspan.isascii() and colspan.isdigit() and len(colspan) < 6 else 1
        rows[-1].append(text.replace("|", "\\|"))
        rows[-1] += [""] * min(span - 1, _WIDEST - len(rows[-1]))

    def _listing(self) -> Callable[[], None] | None:
        if self._code:
            return None
        self._code += 1
        self._say("\n\n```")

        def leave() -> None:
            self._code -= 1
            self._say("\n```\n\n")

        return leave

    # --- text -------------------------------------------------------------------------------------

    def _open_text(self) -> list[str]:
        return self._texts[-1] if self._texts else (self._inside[-1] if self._inside else self._front).text

    def _say(self, text: str) -> None:
        if not self._unread and (self._inside or self._texts):
            self._open_text().append(text)


def _tidy(pieces: list[str]) -> str:
    """Join pieces; single spaces, at most one empty line, blanks of code restored."""
    text = re.sub(rf"{_GLUE}\s*", "", "".join(pieces))
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r" ?\n ?", "\n", text)
    text = re.sub(r"\n{3,}", "\n\n", text)
    return text.replace("\u2062", "").replace("\u2061", "").replace("\u00a0", " ").strip()
