"""arXiv's Atom API: what it knows of a paper, and its search. Asked when Hugging Face Papers does not know."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

from tools.hub.hub import PaperFacts
from tools.papers.reference import Arxiv
from tools.problem import Problem
from tools.web import Web

_ATOM = "{http://www.w3.org/2005/Atom}"
_LIMIT_BYTES = 2_000_000


def facts(web: Web, paper: Arxiv, check: Callable[[], None]) -> PaperFacts:
    """Title, authors and abstract. Raises Problem when arXiv has no such paper."""
    found = _query(web, {"id_list": str(paper), "max_results": "1"}, check)
    if not found:
        raise Problem(f"arXiv has no paper {paper}.", "Check the id, or find it with papers_search.")
    return found[0]


def search(web: Web, query: str, limit: int, *, check: Callable[[], None]) -> list[PaperFacts]:
    """Papers whose text has all words of the query, most relevant first."""
    words = re.findall(r"[\w.-]+", query)[:20]
    return _query(
        web, {"search_query": " AND ".join(f"all:{word}" for word in words), "max_results": str(limit)}, check
    )


def _query(web: Web, params: dict[str, str], check: Callable[[], None]) -> list[PaperFacts]:
    page = web.get(web.places.arxiv_api_url, params=params, limit_bytes=_LIMIT_BYTES, check=check)
    if page.status not in (200, 400):  # 400 brings a feed whose one entry is the error
        raise Problem(f"arXiv has trouble (status {page.status}).", "Try again in a minute.")
    if b"<!DOCTYPE" in page.body or b"<!ENTITY" in page.body:
        raise Problem("arXiv's answer is no Atom feed.", "Try again in a minute.")
    try:
        feed = ElementTree.fromstring(page.body)  # noqa: S314  # without a DTD nothing in it can grow
    except ElementTree.ParseError:
        raise Problem("arXiv's answer is no Atom feed.", "Try again in a minute.") from None
    return [paper for entry in feed.iter(f"{_ATOM}entry") if (paper := _facts(entry))]


def _facts(entry: ElementTree.Element) -> PaperFacts | None:
    """None for an entry that reports an error."""
    match = re.search(r"arxiv\.org/abs/(.+?)(?:v\d+)?$", _text(entry, "id"))
    if not match:
        return None
    names = tuple(_text(author, "name") for author in entry.iter(f"{_ATOM}author"))
    return PaperFacts(
        id=match[1],
        title=_text(entry, "title"),
        date=_text(entry, "published")[:10],
        authors=names,
        summary=_text(entry, "summary"),
    )


def _text(element: ElementTree.Element, name: str) -> str:
    return " ".join((element.findtext(_ATOM + name) or "").split())
