"""Which paper is meant: the many ways of writing an arXiv id, the address of a PDF, an uploaded file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from tools.problem import Problem

_NEW = r"\d{4}\.\d{4,5}"
_OLD = r"[a-z]+(?:-[a-z]+)?(?:\.[A-Z]{2})?/\d{7}"
_ARXIV = re.compile(rf"({_NEW}|{_OLD})(v[1-9]\d?)?", re.ASCII)
_PAGES = {
    "arxiv.org": r"(?:abs|pdf|html|e-print|format|src)/",
    "ar5iv.labs.arxiv.org": r"(?:abs|html)/",
    "ar5iv.org": r"(?:abs|html)/",
    "huggingface.co": r"papers/",
    "hf.co": r"papers/",
    "alphaxiv.org": r"(?:abs|overview)/",
    "doi.org": r"10\.48550/arxiv\.",
}


@dataclass(frozen=True)
class Arxiv:
    """An arXiv paper. version is "v3", or "" for the newest."""

    id: str
    version: str = ""

    def __str__(self) -> str:
        return self.id + self.version


@dataclass(frozen=True)
class PdfUrl:
    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class Upload:
    """A file in the session's uploads folder. name has no folder in it."""

    name: str

    def __str__(self) -> str:
        return f"uploads/{self.name}"


Reference = Arxiv | PdfUrl | Upload


def reference(id: str) -> Reference:
    """Read a paper's id as people write it. Raises Problem naming the forms that are understood."""
    text = id.strip()
    if arxiv := _arxiv(text):
        return arxiv
    if re.match(r"https?://", text, re.IGNORECASE):
        if len(text) <= 2000 and text[:8].lower() == "https://" and urlsplit(text).hostname:
            return PdfUrl(text)
        raise Problem(f"{text[:200]!r} is not read.", "Give the https address of a PDF.")
    name = text.removeprefix("uploads/")
    if text.lower().endswith(".pdf") and not re.search(r"[/\\\x00]", name) and len(name) <= 255:
        return Upload(name)
    raise Problem(
        f"{text[:200]!r} names no paper.",
        'Give an arXiv id such as "2305.18290", the https address of a PDF, or the name of an uploaded PDF.',
    )


def _arxiv(text: str) -> Arxiv | None:
    text = re.sub(r"^(arxiv|doi)\s*:\s*", "", text, flags=re.IGNORECASE)
    text = re.sub(r"^10\.48550/arxiv\.", "", text, flags=re.IGNORECASE)
    if "://" in text or text.lower().startswith(tuple(f"{host}/" for host in _PAGES)):
        text = _id_in_address(text if "://" in text else f"https://{text}")
    match = _ARXIV.fullmatch(text)
    return Arxiv(match[1], match[2] or "") if match else None


def _id_in_address(url: str) -> str:
    """What stands where a paper's id stands in the addresses of sites that are known; "" elsewhere."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    host = (parts.hostname or "").removeprefix("www.").removeprefix("export.")
    path = unquote(parts.path).lstrip("/")
    page = re.match(_PAGES[host], path, re.IGNORECASE) if host in _PAGES else None
    return re.sub(r"(\.pdf|\.md|/)$", "", path[page.end() :]) if page else ""
