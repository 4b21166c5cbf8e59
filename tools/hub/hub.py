"""The Hugging Face Hub behind two small protocols: one that reads, one that writes. The only importer of huggingface_hub.

Requests go through the library's session, headers and error types. Lists and papers are asked for directly, because
its list functions sleep up to a minute, five times, when the Hub says "too many requests", its paper functions drop
fields and send no token, and its typed values refuse a whole answer for one odd field in one model card.
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import httpx2
from huggingface_hub import HfApi, get_session, set_client_factory
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import default_client_factory, hf_raise_for_status, parse_ratelimit_headers

from tools.hub.values import KINDS, Bill, HubAccount, JobBill, Kind, PaperFacts, Repo
from tools.problem import NotAllowed, NotThere, Problem

__all__ = [
    "KINDS",
    "Hub",
    "HubAccount",
    "HubReader",
    "HubWriter",
    "Kind",
    "PaperFacts",
    "Repo",
    "WritableHub",
]

_SECONDS_IN_ALL = 30.0
_LIMIT_BYTES = 10_000_000
_T = TypeVar("_T")


class HubReader(Protocol):
    """What may be read of the Hub. Every method raises Problem in words; none takes longer than half a minute."""

    def whoami(self) -> str: ...
    def inference_bill(self, session: str) -> Bill | None: ...
    def search(self, kind: Kind, query: str, limit: int) -> list[Repo]: ...
    def repo(self, kind: Kind, id: str) -> Repo: ...
    def papers_search(self, query: str, limit: int) -> list[PaperFacts]: ...
    def paper_meta(self, id: str) -> PaperFacts: ...
    def paper_markdown(self, id: str) -> str: ...
    def hardware(self) -> list[Mapping[str, Any]]: ...


class HubWriter(Protocol):
    """What may be changed on the Hub. Whoever holds one has the user's consent."""

    def delete_repo(self, repo: str) -> None: ...


