"""How much of a model's window a request takes. Reckoned without a tokenizer; the provider's own counts correct it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ASSUMED = 32_768  # tokens, where nobody says how large the window is
SMALLEST, LARGEST = 1_024, 100_000_000  # what can be believed of a window, in tokens
PER_MESSAGE = 8  # tokens that a chat template adds
_OFTEN = bytes(range(97, 123)) + b" \n"  # small letters, blanks: what the longest tokens are made of
_FOREIGN = bytes(range(128, 256))
_RUNS = re.compile(rb"(?<![!-~])[!-~]{60,}+")
_REMEMBERED = 10_000  # estimates, by the hash of their text
_FACTORS = (0.4, 3.0)  # what can be believed of a provider's count, as a share of the estimate


def estimate(text: str) -> int:
    """Tokens of a text, rather too many than too few.

    Small letters and blanks come about four to a token in prose and code; capitals, digits and marks two or fewer;
    what is not ASCII about two and a half bytes; and runs without a blank, such as base64, hardly more than one.
    Against o200k: +11 % on Markdown, +25 % on Python, +5 % on base64, -6 % on decimal numbers, twice on Chinese.
    """
    data = text.encode("utf-8", "replace")
    runs = sum(len(run) for run in _RUNS.findall(data))
    if runs:
        data = _RUNS.sub(b"", data)
    rare = data.translate(None, _OFTEN)
    marks = len(rare.translate(None, _FOREIGN))
    return (len(data) - len(rare)) // 4 + marks * 5 // 9 + (len(rare) - marks) * 2 // 5 + runs * 18 // 25 + 1


def estimate_all(messages: Iterable[Mapping[str, str]]) -> int:
    return sum(_estimate_once(message["content"]) + PER_MESSAGE for message in messages)


_known: dict[int, int] = {}  # no texts: a request is written anew for each step, and none should be kept


def _estimate_once(text: str) -> int:
    key = hash(text)
    tokens = _known.get(key)
    if tokens is None:
        if len(_known) >= _REMEMBERED:
            _known.clear()
        tokens = _known[key] = estimate(text)
    return tokens


@dataclass
class Window:
    """The window of one model, as told by its list or learned from its refusals; and how its tokens compare to ours."""

    told: int | None = None  # tokens
    learned: int | None = None
    factor: float = 1.0  # the provider's tokens to ours, by its last count
    _counted: tuple[int, int] = (0, 0)  # of the last request: our estimate, the provider's count
    _model: str = ""

    def belong_to(self, model: str, told: int | None) -> None:
        """From here on it is this model's; what was learned of another does not hold for it."""
        if model != self._model:
            self.learned, self.factor, self._counted, self._model = None, 1.0, (0, 0), model
        self.told = told

    @property
    def tokens(self) -> int:
        return self.learned or self.told or ASSUMED

    def reckon(self, messages: Iterable[Mapping[str, str]]) -> int:
        """Tokens of a request. What goes on from the last counted one is that count and what is new."""
        ours = estimate_all(messages)
        before, count = self._counted
        if 0 < before <= ours:
            return count + int((ours - before) * max(1.0, self.factor))
        return int(ours * (self.factor * 1.05 if before else 1.0))

    def room(self, reckoned: int) -> int:
        """Tokens that are left for the reply to a request."""
        return max(0, self.tokens - reckoned - self.tokens // 50)

    def count(self, messages: Iterable[Mapping[str, str]], tokens: int | None) -> None:
        """Take over what the provider counted for these messages, where it can be believed."""
        ours = estimate_all(messages)
        low, high = _FACTORS
        if tokens and low * ours <= tokens <= high * ours:
            self.factor, self._counted = tokens / ours, (ours, tokens)

    def refuse(self, messages: Iterable[Mapping[str, str]], limit: int | None, tokens: int | None) -> None:
        """The server found these messages too long. limit: the window, tokens: its count of them, where it said so."""
        messages = list(messages)
        self.count(messages, tokens)
        if limit and SMALLEST <= limit <= LARGEST:
            self.learned = limit
        else:
            self.learned = max(SMALLEST, min(self.tokens, self.reckon(messages)) * 9 // 10)
