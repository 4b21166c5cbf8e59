"""Open a paper from the best source that has it: exact formulas first, then plain text, then only the abstract."""

from __future__ import annotations

import os
import re
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable

from tools.desk import Desk
from tools.papers import arxiv
from tools.papers.html import read_html
from tools.papers.markdown import read_markdown
from tools.papers.paper import Paper, Section
from tools.papers.pdf import read_pdf
from tools.papers.reference import Arxiv, PdfUrl, Reference, Upload
from tools.problem import Problem
from tools.waiting import interruptibly

HTML_BYTES = 12_000_000
PDF_BYTES = 25_000_000
_MARKDOWN_CHARS, _MARKDOWN_HEADINGS = 6_000, 3  # less is the abstract page, which the Hub sends when it has no text
_KEPT_CHARS = 30_000_000


class _Shelf:
    """Papers read in this process, so that the second page of one costs nothing. By characters, oldest use goes first."""

    def __init__(self) -> None:
        self._papers: OrderedDict[str, Paper] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Paper | None:
        with self._lock:
            if key in self._papers:
                self._papers.move_to_end(key)
            return self._papers.get(key)

    def put(self, key: str, paper: Paper) -> None:
        with self._lock:
            self._papers[key] = paper
            self._papers.move_to_end(key)
            while len(self._papers) > 1 and sum(kept.chars for kept in self._papers.values()) > _KEPT_CHARS:
                self._papers.popitem(last=False)


_SHELF = _Shelf()


def open_paper(desk: Desk, wanted: Reference) -> Paper:
    """Read the paper whole. Raises Problem, with what every source said, when none has it."""
    if isinstance(wanted, Upload):
        return _uploaded(desk, wanted)
    key = f"{desk.web.places.arxiv_url} {wanted}"
    if paper := _SHELF.get(key):
        return paper
    paper = _from_url(desk, wanted) if isinstance(wanted, PdfUrl) else _from_arxiv(desk, wanted)
    if paper.source != "abstract only":
        _SHELF.put(key, paper)
    return paper


def _from_arxiv(desk: Desk, wanted: Arxiv) -> Paper:
    places = desk.web.places
    sources: list[Callable[[], Paper]] = [
        lambda: _html(desk, wanted, f"{places.arxiv_url}/html/{wanted}", source="arXiv HTML"),
        lambda: _markdown(desk, wanted),
        lambda: _html(desk, wanted, f"{places.ar5iv_url}/html/{wanted}", source="ar5iv HTML"),
        lambda: _pdf(desk, wanted),
    ]
    said: list[str] = []
    for source in sources:
        try:
            return source()
        except Problem as problem:
            said.append(problem.message)
    try:
        return _abstract(desk, wanted, said)
    except Problem as problem:
        said.append(problem.message)
    raise Problem(f"Paper {wanted} cannot be read: {' '.join(said)}", "Check the id, or try again later.")


def _html(desk: Desk, wanted: Arxiv, url: str, *, source: str) -> Paper:
    page = desk.web.get(url, accept="text/html", limit_bytes=HTML_BYTES, check=desk.check)
    if page.status != 200:
        raise Problem(f"There is no {source} of it (status {page.status}).")
    read = read_html(page.text, desk.check)
    note = "" if read.whole else "The end is missing: the page took too long to read."
    stamp = re.match(rf"arXiv:{re.escape(wanted.id)}(v\d+)", read.watermark)
    exactly = Arxiv(wanted.id, stamp[1]) if stamp else wanted  # the newest version has a number too: it is to be cited
    return Paper(str(exactly), read.title, source, _link(desk, exactly), read.sections, note=note)


def _markdown(desk: Desk, wanted: Arxiv) -> Paper:
    if wanted.version:
        raise Problem("Hugging Face has only the newest version.")
    text = interruptibly(desk.check, lambda: desk.hub.paper_markdown(wanted.id))
    title, sections = read_markdown(text)
    if len(text) <= _MARKDOWN_CHARS or len(sections) < _MARKDOWN_HEADINGS:
        raise Problem("Hugging Face has only its abstract.")
    return Paper(str(wanted), title, "Hugging Face Papers, made from arXiv HTML", _link(desk, wanted), sections)


def _pdf(desk: Desk, wanted: Arxiv) -> Paper:
    page = desk.web.get(f"{desk.web.places.arxiv_url}/pdf/{wanted}", limit_bytes=PDF_BYTES, check=desk.check)
    if page.status != 200:
        raise Problem(f"There is no PDF of it (status {page.status}).")
    return _read_pdf(desk, page.body, str(wanted), source="PDF", url=_link(desk, wanted))


def _abstract(desk: Desk, wanted: Arxiv, said: list[str]) -> Paper:
    try:
        facts = interruptibly(desk.check, lambda: desk.hub.paper_meta(wanted.id))
    except Problem:
        facts = arxiv.facts(desk.web, wanted, desk.check)
    abstract = Section("", "Abstract", 1, facts.summary)
    note = f"Only the abstract could be read. {' '.join(said)}"
    return Paper(str(wanted), facts.title, "abstract only", _link(desk, wanted), (abstract,), note=note)


def _from_url(desk: Desk, wanted: PdfUrl) -> Paper:
    page = desk.web.get(wanted.url, limit_bytes=PDF_BYTES, anywhere=True, check=desk.check)
    if page.status != 200:
        raise Problem(f"{wanted.url} answered with status {page.status}.", "Check the address.")
    return _read_pdf(desk, page.body, wanted.url, source="PDF", url=wanted.url)


def _uploaded(desk: Desk, wanted: Upload) -> Paper:
    """Read a file of the session's uploads; the same bytes are parsed once."""
    body, stamp = _bytes_of(desk, wanted)
    key = f"{desk.folder} {wanted} {stamp}"
    if paper := _SHELF.get(key):
        return paper
    paper = _read_pdf(desk, body, wanted.name, source="uploaded PDF", url="")
    _SHELF.put(key, paper)
    return paper


def _bytes_of(desk: Desk, wanted: Upload) -> tuple[bytes, str]:
    """(content, stamp) of a plain file right in uploads/. Neither it nor the folder may be a link to elsewhere."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        folder = os.open(desk.folder / "uploads", flags | os.O_DIRECTORY)
        try:
            file = os.open(wanted.name, flags, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError:
        raise Problem(f"There is no uploaded file {wanted.name!r}.", "Ask the user to upload it.") from None
    facts = os.fstat(file)
    if not stat.S_ISREG(facts.st_mode):
        os.close(file)
        raise Problem(f"{wanted.name!r} is no plain file.", "Ask the user to upload the PDF itself.")
    with open(file, "rb") as opened:
        if facts.st_size > PDF_BYTES:
            raise Problem(f"{wanted.name!r} is larger than {PDF_BYTES // 1_000_000} MB.", "Upload a smaller PDF.")
        return opened.read(PDF_BYTES), f"{facts.st_ino}-{facts.st_size}-{facts.st_mtime_ns}"


def _read_pdf(desk: Desk, body: bytes, id: str, *, source: str, url: str) -> Paper:
    title, sections, pages, note = read_pdf(body, desk.check)
    return Paper(id, title or id, source, url, sections, pages, note)


def _link(desk: Desk, wanted: Arxiv) -> str:
    return f"{desk.web.places.arxiv_url}/abs/{wanted}"
