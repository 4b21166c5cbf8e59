"""Tokens by the o200k count, which needs no network and no model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import bpe_openai


@cache
def _ranks() -> Any:
    return bpe_openai.get_encoding("o200k_base")


def count(text: str) -> int:
    return len(_ranks().encode(text))


def count_request(body: Mapping[str, Any]) -> int:
    """The texts of a request's messages; what a provider adds per message is its own affair."""
    return sum(count(spoken(message)) for message in body["messages"])


def spoken(message: Mapping[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())
