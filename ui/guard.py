"""What a request must be like before anybody looks at what it says: from our own page, JSON, small, well formed."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from tools.problem import Problem

BODY_LIMIT = 1_000_000  # bytes

F = TypeVar("F", bound=BaseModel)


class Refusal(Problem):
    """A request that is not even looked at. status is the HTTP status that says so."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status = status


def check_origin(request: Request, hosts: AbstractSet[str]) -> None:
    """Refuse what another site's page sends. Gradio answers CORS for any origin, so this is the wall.

    Browsers name the page in Origin on every POST, and in Sec-Fetch-Site on what they fetch without one. A caller that
    names neither is no browser of today; with cookies it may be an old one, and then it changes nothing here.
    """
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    reads = request.method in ("GET", "HEAD")
    if origin is not None:
        ours = _netloc(origin) in {request.headers.get("host", "").lower(), *hosts}
    elif site is not None:
        ours = site == "same-origin" or (reads and site == "none")  # none: typed, or a bookmark
    else:
        ours = reads or not request.cookies
    if not ours:
        raise Refusal(403, "This request comes from another site.", "Open ML Intern in its own tab and try there.")


async def read_form(request: Request, form: type[F]) -> F:
    """Read a JSON body into a form. Raises Refusal: 415 wrong type, 413 too large, 422 not the form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, f"The body is {kind or 'of no type'}.", "Send JSON with Content-Type: application/json.")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_LIMIT:
                raise Refusal(413, f"The message is larger than {BODY_LIMIT:,} bytes.", "Attach long text as a file.")
    except ClientDisconnect:
        raise Refusal(400, "The request broke off.") from None
    try:
        return form.model_validate_json(bytes(body), strict=True)
    except ValidationError as error:
        raise Refusal(422, _in_words(error)) from None


def _in_words(error: ValidationError) -> str:
    told = [
        f"{'.'.join(str(part) for part in found['loc']) or 'body'}: {found['msg']}"
        for found in error.errors(include_url=False, include_input=False, include_context=False)[:3]
    ]
    return "The request is not understood. " + "; ".join(told) + "."


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
