"""The table of how each kind of request is judged."""

from __future__ import annotations

from typing import get_args

from agent.consent.policy import RULES
from tools.cards import Request

KINDS = get_args(get_args(Request)[0])


def test_every_kind_of_request_has_its_rule() -> None:
    assert set(RULES) == set(KINDS)


def test_only_fields_that_a_request_has_can_be_edited() -> None:
    assert [kind for kind in KINDS if not kind.editable <= kind.model_fields.keys()] == []
