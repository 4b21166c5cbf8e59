"""What the scripted model says in a bench, and how its words are known again on their way to the client."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_MIXED = 0x9E5  # odd, so that it mixes all numbers below 4096: neighbouring words must not compress as a count would
WORDS = [b"~%03x" % (n * _MIXED % 4096) for n in range(4096)]
NUMBERS = {word: n for n, word in enumerate(WORDS)}
WORD = re.compile(rb"~[0-9a-f]{3}")
_MESSAGE = re.compile(r"Bench (\S+): (\d+) steps of (\d+) tokens, ([\d.]+) ms apart\.")


@dataclass(frozen=True)
class Task:
    """One run to be measured. label: unique in a bench. delay: seconds between tokens. At most 4096 tokens in all."""

    label: str
    steps: int = 20
    tokens: int = 200  # per step; the last three are the step's code
    delay: float = 0.005

    @property
    def message(self) -> str:
        """What the user says. The model server reads the task from it."""
        return f"Bench {self.label}: {self.steps} steps of {self.tokens} tokens, {self.delay * 1000:g} ms apart."

    @property
    def words(self) -> int:
        """Tokens that can be known again."""
        return self.steps * (self.tokens - 3)

    @property
    def ideal_seconds(self) -> float:
        """How long the model speaks. An app that cost nothing would need no more."""
        return self.steps * self.tokens * self.delay

    def reply(self, step: int) -> list[str]:
        """The tokens of a step's reply, from step 0: short paragraphs of words, then a small code block."""
        first = step * self.tokens
        words = [WORDS[first + n].decode() + (".\n\n" if n % 25 == 24 else " ") for n in range(self.tokens - 3)]
        code = "final_answer('All is said.')" if step == self.steps - 1 else f"total = {step}\nprint(total)"
        return [*words, "\n<code>\n", code, "\n</code>"]


def task_in(texts: Sequence[str]) -> Task:
    """The task that was named last in these messages."""
    label, steps, tokens, ms = _MESSAGE.findall("\n".join(texts))[-1]
    return Task(label, int(steps), int(tokens), float(ms) / 1000)
