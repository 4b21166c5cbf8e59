"""A tool call typed by hand: /papers_search direct preference optimization limit=5. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.toolbox import DeskTool
from tools.desk import Problem


@dataclass(frozen=True)
class Typed:
    tool: str
    arguments: dict[str, Any]


def parse_typed(text: str, tools: Mapping[str, DeskTool]) -> Typed | None:
    """The call in a message that starts with "/", or None when it is no call ("/data/x is missing").

    name=value sets an argument; other words fill the remaining ones in order, the last required one taking the rest.
    Raises Problem for a tool that does not exist.
    """
    command = re.match(r"/([A-Za-z_]\w*)(?:\s+|$)", text)
    if command is None:
        return None
    name, rest = command[1], text[command.end() :]
    tool = tools.get(name)
    if tool is None:
        raise Problem(f"There is no tool /{name}.", "The tools are " + ", ".join(f"/{tool}" for tool in tools) + ".")
    kwargs: dict[str, Any] = {}
    words: list[str] = []
    for word in _words(rest):
        key, equals, value = word.partition("=")
        if equals and key in tool.inputs:
            kwargs[key] = _value(value)
        else:
            words.append(word)
    unset = [p for p in tool.signature.parameters.values() if p.name not in kwargs]
    required = sum(1 for p in unset if p.default is p.empty) or 1
    if len(words) > required:
        words[required - 1 :] = [" ".join(words[required - 1 :])]
    return Typed(name, dict(zip([p.name for p in unset], words, strict=False)) | kwargs)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an apostrophe, not a quotation
        return text.split()


def _value(text: str) -> Any:
    """JSON where it is JSON (numbers, lists), else the text itself."""
    if text[:1] in "[{":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
