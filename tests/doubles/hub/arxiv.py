"""arXiv under /arxiv: HTML, PDF, the Atom API, and ar5iv beside it."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tests.doubles.hub.content import HTML_PAPER, PDF_PAPER, Json
from tests.doubles.papers import pdf

if TYPE_CHECKING:
    from tests.doubles.hub.server import FakeHub

_HTML = Path(__file__).parents[1] / "papers" / "curriculum.html"
_NONE = "<html><head><title>No HTML</title></head><body><h1>HTML is not available for the source.</h1></body></html>"
_ATOM = "application/atom+xml; charset=utf-8"


def html_papers() -> dict[str, str]:
    return {HTML_PAPER: _HTML.read_text(encoding="utf-8")}


def pdf_papers() -> dict[str, bytes]:
    return {PDF_PAPER: pdf.paper()}


def routes(hub: FakeHub) -> list[Route]:
    return [
        Route("/arxiv/html/{id:path}", _html(hub.arxiv_html)),
        Route("/arxiv/ar5iv/html/{id:path}", _html(hub.ar5iv_html)),
        Route("/arxiv/pdf/{id:path}", _pdf(hub)),
        Route("/arxiv/api/query", _query(hub)),
    ]


def _bare(id: str) -> str:
    return re.sub(r"v\d+$", "", id)


def _html(papers: dict[str, str]) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        html = papers.get(_bare(request.path_params["id"]))
        return HTMLResponse(html) if html else HTMLResponse(_NONE, 404)

    return answer


def _pdf(hub: FakeHub) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        body = hub.arxiv_pdf.get(_bare(request.path_params["id"]))
        return Response(body, media_type="application/pdf") if body else HTMLResponse("not found", 404)

    return answer


def _query(hub: FakeHub) -> Callable[[Request], Response]:
    """Papers by id or by words, in an Atom feed. A malformed id gives status 400 and an entry that tells the error."""

    def answer(request: Request) -> Response:
        ids = [id for id in request.query_params.get("id_list", "").split(",") if id]
        if any(not re.fullmatch(r"(\d{4}\.\d{4,5}|[\w.-]+/\d{7})(v\d+)?", id) for id in ids):
            error = "<id>https://arxiv.org/api/errors#incorrect_id_format</id><title>Error</title>"
            return Response(_feed([f"<entry>{error}</entry>"]), 400, media_type=_ATOM)
        words = [word.lower() for word in re.findall(r"all:(\S+)", request.query_params.get("search_query", ""))]
        limit = int(request.query_params.get("max_results", "10"))
        found = [info for info in hub.papers.values() if _fits(info, ids, words)]
        return Response(_feed([_entry(info) for info in found[:limit]]), media_type=_ATOM)

    return answer


def _fits(info: Json, ids: list[str], words: list[str]) -> bool:
    text = f"{info['title']} {info['summary']}".lower()
    return info["id"] in map(_bare, ids) if ids else bool(words) and all(word in text for word in words)


def _feed(entries: list[str]) -> str:
    return (
        "<?xml version='1.0' encoding='UTF-8'?>\n"
        '<feed xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/" xmlns="http://www.w3.org/2005/Atom">'
        "<id>https://arxiv.org/api/invented</id><title>arXiv Query</title><updated>2026-11-23T00:00:00Z</updated>"
        f"<opensearch:totalResults>{len(entries)}</opensearch:totalResults>{''.join(entries)}</feed>"
    )


def _entry(info: Json) -> str:
    authors = "".join(f"<author><name>{escape(person['name'])}</name></author>" for person in info["authors"])
    return (
        f"<entry><id>http://arxiv.org/abs/{info['id']}v1</id><title>{escape(info['title'])}</title>"
        f"<updated>{info['publishedAt'][:19]}Z</updated><published>{info['publishedAt'][:19]}Z</published>"
        f"<summary>{escape(info['summary'])}</summary>{authors}</entry>"
    )
