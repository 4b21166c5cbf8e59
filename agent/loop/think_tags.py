"""Tells thought from speech while a reply streams: models that think inside <think>…</think> in their text."""

from __future__ import annotations

from collections.abc import Iterator

_OPEN, _CLOSE = "<think>", "</think>"


class Thinking:
    """Fed with a reply's pieces in order. A tag may be split over pieces; what could be its beginning is held back."""

    def __init__(self) -> None:
        self._inside = False
        self._held = ""

    def feed(self, piece: str) -> Iterator[tuple[bool, str]]:
        """(is thought, text) in order, without the tags."""
        text, self._held = self._held + piece, ""
        while text:
            tag = _CLOSE if self._inside else _OPEN
            before, found, text = text.partition(tag)
            if not found:
                kept = _beginning_at_end(before, tag)
                before, self._held = before[: len(before) - kept], before[len(before) - kept :]
            if before:
                yield self._inside, before
            if found:
                self._inside = not self._inside

    def end(self) -> Iterator[tuple[bool, str]]:
        """What was held back and turned out to be no tag."""
        if self._held:
            yield self._inside, self._held
            self._held = ""


def _beginning_at_end(text: str, tag: str) -> int:
    """How many characters at the end of text could begin the tag."""
    return next((n for n in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:n])), 0)
