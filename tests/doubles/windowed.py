"""A scripted model with a window: what is longer is refused in a real server's words, and counted strictly."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tests.doubles.model_server import Asked, Reply

SUMMARISE = "Your memory is nearly full."  # how the agent asks for a summary
_PIECES = re.compile(r" ?[A-Za-z]{1,6}|\d{1,3}|[^\sA-Za-z\d]|\s+")


def counted(text: str) -> int:
    """Tokens, rather more than any real tokenizer makes of it: pieces of six letters, three digits, one mark."""
    return sum(1 for _ in _PIECES.finditer(text))


@dataclass
class Windowed:
    """A script for ModelServer. reply: what step n says; summary: what is said when a summary is asked for.

    holds: what every request must hold, word for word; reported is what the server says of the tokens it read.
    """

    window: int
    reply: Callable[[int], Reply]
    summary: Callable[[int], Reply] = lambda number: Reply(f"Summary {number}: all is well so far.")
    holds: Sequence[str] = ()
    refusal: str = "This model's maximum context length is {window} tokens. However, you requested {total} tokens ({read} in the messages, {reply} in the completion)."
    steps: int = 0
    summaries: int = 0
    refused: int = 0
    lacking: int = 0  # requests that did not hold all they must
    most: int = 0  # tokens of the longest request
    sizes: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # that it took itself, for each step

    def __call__(self, asked: Asked) -> Reply:
        began = time.monotonic()
        steps = self.steps
        reply = self._answer(asked)
        if self.steps > steps:
            self.seconds.append(time.monotonic() - began)
        return reply

    def _answer(self, asked: Asked) -> Reply:
        texts = [str(message["content"]) for message in asked.body["messages"]]
        read = sum(counted(text) + 4 for text in texts)
        total = read + int(asked.body.get("max_tokens") or 0)
        if total > self.window:
            self.refused += 1
            words = self.refusal.format(window=self.window, total=total, read=read, reply=total - read)
            return Reply(status=400, body={"error": {"message": words, "type": "invalid_request_error"}})
        self.most = max(self.most, read)
        self.sizes.append(read)
        self.lacking += not all(any(words in text for text in texts) for words in self.holds)
        if SUMMARISE in texts[-1]:
            self.summaries += 1
            return replace(self.summary(self.summaries), input_tokens=read)
        self.steps += 1
        return replace(self.reply(self.steps), input_tokens=read)
