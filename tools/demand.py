"""What the user demanded, pinned so that it cannot be forgotten."""

from __future__ import annotations

from typing import get_args

from pydantic import ValidationError

from tools.cards import Demand
from tools.desk import Desk
from tools.problem import Problem

_ABOUT = get_args(Demand.model_fields["about"].annotation)


def demand(desk: Desk, about: str, rule: str, *, text: str, value: str = "") -> str:
    """Pin what the user demanded or forbade in chat, if it is not pinned yet. Only the user can remove it.

    Args:
        about: base_model, data, method, budget, licence, privacy or other.
        rule: must or must_not.
        text: The user's own words, copied from their message.
        value: What code shall check, if it stands in the words: a repository id, a method, micro-dollars, a licence.

    Returns: "Pinned." Every script, spend and publication is held against it from now on.
    """
    if desk.pin is None:
        raise Problem("Nothing can be pinned here.", "Keep to the user's words.")
    try:
        wanted = Demand.model_validate({"about": about, "rule": rule, "text": text.strip(), "value": value.strip()})
    except ValidationError:
        raise Problem(
            f"There is no demand of kind {about[:40]!r} with rule {rule[:40]!r}.",
            f"about is one of {', '.join(_ABOUT)}; rule is must or must_not.",
        ) from None
    desk.pin(wanted)
    return "Pinned."
