"""What tokens cost: micro-dollars per million of them, and never less than a call really costs. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prices:
    """Whole micro-dollars per million tokens."""

    input: int
    output: int
    cached: int | None = None  # of input tokens read from the provider's cache; None: they cost the full price

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> int:
        """Micro-dollars, rounded up."""
        cached = min(cached_tokens, input_tokens)
        cached_price = self.input if self.cached is None else self.cached
        in_millionths = (input_tokens - cached) * self.input + cached * cached_price + output_tokens * self.output
        return -(-in_millionths // 1_000_000)
