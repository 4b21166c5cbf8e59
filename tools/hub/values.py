"""What the Hub says about repositories and papers, as plain values read from its JSON. Missing or odd fields are empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal, get_args

Kind = Literal["model", "dataset", "space"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_FOLDERS: dict[Kind, str] = {"model": "", "dataset": "datasets/", "space": "spaces/"}


@dataclass(frozen=True)
class Bill:
    """What model calls have cost so far, and how many of them the bill knows of."""

    micro_usd: int
    requests: int

    @classmethod
    def read(cls, said: Any, session: str) -> Bill | None:
        """The session's part of the account's usage, over all periods; what makes no sense in it is passed over."""
        cents, requests, known = Decimal(0), 0, False
        for period in _list_in(said, "periods"):
            for one in _list_in(period, "sessions"):
                if not isinstance(one, dict) or one.get("id") != session:
                    continue
                cost, count = one.get("costCents"), one.get("requestCount")
                if isinstance(cost, int | float) and 0 <= cost < 1e9 and isinstance(count, int):
                    known, cents, requests = True, cents + Decimal(str(cost)), requests + count
        return cls(int((cents * 10_000).to_integral_value(ROUND_CEILING)), requests) if known else None


@dataclass(frozen=True)
class JobBill:
    """What the account's bill says of a job so far. whole: it knows the job's end, so that no more is to come."""

    micro_usd: int
    minutes: float | None  # that were billed; None: it does not say
    whole: bool

    @classmethod
    def read(cls, said: Any) -> dict[str, JobBill]:
        """The jobs of the account's usage in the current period, by id; what makes no sense in it is passed over.

        What cannot be the whole cost is not whole: a job without an end, one that began in the period before, one that
        ran and cost nothing yet, and one that is told twice in different words.
        """
        usage = said.get("usage") if isinstance(said, dict) else None
        since = moment(usage.get("periodStart")) if isinstance(usage, dict) else None
        found: dict[str, JobBill] = {}
        for one in _list_in(usage, "jobDetails"):
            id, cost = _mapping(one).get("jobId"), _amount(_mapping(one).get("totalCostMicroUsd"))
            if not isinstance(id, str) or not id or cost is None:
                continue
            began, minutes = moment(one.get("startedAt")), _amount(one.get("totalMinutes"))
            before = since is not None and began is not None and began < since
            whole = moment(one.get("completedAt")) is not None and not before and bool(cost or not minutes)
            bill = cls(
                int(cost.to_integral_value(ROUND_CEILING)), None if minutes is None else round(float(minutes), 2), whole
            )
            found[id] = bill if found.get(id, bill) == bill else replace(bill, whole=False)
        return found


def _amount(value: Any) -> Decimal | None:
    ok = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12
    return Decimal(str(value)) if ok else None


def moment(value: Any) -> float | None:
    """Unix time of an ISO date; None for what is none."""
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def _list_in(said: Any, name: str) -> list[Any]:
    found = said.get(name) if isinstance(said, dict) else None
    return found if isinstance(found, list) else []


@dataclass(frozen=True)
class Repo:
    """A model, dataset or Space. None means that the Hub did not say."""

    kind: Kind
    id: str
    url: str
    title: str
    summary: str
    downloads: int | None  # in the last 30 days
    likes: int | None
    licence: str
    tasks: tuple[str, ...]
    library: str
    gated: bool
    private: bool
    last_modified: str  # ISO date
    parameters: int | None  # weights, from the safetensors headers
    bytes: int | None  # of the whole repository on disk
    languages: tuple[str, ...]
    base_models: tuple[str, ...]
    trained_on: tuple[str, ...]  # datasets named by a model's card
    papers: tuple[str, ...]  # arXiv ids
    tags: tuple[str, ...]  # those that say nothing of the above
    files: tuple[str, ...]
    sdk: str
    stage: str
    hardware: str

    @classmethod
    def read(cls, kind: Kind, endpoint: str, data: Mapping[str, Any]) -> Repo:
        """Raises KeyError when data has no id."""
        card = _mapping(data.get("cardData"))
        runtime = _mapping(data.get("runtime"))
        tags = _words(data.get("tags"))
        marked = _by_mark(tags)
        id = str(data["id"])
        return cls(
            kind=kind,
            id=id,
            url=f"{endpoint}/{_FOLDERS[kind]}{id}",
            title=_word(data.get("title") or card.get("title") or card.get("pretty_name")),
            summary=_word(data.get("ai_short_description") or data.get("shortDescription") or data.get("description")),
            downloads=_number(data.get("downloads")),
            likes=_number(data.get("likes")),
            licence=", ".join(_words(card.get("license")) or marked.get("license", ())),
            tasks=_words(data.get("pipeline_tag"))
            or _words(card.get("task_categories"))
            or marked.get("task_categories", ()),
            library=_word(data.get("library_name")),
            gated=bool(data.get("gated")),
            private=bool(data.get("private")),
            last_modified=_word(data.get("lastModified"))[:10],
            parameters=_number(_mapping(data.get("safetensors")).get("total")),
            bytes=_number(data.get("usedStorage")),
            languages=_words(card.get("language")) or marked.get("language", ()),
            base_models=_words(card.get("base_model")) or _base_models(marked),
            trained_on=_words(card.get("datasets")) or marked.get("dataset", ()),
            papers=marked.get("arxiv", ()),
            tags=tuple(tag for tag in tags if ":" not in tag),
            files=_files(data.get("siblings")),
            sdk=_word(data.get("sdk")),
            stage=_word(runtime.get("stage")),
            hardware=_word(_mapping(runtime.get("hardware")).get("current")),
        )


@dataclass(frozen=True)
class Organization:
    """An organization as one of its members sees it. can_pay: it pays for inference and jobs of its members."""

    name: str
    can_pay: bool
    plan: str  # "team", "enterprise" and so on; "" without one
    limit_reached: bool  # of what its administrators let it spend


@dataclass(frozen=True)
class HubAccount:
    """A user as the Hub knows the owner of a token. can_pay: has a way to pay beyond the free credit."""

    name: str
    can_pay: bool
    plan: str  # "pro", or "" for the free one
    organizations: tuple[Organization, ...]

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> HubAccount:
        """Raises KeyError when data has no name."""
        orgs = data.get("orgs")
        return cls(
            name=str(data["name"]),
            can_pay=data.get("canPay") is True,
            plan="pro" if data.get("isPro") is True else "",
            organizations=tuple(
                Organization(
                    name=org["name"],
                    can_pay=org.get("canPay") is True,
                    plan=_word(org.get("plan")),
                    limit_reached=org.get("spendLimitReached") is True,
                )
                for org in (orgs if isinstance(orgs, list) else [])
                if isinstance(org, dict) and _word(org.get("name"))
            ),
        )


@dataclass(frozen=True)
class PaperFacts:
    """A paper as Hugging Face Papers or arXiv lists it."""

    id: str  # arXiv id without version
    title: str
    date: str  # ISO date
    authors: tuple[str, ...]
    summary: str  # the abstract
    ai_summary: str = ""
    keywords: tuple[str, ...] = ()
    upvotes: int | None = None
    code_url: str = ""
    project_url: str = ""
    withdrawn: bool = False

    @classmethod
    def read(cls, paper: Mapping[str, Any]) -> PaperFacts:
        """Read a paper's own JSON, or the "paper" inside a search result. Raises KeyError when it has no id."""
        people = paper.get("authors")
        return cls(
            id=str(paper["id"]),
            title=" ".join(_word(paper.get("title")).split()),
            date=_word(paper.get("publishedAt"))[:10],
            authors=tuple(_word(_mapping(person).get("name")) for person in people) if isinstance(people, list) else (),
            summary=" ".join(_word(paper.get("summary")).split()),
            ai_summary=_word(paper.get("ai_summary")),
            keywords=_words(paper.get("ai_keywords")),
            upvotes=_number(paper.get("upvotes")),
            code_url=_word(paper.get("githubRepo")),
            project_url=_word(paper.get("projectPage")),
            withdrawn=bool(paper.get("withdrawnAt")),
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _words(value: Any) -> tuple[str, ...]:
    """A card may say one thing or a list of things."""
    if isinstance(value, str):
        return (value,)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _by_mark(tags: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Tags such as "license:mit" and "arxiv:2305.18290", gathered by what stands before the first colon."""
    found: dict[str, tuple[str, ...]] = {}
    for tag in tags:
        mark, colon, value = tag.partition(":")
        if colon:
            found[mark] = (*found.get(mark, ()), value)
    return found


def _base_models(marked: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Each base model once: the Hub tags it as "base_model:ada/x" and again as "base_model:finetune:ada/x"."""
    return tuple(dict.fromkeys(value.rpartition(":")[2] for value in marked.get("base_model", ())))


def _files(siblings: Any) -> tuple[str, ...]:
    if not isinstance(siblings, list):
        return ()
    return tuple(name for item in siblings if (name := _word(_mapping(item).get("rfilename"))))
