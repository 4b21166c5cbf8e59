"""Search the Hub and look at one repository."""

from __future__ import annotations

import re
from typing import Any

from tools.cards import RepoRow, ReposFound
from tools.desk import Desk
from tools.hub.hub import KINDS, Kind, Repo
from tools.problem import Problem
from tools.waiting import interruptibly

_TAGS = 15
_FILES = 30
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_TELLING = re.compile(
    r"(readme\.md|config\.json|app\.py|requirements\.txt|.*\.(safetensors|gguf|parquet|json|py))", re.I
)


def hub_search(desk: Desk, kind: str, query: str, *, limit: int = 10) -> list[dict[str, Any]]:
    """Find models, datasets or Spaces on the Hugging Face Hub.

    Args:
        kind: "model", "dataset" or "space".
        query: Words of the name; for Spaces what they do.
        limit: How many at most, 1 to 50.

    Returns: A list of dicts, the Hub's best first, with keys id (str), downloads (int or None, last 30 days), likes (int or
    None), licence (str), tasks (list of str), library (str), parameters (int or None), gated (bool), last_modified (str,
    ISO date), summary (str), and for Spaces sdk and stage (str). Empty when none fits. "" and None: the Hub does not say.
    """
    wanted = _kind(kind)
    query = " ".join(query.split())
    if not query:
        raise Problem("The query is empty.", "Name what to look for.")
    if not 1 <= limit <= 50:
        raise Problem(f"limit is {limit}.", "Choose a number from 1 to 50.")
    found = interruptibly(desk.check, lambda: desk.hub.search(wanted, query[:200], limit))
    rows = tuple(RepoRow(id=repo.id, url=repo.url, facts=_in_words(repo)) for repo in found)
    desk.show(ReposFound(repo_kind=wanted, query=query, repos=rows))
    return [_brief(repo) for repo in found]


def hub_info(desk: Desk, kind: str, id: str) -> dict[str, Any]:
    """Look at one model, dataset or Space: what it is, how it is licensed, what is in it.

    Args:
        kind: "model", "dataset" or "space".
        id: Full name, such as "ada/tiny-bert".

    Returns: A dict with the keys of hub_search and url (str), title (str), private (bool), bytes (int or None, of the
    repository), languages, base_models, datasets, papers (arXiv ids), tags (lists of str; tags cut to 15), file_count
    (int), files (list of str, the telling ones first, cut to 30), hardware (str, of a Space).
    """
    wanted = _kind(kind)
    name = id.strip().removeprefix("https://huggingface.co/")
    name = name.removeprefix("datasets/" if wanted == "dataset" else "spaces/" if wanted == "space" else "")
    if not _NAME.fullmatch(name) or ".." in name:
        raise Problem(f"{id[:120]!r} is no name on the Hub.", 'Write it like "ada/tiny-bert".')
    repo = interruptibly(desk.check, lambda: desk.hub.repo(wanted, name))
    row = RepoRow(id=repo.id, url=repo.url, facts=_in_words(repo))
    desk.show(ReposFound(repo_kind=wanted, query=repo.id, repos=(row,)))
    return _brief(repo) | {
        "url": repo.url,
        "title": repo.title,
        "private": repo.private,
        "bytes": repo.bytes,
        "languages": list(repo.languages),
        "base_models": list(repo.base_models),
        "datasets": list(repo.trained_on),
        "papers": list(repo.papers),
        "tags": list(repo.tags[:_TAGS]),
        "file_count": len(repo.files),
        "files": sorted(repo.files, key=lambda file: not _TELLING.fullmatch(file))[:_FILES],
        "hardware": repo.hardware,
    }


def _kind(kind: str) -> Kind:
    if kind not in KINDS:
        raise Problem(f"There is no kind {kind!r} on the Hub.", f"Choose one of {', '.join(KINDS)}.")
    return kind


def _brief(repo: Repo) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "id": repo.id,
        "downloads": repo.downloads,
        "likes": repo.likes,
        "licence": repo.licence,
        "tasks": list(repo.tasks),
        "library": repo.library,
        "parameters": repo.parameters,
        "gated": repo.gated,
        "last_modified": repo.last_modified,
        "summary": " ".join(repo.summary.split())[:200],
    }
    return facts | {"sdk": repo.sdk, "stage": repo.stage} if repo.kind == "space" else facts


def _in_words(repo: Repo) -> tuple[str, ...]:
    """Short facts for the eye, only those that are known."""
    facts = (
        f"{_short(repo.downloads)} downloads" if repo.downloads is not None else "",
        f"{_short(repo.likes)} likes" if repo.likes is not None else "",
        f"{_short(repo.parameters)} parameters" if repo.parameters else "",
        repo.licence,
        *repo.tasks[:2],
        repo.sdk,
        repo.stage.lower(),
        repo.hardware,
        "gated" if repo.gated else "",
        "private" if repo.private else "",
        f"updated {repo.last_modified}" if repo.last_modified else "",
    )
    return tuple(fact for fact in facts if fact)


def _short(number: int) -> str:
    """1234567 -> "1.2M"."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + letter
    return str(number)
