"""Token ids -> text as it may be shown: whole characters, up to the first stop word and not one letter of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_LONGEST_CHARACTER = 8  # tokens; what is still broken after these is shown broken


class Decoder:
    """Turns ids into text one by one. A character that is spread over tokens is shown when it is whole."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []  # the last ids that were shown, for their context, then those that were not
        self._shown = 0

    def feed(self, token: int) -> str:
        """The text that this token completes; "" while a character is unfinished."""
        self._ids.append(token)
        text = self._decode(self._ids)
        if text.endswith("\ufffd") and len(self._ids) - self._shown < _LONGEST_CHARACTER:
            return ""
        return self._show(text)

    def end(self) -> str:
        """What was left unfinished."""
        return self._show(self._decode(self._ids)) if len(self._ids) > self._shown else ""

    def _show(self, text: str) -> str:
        before = self._decode(self._ids[: self._shown])
        self._ids = self._ids[self._shown :]
        self._shown = len(self._ids)
        return text[len(before) :]


class Until:
    """Lets text through up to the first stop word; what could be a word's beginning is held back."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = tuple(word for word in words if word)
        self._held = ""
        self.met = False  # a stop word was said; nothing comes after it

    def feed(self, piece: str) -> str:
        """The text that is certain now."""
        if self.met:
            return ""
        text, self._held = self._held + piece, ""
        found = [at for word in self._words if (at := text.find(word)) >= 0]
        if found:
            self.met = True
            return text[: min(found)]
        kept = max((_beginning_at_end(text, word) for word in self._words), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def end(self) -> str:
        """What was held back and turned out to be no stop word."""
        held, self._held = self._held, ""
        return held


def _beginning_at_end(text: str, word: str) -> int:
    """How many characters at the end of text could begin the word."""
    return next((n for n in range(min(len(word) - 1, len(text)), 0, -1) if text.endswith(word[:n])), 0)
