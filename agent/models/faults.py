"""What a model server says when it fails, read from its many forms and put into our words. Pure."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from tools.desk import Problem

LONGEST_WAIT = 60.0  # seconds; a server that asks for more is asked again after this

# Types and codes that say more than the status they come with.
_SLIPS = {"tool_use_failed"}  # the model's own slip, sent as 400; asked again it may do better
_FINAL = {
    "invalid_request_error", "validation", "template_error", "authentication_error", "permission_error",
    "not_found_error", "model_not_found", "context_length_exceeded", "insufficient_quota", "billing_error",
}  # fmt: skip


class TooLong(Problem):
    """The request does not fit into the model's window."""


@dataclass(frozen=True)
class Fault:
    """What went wrong: the server's own words, and the status and kinds (types, codes) it gave, where it gave them."""

    message: str
    status: int | None = None
    kinds: frozenset[str] = frozenset()

    @property
    def passes(self) -> bool:
        """Whether asking again may help."""
        if self.kinds & _SLIPS:
            return True
        if self.kinds & _FINAL:
            return False
        return self.status is None or self.status in (408, 409, 425, 429) or self.status >= 500


def fault_in(chunk: dict[str, Any], status: int | None = None) -> Fault | None:
    """The error that a JSON answer, or one chunk of a stream, carries; None if it carries none.

    status: of the HTTP answer, when it was an error; in a stream the error itself may name one.
    """
    error = chunk.get("error")
    if not error and status is None:
        return None
    inner: dict[str, Any] = error if isinstance(error, dict) else {}
    message = inner.get("message") or error or chunk.get("message") or chunk.get("detail") or ""
    named = [
        where.get(key) for where in (inner, chunk) for key in ("type", "code", "error_type", "status_code", "status")
    ]
    numbers = [int(n) for n in named if isinstance(n, int | str) and re.fullmatch("[45][0-9][0-9]", str(n))]
    return Fault(
        message=message if isinstance(message, str) else json.dumps(message),
        status=status or (numbers[0] if numbers else None),
        kinds=frozenset(name for name in named if isinstance(name, str)),
    )


def fault_of_answer(status: int, body: bytes) -> Fault:
    """The error of an HTTP answer, whatever its body is."""
    text = body.decode("utf-8", "replace").strip()
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return Fault("" if text.startswith("<") else text, status)  # a page of HTML tells nobody anything
    return (isinstance(answer, dict) and fault_in(answer, status)) or Fault(text, status)


def wait_asked_for(retry_after: str) -> float | None:
    """Seconds that a Retry-After header (seconds, or an HTTP date) asks to wait, capped; None if it says nothing."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, min(LONGEST_WAIT, seconds))


def explain(fault: Fault, *, host: str, has_key: bool) -> Problem:
    """The failure in our words, with what to do. fault.message must be safe to show."""
    on_hub = host == "router.huggingface.co"
    match fault.status:
        case 401 if not has_key:
            what, do = f"{host} wants a token and none is set.", "Sign in, or set the token for that server."
        case 401 if on_hub:
            what = f"{host} did not accept the token."
            do = "Sign in again, or set HF_TOKEN to a valid token that may call Inference Providers."
        case 401:
            what, do = f"{host} did not accept the key.", "Set a valid key for that server."
        case 402 if on_hub:
            what = "The credits for Inference Providers are used up."
            do = "Add credits at https://huggingface.co/settings/billing, or use a model server of your own."
        case 402:
            what, do = f"The credits at {host} are used up.", "Add credits there, or use another server."
        case 403:
            what = f"The token may not use this model at {host}."
            right = "give the token the right to call Inference Providers" if on_hub else "use a key that may"
            do = f"Pick another model, or {right}."
        case 404:
            what = f"{host} does not know this model, or has no chat at this address."
            do = "Check the model's name (and the provider after its colon) and the base URL; most end in /v1."
        case 413:
            what = f"The conversation is too long for {host}."
            do = "Start a new session, or pick a model with a larger window."
        case 429:
            what, do = (
                f"{host} takes no more requests for now.",
                "Wait some minutes, or pick another model or provider.",
            )
        case status if fault.passes:
            what = f"{host} failed ({status})." if status else f"{host} failed."
            do = "Send your message again, or pick another model or provider."
        case status:
            what = f"{host} refused the request ({status})." if status else f"{host} refused the request."
            do = "Change what it names, or pick another model."
    return Problem(f"{what} It said: {fault.message}" if fault.message else what, do)