class Hub:
    """The Hub as one user sees it; without a token, as everyone does. A token found on the machine is never used."""

    def __init__(self, token: str = "", endpoint: str = "https://huggingface.co") -> None:
        _bound_the_library()
        self._token = _checked(token)
        self.endpoint = endpoint.rstrip("/")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.endpoint!r}, {'with' if self._token else 'without'} a token)"

    def whoami(self) -> str:
        """The name of the account that the token belongs to. Raises Problem without a token, or with one that is void."""
        return self.account().name

    def account(self) -> HubAccount:
        """The token's account, and the organizations it belongs to. Raises as whoami does."""
        if not self._token:
            raise Problem("Nobody is signed in.", "Sign in with Hugging Face, or set HF_TOKEN.")
        said = self._json("your account", "/api/whoami-v2")
        name = said.get("name") if isinstance(said, dict) else None
        if not isinstance(name, str) or not name:
            raise Problem("The Hub did not say whose token this is.", "Try again, or use another token.")
        return HubAccount.read(said)

    def inference_bill(self, session: str) -> Bill | None:
        """What the model calls of a session have cost by the account's bill; None: the bill does not know it yet.

        Raises Problem when the token may not read the bill.
        """
        what = "the bill for model calls"
        return Bill.read(self._json(what, "/api/settings/billing/usage-by-inference-session"), session)

    def jobs_bill(self) -> dict[str, JobBill]:
        """What the bill of the token's own account says of its jobs of this period, by id.

        Raises NotAllowed when the token may not read it, and a plain Problem while nobody is signed in.
        """
        what = "the bill for jobs"
        if not self._token:
            raise Problem("Nobody is signed in.", "Sign in with Hugging Face, or set HF_TOKEN.")
        try:
            said = self._json(what, "/api/settings/billing/usage/jobs")
        except NotThere as problem:
            raise NotAllowed(problem.message, problem.hint) from None
        if isinstance(said, dict) and said.get("hasAccess") is False:
            raise NotAllowed("Your token may not read the bill for jobs.", "Use one with the scope read-billing.")
        return JobBill.read(said)

    def search(self, kind: Kind, query: str, limit: int) -> list[Repo]:
        """Find repositories, the Hub's best first; for Spaces by meaning, and only those that run."""
        what = f"the search for {query!r}"
        if kind == "space":
            found = self._json(what, "/api/spaces/semantic-search", [("q", query)])
        else:
            wanted = [("expand", field) for field in _LISTED[kind]]
            found = self._json(what, f"/api/{kind}s", [("search", query), ("limit", str(limit)), *wanted])
        return [Repo.read(kind, self.endpoint, item) for item in _items(what, found)][:limit]

    def repo(self, kind: Kind, id: str) -> Repo:
        """All that the Hub tells of one repository. A renamed one is found under its new name."""
        data = self._json(f"{kind} {id!r}", f"/api/{kind}s/{quote(id)}")
        return Repo.read(kind, self.endpoint, _item(f"{kind} {id!r}", data))

    def papers_search(self, query: str, limit: int) -> list[PaperFacts]:
        """Find papers by meaning, best first."""
        what = f"the search for {query!r}"
        found = self._json(what, "/api/papers/search", [("q", query), ("limit", str(limit))])
        if not isinstance(found, list):
            raise _nonsense(what)
        papers = _items(what, [item.get("paper") for item in found if isinstance(item, dict)])
        return [PaperFacts.read(paper) for paper in papers][:limit]

    def paper_meta(self, id: str) -> PaperFacts:
        """Title, authors and abstract of a paper. Raises NotThere for one that Hugging Face Papers does not know."""
        what = f"paper {id!r}"
        return PaperFacts.read(_item(what, self._json(what, f"/api/papers/{quote(id)}")))

    def paper_markdown(self, id: str) -> str:
        """A paper's text as Markdown, or, where the Hub has none, its abstract page, unmarked: the caller must tell."""
        return self._get(f"paper {id!r}", f"/papers/{quote(id)}.md", []).decode("utf-8", errors="replace")

    def hardware(self) -> list[Mapping[str, Any]]:
        """What Jobs run on, with prices, as the Hub lists it now. Public. Read by tools.jobs.prices alone."""
        what = "the list of hardware"
        found = self._json(what, "/api/jobs/hardware")
        if not isinstance(found, list):
            raise _nonsense(what)
        return [item for item in found if isinstance(item, dict) and isinstance(item.get("name"), str)]

    def _json(self, what: str, path: str, params: Sequence[tuple[str, str]] = ()) -> Any:
        body = self._get(what, path, params)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise _nonsense(what) from None

    def _get(self, what: str, path: str, params: Sequence[tuple[str, str]]) -> bytes:
        return self._call(what, lambda: self._read(what, f"{self.endpoint}{path}", params))

    def _read(self, what: str, url: str, params: Sequence[tuple[str, str]]) -> bytes:
        with self.reading(what, url, params) as (_, pieces):
            return whole(what, pieces)

    @contextlib.contextmanager
    def reading(
        self,
        what: str,
        url: str,
        params: Sequence[tuple[str, str]] = (),
        *,
        seconds: float = _SECONDS_IN_ALL,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[tuple[httpx2.Response, Iterator[bytes]]]:
        """An answer and its body in pieces, as it comes, all within so many seconds. Raises Problem for what is no success.

        A redirect to another origin is followed without the token: the library's session drops it there.
        """
        sent = build_hf_headers(token=self._token or False) | dict(headers or {})
        deadline, silence = time.monotonic() + seconds, max(0.1, min(15.0, seconds))
        asked = get_session().stream("GET", url, params=list(params) or None, headers=sent, timeout=silence)
        with self._in_words(what), asked as response:
            pieces = _in_time(response, deadline)
            if not response.is_success:
                _raise_for_status(response, whole(what, pieces))
                raise _nonsense(what)
            yield response, pieces

    def _call(self, what: str, work: Callable[[], _T]) -> _T:
        with self._in_words(what):
            return work()

    @contextlib.contextmanager
    def _in_words(self, what: str) -> Iterator[None]:
        """Translate errors of the library, by type and status, into words."""
        try:
            yield
        except HfHubHTTPError as error:
            raise problem_of(what, error, signed_in=bool(self._token)) from None
        except OfflineModeIsEnabled:
            raise Problem("HF_HUB_OFFLINE is set, so the Hub is not asked.", "Unset it and start again.") from None
        except httpx2.TimeoutException:
            raise Problem(f"{self.endpoint} did not answer in time about {what}.", "Try again in a minute.") from None
        except httpx2.HTTPError:
            raise Problem(f"{self.endpoint} cannot be reached.", "Check the network, then try again.") from None


class WritableHub(Hub):
    """The Hub with the power to change it. Made only for an agreed request."""

    def delete_repo(self, repo: str) -> None:
        """Delete a repository and its history. repo: "ada/x", "datasets/ada/x" or "spaces/ada/x"."""
        folder, _, id = repo.partition("/")
        kind: Kind = {"datasets": "dataset", "spaces": "space"}.get(folder, "model")  # type: ignore[assignment]
        id = repo if kind == "model" else id
        api = HfApi(self.endpoint, token=self._token or False)
        try:
            self._call(f"{kind} {id!r}", lambda: api.delete_repo(id, repo_type=kind))
        except (AttributeError, TypeError):  # what the library says of an error that is JSON but no plain object
            raise _nonsense(f"{kind} {id!r}") from None


_LISTED: Mapping[Kind, tuple[str, ...]] = {
    "model": ("downloads", "likes", "tags", "pipeline_tag", "library_name", "lastModified", "gated", "safetensors"),
    "dataset": ("downloads", "likes", "tags", "lastModified", "gated", "description"),
}


@functools.cache
def _bound_the_library() -> None:
    """Give huggingface_hub a session with time limits, once per process: its own has none and could hang for ever."""

    def session() -> httpx2.Client:
        client = default_client_factory()
        client.timeout = httpx2.Timeout(15.0, connect=10.0, write=60.0)
        return client

    set_client_factory(session)


def _checked(token: str) -> str:
    """A header that cannot be sent would be quoted in the library's error, so such a token is refused here."""
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise Problem("The Hugging Face token has characters that no token has.", "Copy it again from your settings.")
    return token


def _in_time(response: httpx2.Response, deadline: float) -> Iterator[bytes]:
    """As the bytes come, however few: what drips would never fill a larger piece."""
    for piece in response.iter_bytes():
        if time.monotonic() > deadline:
            raise httpx2.ReadTimeout("too slow in all")
        yield piece


def whole(what: str, pieces: Iterator[bytes]) -> bytes:
    """All of a body, unless it is far too long."""
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > _LIMIT_BYTES:
            raise Problem(f"The Hub's answer about {what} is too large.", "Ask for less.")
    return bytes(body)


def _raise_for_status(response: httpx2.Response, body: bytes) -> None:
    """Let the library choose the error's type. It reads the body again, so it gets a response that was not streamed."""
    headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() != "content-encoding"]
    whole = httpx2.Response(response.status_code, headers=headers, content=body, request=response.request)
    try:
        hf_raise_for_status(whole)
    except (AttributeError, TypeError, RecursionError):  # what it says of a body that is JSON but no plain object
        raise HfHubHTTPError(f"status {whole.status_code}", response=whole) from None


