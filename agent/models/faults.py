"""What a model server says when it fails, read from its many forms and put into our words. Pure."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from tools.problem import Problem

LONGEST_WAIT = 60.0  # seconds; a server that asks for more is asked again after this
_LOOKED_AT = 4_000  # characters of a server's words

# Types and codes that say more than the status they come with.
_SLIPS = {"tool_use_failed"}  # the model's own slip, sent as 400; asked again it may do better
_FINAL = {
    "invalid_request_error", "validation", "template_error", "authentication_error", "permission_error",
    "not_found_error", "model_not_found", "context_length_exceeded", "insufficient_quota", "billing_error",
}  # fmt: skip


# How servers say that a request is longer than the model's window; all in lower case.
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context_window_exceeded|string_above_max_length"
    r"|context.{0,20}(?:length|window|size|limit).{0,40}exceed|exceed\w*.{0,60}context"
    r"|maximum (?:context|model|prompt|sequence|input) length|maximum supported sequence length|max_seq_len|max_model_len"
    r"|(?:longer|greater|larger) than the (?:model's |maximum )?(?:context|number of tokens)"
    r"|(?:prompt|input|request|conversation|message)s?(?: text)? (?:is|are|was) too (?:long|large)|too many (?:input )?tokens|prompt too long"
    r"|exceed\w* (?:the )?(?:max(?:imum)?|model).{0,30}(?:length|tokens?|limit)|tokens in request more than max"
    r"|reduce the length of the (?:messages|prompt|input)|token (?:count|limit).{0,40}exceed"
    r"|inputs`? ?(?:tokens|length)?.{0,30}must (?:be|have) .{0,10}(?:<=|less|fewer)|too large for model"
    r"|range of input length should be|(?:input|prompt|context)_?too_?long|reduce your prompt|number of tokens.{0,40}exceed"
    r"|context (?:window|length|size|limit).{0,20}(?:reached|overflow)|(?:prompt|input|sequence|request)\b.{0,30}longer than the maximum"
    r"|(?:prompt|input|sequence|request)\b.{0,20}\d{3,9}\)?(?: tokens)?.{0,20}(?:> ?max|maximum is \d{3,9})"
)
_REPLY_TOO_LONG = re.compile(
    r"max(?:_completion|_new|_output)?_tokens\W.{0,80}?(?:must be|less than|at most|exceed|too large|valid range|maximum)"
)
_N = r"(\d{3,9})"
# Where the numbers stand, the surest place first.
_WINDOW = [
    re.compile(pattern)
    for pattern in (
        rf"n_ctx: {_N}",
        rf"\+ \d+ > {_N}",
        rf"> ?max\w*(?: length)? ?\(?{_N}",
        rf"(?:context|prompt|sequence|model) (?:length|window|size|limit)(?: is| of|:)? ?(?:just )?\(?{_N}",
        rf"model token limit: {_N}",
        rf"(?:>|<=) ?{_N}(?! ?[-+\d])",
        rf"(?:limit is|less than|allowed \(|: limit) ?{_N}",
        rf"max(?:imum)?(?: allowed| is| length)? ?\(?{_N}",
        rf"input length should be \[\d+ {_N}",
    )
]
_TOKENS = [
    re.compile(pattern)
    for pattern in (
        rf"n_prompt_tokens: {_N}",
        rf"{_N}(?: tokens)? (?:in the messages|in your prompt|from the input messages|input tokens|`inputs` tokens)",
        rf"(?:messages resulted in|request has|request contains|prompt is|current length is|too long:|context limit:) {_N}",
        rf"(?:input|request|prompt|token count) \({_N}",
        rf"given: {_N}",
        rf"requested(?: tokens)?:? \(?{_N}",
    )
]
_REPLY_LIMIT = [
    re.compile(r"(?:<= ?|less than or equal to `?|at most |\[\d+ |maximum (?:value )?(?:is|of) `?)(\d{2,9})")
]


class TooLong(Problem):
    """The request does not fit into the model's window. What the server said of it, in tokens; None: it did not say."""

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        window: int | None = None,
        tokens: int | None = None,
        reply: int | None = None,
    ) -> None:
        """window: the model's. tokens: of the request. reply: the longest one that may be asked for; that was the trouble."""
        super().__init__(message, hint)
        self.window, self.tokens, self.reply = window, tokens, reply


@dataclass(frozen=True)
class Excess:
    """By how much a request was too long, as far as the server's words say."""

    window: int | None = None
    tokens: int | None = None
    reply: int | None = None


@dataclass(frozen=True)
class Fault:
    """What went wrong: the server's own words, and the status and kinds (types, codes) it gave, where it gave them."""

    message: str
    status: int | None = None
    kinds: frozenset[str] = frozenset()
    excess: Excess | None = None  # set when the request was too long

    @property
    def passes(self) -> bool:
        """Whether asking again may help."""
        if self.excess:
            return False
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
    if (
        not error and status is None and chunk.get("object") != "error"
    ):  # some put the error itself in the chunk's place
        return None
    inner: dict[str, Any] = error if isinstance(error, dict) else {}
    message = inner.get("message") or error or chunk.get("message") or chunk.get("detail") or ""
    named = [
        where.get(key) for where in (inner, chunk) for key in ("type", "code", "error_type", "status_code", "status")
    ]
    numbers = [int(n) for n in named if isinstance(n, int | str) and re.fullmatch("[45][0-9][0-9]", str(n))]
    said = message if isinstance(message, str) else json.dumps(message)
    status = status or (numbers[0] if numbers else None)
    kinds = frozenset(name for name in named if isinstance(name, str))
    return Fault(said, status, kinds, excess_in(f"{' '.join(sorted(kinds))} {said} {_numbers(inner)}", status, kinds))


def fault_of_answer(status: int, body: bytes) -> Fault:
    """The error of an HTTP answer, whatever its body is."""
    text = body.decode("utf-8", "replace").strip()
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        # A page of HTML tells nobody anything.
        return Fault("" if text.startswith("<") else text, status, excess=excess_in(text, status))
    return (isinstance(answer, dict) and fault_in(answer, status)) or Fault(
        text, status, excess=excess_in(text, status)
    )


def excess_in(text: str, status: int | None, kinds: frozenset[str] = frozenset()) -> Excess | None:
    """Whether these words say that the request was too long, and by how much."""
    said = text[:_LOOKED_AT].lower().replace(",", "")
    if status in (401, 402, 403, 404, 408, 409, 425, 429) or "insufficient_quota" in kinds:
        return None
    if _TOO_LONG.search(said) or status == 413:
        return Excess(window=_number(_WINDOW, said), tokens=_number(_TOKENS, said))
    if _REPLY_TOO_LONG.search(said) and (limit := _number(_REPLY_LIMIT, said)):
        return Excess(reply=limit)
    return None


def _number(patterns: Sequence[re.Pattern[str]], text: str) -> int | None:
    return next((int(found[1]) for pattern in patterns if (found := pattern.search(text))), None)


def _numbers(error: dict[str, Any]) -> str:
    """The fields of an error that are numbers, as llama.cpp adds them."""
    return " ".join(f"{name}: {value}" for name, value in error.items() if type(value) is int)


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
    if excess := fault.excess:
        what = f"The conversation is too long for {host}."
        return TooLong(
            f"{what} It said: {fault.message}" if fault.message else what,
            "Start a new session, or pick a model with a larger window.",
            window=excess.window,
            tokens=excess.tokens,
            reply=excess.reply,
        )
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
