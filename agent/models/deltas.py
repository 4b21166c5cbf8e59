"""What a model says, piece by piece, and how it is told to stop. Plain values, the same for every model class."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from tools.problem import Stopped


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What the model thinks before it speaks; no part of the reply."""

    text: str


@dataclass(frozen=True, slots=True)
class Restarted:
    """The server failed and is asked again; what it had said of this reply does not count."""

    reason: str
    attempt: int  # the attempt that now follows, from 2
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing is said yet, and why: others are served first, or a model is being loaded."""

    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as the provider counted them. None: it did not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None  # of the input tokens, those read from the provider's cache


@dataclass(frozen=True, slots=True)
class Broken:
    """The reply broke off after something was said; another attempt or the failure follows. For who pays."""

    usage: Usage  # what the provider had counted by then


@dataclass(frozen=True, slots=True)
class NativeCall:
    """A call in the provider's own form. arguments is what the model wrote, JSON if it kept to the rules."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Done:
    """The reply is whole. Always the last delta, and told once."""

    finish_reason: str
    usage: Usage = Usage()
    provider: str = ""
    tool_calls: tuple[NativeCall, ...] = ()


Delta = Text | Reasoning | Broken | Restarted | Waiting | Done


class NotAsked(Stopped):
    """Stop came before the request was sent, so nothing is owed for it."""


class Cancel:
    """Stop for one run. Set once, from any thread; whoever waits is called at once.

    event is the same flag for code that polls; set it through set(), or those who wait are not woken.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self._lock = threading.Lock()
        self._wakers: dict[object, Callable[[], object]] = {}

    def set(self) -> None:
        with self._lock:
            self.event.set()
            wakers = list(self._wakers.values())
        for wake in wakers:
            wake()

    def is_set(self) -> bool:
        return self.event.is_set()

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Within this context wake is called when Stop comes, in the thread that sets it; at once if it came before."""
        key = object()
        with self._lock:
            self._wakers[key] = wake
            late = self.event.is_set()
        if late:
            wake()
        try:
            yield
        finally:
            with self._lock:
                del self._wakers[key]


class Thinker(Protocol):
    """A model that one run thinks with."""

    @property
    def model_id(self) -> str: ...

    @property
    def window(self) -> int | None:
        """Tokens of a request and its reply together; None: nobody says."""

    def stream(
        self,
        messages: Sequence[Any],
        *,
        stop_words: Sequence[str] = (),
        cancel: Cancel,
        max_tokens: int | None = None,
    ) -> Iterator[Delta]: ...