def problem_of(what: str, error: HfHubHTTPError, *, signed_in: bool) -> Problem:
    """An error of the library, by type and status, in words."""
    status = error.response.status_code if error.response is not None else 0
    said = " ".join((error.server_message or "").split())[:300]
    if isinstance(error, GatedRepoError):
        return Problem(f"{what} is gated.", "Ask for access on its page and sign in, or choose another.")
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        hint = "Check the name, or search for it." + ("" if signed_in else " If it is private, sign in.")
        if status == 401 and signed_in:
            hint += " Your token may also have expired: sign in again."
        return NotThere(f"The Hub has no {what}, or does not show it to you.", hint)
    match status:
        case 401:
            return Problem(f"The Hub wants a valid token for {what}.", "Sign in again, or set a new HF_TOKEN.")
        case 402:
            return Problem(
                f"The Hub wants to be paid for {what}: {said or 'no reason given'}.", "Add credits or a plan."
            )
        case 403:
            return NotAllowed(
                f"Your token may not do this with {what}: {said or 'no reason given'}.", "Use another token."
            )
        case 429:
            hint = "Then try again." if signed_in else "Sign in for a higher limit, or wait."
            return Problem(f"The Hub is asked too much: wait {_wait(error)} s.", hint)
    if status >= 500:
        return Problem(f"The Hub has trouble (status {status}) with {what}.", "Try again in a minute.")
    return Problem(f"The Hub refused {what} (status {status}): {said or 'no reason given'}.", "Check what was asked.")


def _wait(error: HfHubHTTPError) -> int:
    """Seconds until the Hub answers again; a minute when it does not say."""
    headers = error.response.headers if error.response is not None else {}
    if info := parse_ratelimit_headers(headers):
        return info.reset_in_seconds
    said = headers.get("retry-after", "")
    return int(said) if said.isascii() and said.isdigit() else 60


def _nonsense(what: str) -> Problem:
    return Problem(f"The Hub's answer about {what} makes no sense.", "Try again in a minute.")


def _items(what: str, found: Any) -> list[Mapping[str, Any]]:
    """The entries that have an id; one that has none is left out rather than losing the others."""
    if not isinstance(found, list):
        raise _nonsense(what)
    return [item for item in found if isinstance(item, dict) and isinstance(item.get("id"), str)]


def _item(what: str, data: Any) -> Mapping[str, Any]:
    if not isinstance(data, dict) or not isinstance(data.get("id"), str):
        raise _nonsense(what)
    return data
