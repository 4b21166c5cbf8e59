"""Chunks of an OpenAI-compatible chat completion -> deltas. Pure. Every provider bends the form in its own way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from agent.models.deltas import Done, NativeCall, Reasoning, Text, Usage

MAX_REPLY = 4_000_000  # characters of text, reasoning and arguments in one reply
MAX_CALLS = 64


class ReplyTooLong(Exception):
    """More was said than any reply needs."""


class Completion:
    """One reply in the making. Takes the chunks of a stream, or the one object of an unstreamed answer."""

    def __init__(self) -> None:
        self.heard = False  # something was taken
        self.spoke = False  # and it had the form of a chat completion
        self.finish_reason = ""
        self._usage = Usage()
        self._calls: dict[int, tuple[str, list[str]]] = {}  # by index: name, pieces of arguments
        self._size = 0

    def add(self, chunk: dict[str, Any]) -> Iterator[Text | Reasoning]:
        """Take one chunk; yield what it says. Raises ReplyTooLong."""
        self.heard = True
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self._usage = _usage(usage)  # the last one counts: some providers send a running total in every chunk
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return
        self.spoke = True
        choice = choices[0] if choices and isinstance(choices[0], dict) else {}
        if isinstance(choice.get("finish_reason"), str):
            self.finish_reason = choice["finish_reason"] or self.finish_reason
        said = choice.get("delta") or choice.get("message")
        if isinstance(said, dict):
            for delta in _pieces(said):
                self._grow(delta.text)
                yield delta
            self._take_calls(said.get("tool_calls"))

    @property
    def broken(self) -> Usage | None:
        """If it breaks off here: what was counted so far; None when nothing was said."""
        return self._usage if self._size or self._usage != Usage() else None

    def done(self, provider: str) -> Done:
        calls = tuple(NativeCall(name, "".join(pieces)) for name, pieces in self._calls.values() if name)
        return Done(self.finish_reason or "stop", self._usage, provider, calls)

    def _take_calls(self, calls: object) -> None:
        """Join the pieces of tool calls by index. Some servers send them whole, some without index or as one object."""
        for call in [calls] if isinstance(calls, dict) else calls if isinstance(calls, list) else []:
            function = call.get("function") if isinstance(call, dict) else None
            if not isinstance(function, dict):
                continue
            name, arguments, index = function.get("name"), function.get("arguments"), call.get("index")
            name = name if isinstance(name, str) else ""
            if not isinstance(index, int):
                index = len(self._calls) if name or not self._calls else max(self._calls)
            if index not in self._calls and len(self._calls) == MAX_CALLS:
                raise ReplyTooLong
            known, pieces = self._calls.get(index, ("", []))
            if arguments is not None:
                pieces.append(arguments if isinstance(arguments, str) else json.dumps(arguments))
                self._grow(pieces[-1])
            self._calls[index] = (known or name, pieces)

    def _grow(self, text: str) -> None:
        self._size += len(text)
        if self._size > MAX_REPLY:
            raise ReplyTooLong


def _pieces(message: dict[str, Any]) -> Iterator[Text | Reasoning]:
    # Providers that fill two of these fields say the same in both.
    thought = next((t for key in ("reasoning_content", "reasoning", "thinking") if (t := _plain(message.get(key)))), "")
    if thought:
        yield Reasoning(thought)
    content = message.get("content")
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, dict) and part.get("type") == "thinking":
            if thought := _plain(part.get("thinking")):
                yield Reasoning(thought)
        elif text := _plain(part):
            yield Text(text)


def _plain(content: object) -> str:
    """Text that is given as such, or as a list of parts."""
    match content:
        case str():
            return content
        case {"text": str(text)}:
            return text
        case list():
            return "".join(
                part if isinstance(part, str) else _plain(part) for part in content if not isinstance(part, list)
            )
        case _:
            return ""


def _usage(usage: dict[str, Any]) -> Usage:
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"), cached)
    return Usage(*(n if type(n) is int and n >= 0 else None for n in counts))
