"""A tool call typed by hand: /papers_search direct preference optimization limit=5. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.loop.toolbox import DeskTool
from tools.problem import Problem


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
    while rest := rest.lstrip():
        named = re.match(r"(\w+)=", rest)
        if named and named[1] in tool.inputs:
            kwargs[named[1]], rest = _value(rest[named.end() :])
        else:
            word, rest = _word(rest)
            words.append(word)
    unset = [p for p in tool.signature.parameters.values() if p.name not in kwargs]
    required = sum(1 for p in unset if p.default is p.empty) or 1
    if len(words) > required:
        words[required - 1 :] = [" ".join(words[required - 1 :])]
    return Typed(name, dict(zip([p.name for p in unset], words, strict=False)) | kwargs)


def _value(text: str) -> tuple[Any, str]:
    """A value and what follows it: JSON where it looks like JSON and is, else one word."""
    if text[:1] in ("[", "{", '"'):
        try:
            value, end = json.JSONDecoder().raw_decode(text)
        except ValueError:
            return _word(text)
        return value, text[end:]
    return _word(text)


def _word(text: str) -> tuple[str, str]:
    """A quoted or bare word, and what follows it. An apostrophe inside a word quotes nothing."""
    quoted = re.match(r"""(["'])(.*?)\1(?=\s|$)""", text, re.DOTALL)
    if quoted:
        return quoted[2], text[quoted.end() :]
    word, _, rest = text.partition(" ")
    return word, rest
