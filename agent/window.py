"""How much of a model's window a request takes. Reckoned without a tokenizer; the provider's own counts correct it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ASSUMED = 32_768  # tokens, where nobody says how large the window is
SMALLEST, LARGEST = 1_024, 100_000_000  # what can be believed of a window, in tokens
PER_MESSAGE = 8  # tokens that a chat template adds
_OFTEN = bytes(range(97, 123)) + b" \n"  # small letters, blanks: what the longest tokens are made of
_FACTORS = (0.4, 3.0)  # what can be believed of a provider's count, as a share of the estimate


def estimate(text: str) -> int:
    """Tokens of a text, rather too many than too few.

    Small letters and blanks come about four to a token in prose and code; capitals, digits and marks two or fewer;
    what is not ASCII about two bytes.
    """
    data = text.encode("utf-8", "replace")
    rare = data.translate(None, _OFTEN)
    foreign = len(rare) - len(rare.translate(None, bytes(range(128, 256))))
    marks = len(rare) - foreign
    return (len(data) - len(rare)) // 4 + marks * 5 // 9 + foreign // 2 + 1


def estimate_all(messages: Iterable[Mapping[str, str]]) -> int:
    return sum(estimate(message["content"]) + PER_MESSAGE for message in messages)


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
