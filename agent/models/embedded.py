"""EmbeddedModel: a model inside this app, on ZeroGPU, on a GPU of its own, or slowly on the CPU. It needs no token.

The page's process asks and one GPU function answers. On ZeroGPU that function runs in a forked worker: its arguments
are pickled, what it yields comes back through a queue, and closing it is the one signal that reaches it. It yields at
every token and every 0.2 s, so it can be closed that often. Off ZeroGPU it is an ordinary generator.
"""

from __future__ import annotations

import contextvars
import importlib.util
import logging
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import spaces
from smolagents import ChatMessage

from agent.models import weights
from agent.models.deltas import Cancel, Delta, Done, Text, Usage, Waiting
from agent.models.faults import TooLong
from agent.models.router import plain_messages
from agent.models.weights import Halt, Piece
from tools.problem import Problem, Stopped

log = logging.getLogger(__name__)

DEFAULT_MODEL = "Qwen/Qwen3.5-4B"
LONGEST_REPLY = 4096  # tokens
LONGEST_ON_ZEROGPU = 1536  # tokens: what is asked for is checked against the visitor's seconds of the day
LONGEST_CALL = 75.0  # seconds of one reply on ZeroGPU
START_SECONDS = 8  # of a GPU call, until the weights have reached the GPU
ASSUMED_SPEED = 30.0  # tokens per second on a GPU, until a reply has shown the real one
READING_SPEED = 2000.0  # tokens of a prompt per second on a GPU, assumed
PATIENCE = 1800.0  # seconds that one reply may take on a machine of one's own
MEASURED_TOKENS = 12  # fewer tell nothing about speed

_Inbox = SimpleQueue[Delta | BaseException]


def gpu_seconds(
    model_id: str,  # noqa: ARG001
    ids: Sequence[int],  # noqa: ARG001
    stop_words: Sequence[str],  # noqa: ARG001
    *,
    limit: int,  # noqa: ARG001
    seconds: float,
    halt: Halt,  # noqa: ARG001
) -> int:
    """What to ask ZeroGPU for: the reply's own deadline, and the way of the weights. The same arguments as speak."""
    return math.ceil(seconds) + START_SECONDS


@spaces.GPU(
    duration=gpu_seconds
)  # ZeroGPU, the hardware a free account may use, starts only an app that has such a function
def speak(
    model_id: str, ids: Sequence[int], stop_words: Sequence[str], *, limit: int, seconds: float, halt: Halt
) -> Generator[Piece]:
    """One reply of a loaded model, piece by piece. Closing it ends the generation within a token or a heartbeat."""
    ready = weights.loaded(model_id)
    if ready is None:
        raise RuntimeError("not loaded in this process")
    with closing(ready.reply(ids, stop_words, limit, seconds=seconds, halt=halt)) as pieces:
        yield from pieces


class _Line:
    """A queue of one place: who asks waits for those who asked before."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._waiting: deque[Halt] = deque()

    @contextmanager
    def turn(self, halt: Halt, tell: Callable[[int], None]) -> Iterator[None]:
        """Wait for the turn, or for halt; tell how many are ahead. The next one's turn comes at the end of the context."""
        with self._change:
            self._waiting.append(halt)
        try:
            with self._change:
                told = 0
                while (ahead := self._waiting.index(halt)) and not halt.is_set():
                    if ahead != told:
                        tell(ahead)
                    told = ahead
                    self._change.wait()
            yield
        finally:
            with self._change:
                self._waiting.remove(halt)
                self._change.notify_all()

    def leave(self, halt: Halt) -> None:
        """End this reply, wherever it is: waiting or speaking."""
        halt.set()
        with self._change:
            self._change.notify_all()


_LINE = _Line()
_speeds: dict[str, float] = {}  # tokens per second of the last reply, by model


class EmbeddedModel:
    """The model inside this app. Safe for many threads at once; they are answered one after the other."""

    def __init__(self, model_id: str = "", *, limit: int | None = None, seconds: float | None = None) -> None:
        """model_id: on the Hub, or a folder; "": EMBEDDED_MODEL or the default.

        limit: tokens of one reply. seconds: the longest it may be generated; None: what is fair where it runs.
        """
        self.model_id = model_id or chosen()
        self._limit = limit or (LONGEST_ON_ZEROGPU if weights.on_zerogpu() else LONGEST_REPLY)
        self._seconds = seconds

    def __repr__(self) -> str:
        return f"EmbeddedModel({self.model_id!r})"

    @property
    def window(self) -> int | None:
        """Tokens; None: not known before it is loaded."""
        return _window(self.model_id)

    def stream(
        self,
        messages: Sequence[ChatMessage | dict[str, Any]],
        *,
        stop_words: Sequence[str] = (),
        cancel: Cancel,
        max_tokens: int | None = None,
    ) -> Iterator[Delta]:
        """Ask for one reply, of at most max_tokens; yield what is said as it is said, Done last.

        While others are answered, or the model is loaded, Waiting is told. Raises Problem when no reply is to be had
        (TooLong when it would not fit), and Stopped as soon as cancel is set; the generation ends a token later.
        """
        halt = Halt()
        inbox: _Inbox = SimpleQueue()
        limit = min(max_tokens or self._limit, self._limit)

        def stop() -> None:
            _LINE.leave(halt)
            inbox.put(Stopped())

        with cancel.waking(stop):
            if cancel.is_set():
                raise Stopped
            # The context is the visitor's: spaces reads from it whose quota pays.
            threading.Thread(
                target=contextvars.copy_context().run,
                args=(self._answer, plain_messages(messages), tuple(stop_words), limit),
                kwargs={"halt": halt, "inbox": inbox},
                name="embedded-answer",
                daemon=True,
            ).start()
            try:
                while True:
                    delta = inbox.get()
                    if isinstance(delta, BaseException):
                        raise delta
                    if cancel.is_set():
                        raise Stopped
                    yield delta
                    if isinstance(delta, Done):
                        return
            finally:
                _LINE.leave(halt)

    def _answer(
        self, messages: list[dict[str, str]], stop_words: tuple[str, ...], limit: int, *, halt: Halt, inbox: _Inbox
    ) -> None:
        """Wait for the turn and tell one reply, in a thread of its own. The last thing told is Done or an exception."""
        try:
            with _LINE.turn(halt, lambda ahead: inbox.put(Waiting(_in_line(ahead)))):
                if halt.is_set():
                    return
                if not weights.loaded(self.model_id):
                    inbox.put(Waiting(f"Loading {self.model_id}. The first time takes minutes."))
                ready = weights.load(self.model_id)
                if not weights.on_zerogpu() and self.model_id not in _speeds:
                    _measure(ready, halt)
                ids, begun = ready.encode(messages)
                limit = min(limit, ready.window - len(ids))
                if weights.on_zerogpu():
                    inbox.put(Waiting("Waiting for a GPU."))
                if begun:
                    inbox.put(Text(begun))
                self._tell(ids, stop_words, limit, halt=halt, inbox=inbox)
        except BaseException as error:
            inbox.put(error if isinstance(error, Problem) else explained(error))

    def _tell(self, ids: list[int], stop_words: tuple[str, ...], limit: int, *, halt: Halt, inbox: _Inbox) -> None:
        seconds = self._seconds if self._seconds is not None else _fair_seconds(self.model_id, len(ids), limit)
        first = last = 0.0
        tokens, finish = 0, ""
        with closing(speak(self.model_id, ids, stop_words, limit=limit, seconds=seconds, halt=halt)) as pieces:
            for piece in pieces:
                text, tokens, finish = piece
                if halt.is_set():
                    return
                if tokens and not first:
                    first = time.monotonic()
                last = time.monotonic()
                if text:
                    inbox.put(Text(text))
        if tokens >= MEASURED_TOKENS and last > first:
            _speeds[self.model_id] = (tokens - 1) / (last - first)
        inbox.put(Done(finish or "length", Usage(len(ids), tokens), "embedded"))


@dataclass(frozen=True)
class EmbeddedOffer:
    """What can be shown where a model is chosen."""

    name: str
    device: str  # "ZeroGPU", "CUDA: NAME", "CPU"
    window: int | None  # tokens; None: not known before it is loaded
    speed: str  # a sentence
    default: bool  # whether it may be used unasked where nothing else is to be had


def chosen(environ: Mapping[str, str] = os.environ) -> str:
    return environ.get("EMBEDDED_MODEL", "").strip() or DEFAULT_MODEL


def why_not() -> str:
    """Why there is no embedded model here; "" when there is one."""
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed. pip install torch, and this app can run a model of its own."
    return ""


def _window(name: str) -> int | None:
    ready = weights.loaded(name)
    return ready.window if ready else weights.LARGEST_WINDOW if name == DEFAULT_MODEL else None


def offer(environ: Mapping[str, str] = os.environ) -> EmbeddedOffer | None:
    """The embedded model as it can be had here; None, and why_not, when it cannot. Loads no model."""
    if why_not():
        return None
    name, device = chosen(environ), _device()
    window = _window(name)
    if speed := _speeds.get(name):
        note = f"{speed:.3g} tokens per second, measured here."
    elif device == "CPU":
        note = "Slow without a GPU: some tokens per second for a small model, minutes per step for a larger one."
    else:
        note = "Not measured yet."
    return EmbeddedOffer(name, device, window, note, default=device != "CPU")


def prepare(environ: Mapping[str, str] = os.environ) -> None:
    """Load at the app's start what is sure to be wanted. Call it in the main thread, before the page opens.

    On ZeroGPU weights can be put on the GPU only here. Elsewhere EMBEDDED_MODEL asks for it, and it is loaded beside
    the start. A failure is told when the model is used.
    """
    name = chosen(environ)
    if why_not():
        return
    if weights.on_zerogpu():
        _load_quietly(name)
    elif environ.get("EMBEDDED_MODEL", "").strip():
        threading.Thread(target=_load_quietly, args=(name,), name="embedded-load", daemon=True).start()


def _load_quietly(name: str) -> None:
    try:
        weights.load(name)
    except Problem as problem:
        log.warning("%s", problem)


def _device() -> str:
    if weights.on_zerogpu():
        return "ZeroGPU"
    drivers = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
    if sys.platform == "win32" or any(Path(driver).exists() for driver in drivers):  # else torch need not be asked
        import torch

        if torch.cuda.is_available():
            return f"CUDA: {torch.cuda.get_device_name()}"
    return "CPU"


def _measure(ready: weights.Weights, halt: Halt) -> None:
    """How fast this machine writes, by one short reply that nobody sees."""
    ids = ready.tokenizer.encode("Once upon a time", add_special_tokens=False)
    times = []
    with closing(ready.reply(ids, (), MEASURED_TOKENS, seconds=30.0, halt=Halt())) as pieces:
        for _, tokens, finish in pieces:
            if halt.is_set():
                return
            if tokens and not finish:
                times.append(time.monotonic())
    if len(times) > 1 and times[-1] > times[0]:
        _speeds.setdefault(ready.model_id, (len(times) - 1) / (times[-1] - times[0]))


def _fair_seconds(model_id: str, prompt: int, limit: int) -> float:
    """How long a reply may be generated. On ZeroGPU not a second more than it should need: seconds are the visitor's."""
    if not weights.on_zerogpu():
        return PATIENCE
    speed = min(_speeds.get(model_id, ASSUMED_SPEED), 2 * ASSUMED_SPEED)  # a reply may well be slower than the last
    return min(LONGEST_CALL, 2.0 + prompt / READING_SPEED + limit / speed)


def _in_line(ahead: int) -> str:
    others = "one other reply" if ahead == 1 else f"{ahead} other replies"
    return f"The embedded model answers one at a time: {others} first."


def explained(error: BaseException) -> Problem:
    """A failure of the GPU call in our words. spaces raises gradio's Error, with a title that says which it is."""
    title = str(getattr(error, "title", ""))
    said = str(getattr(error, "message", "") or error)
    if "OutOfMemoryError" in (type(error).__name__, said):
        return TooLong(
            "The GPU's memory does not hold this conversation.",
            "Start a new session, or pick a model with a larger window.",
        )
    match title:
        case "ZeroGPU quota exceeded" | "ZeroGPU pending credits exceeded":
            what = f"The ZeroGPU quota is used up. It said: {said}"
            do = "Sign in with Hugging Face to use your own quota, wait until it comes back, or pick another model."
        case "ZeroGPU illegal duration":
            what = f"ZeroGPU refused so long a call. It said: {said}"
            do = "Sign in with Hugging Face, or pick another model."
        case "ZeroGPU queue timeout" | "ZeroGPU client error":
            what = f"No GPU was free. It said: {said}"
            do = "Send your message again in some minutes, or pick another model."
        case "ZeroGPU worker error":
            what = f"The GPU call was ended before the reply was. It said: {said}"
            do = "Send your message again, or pick another model."
        case _:
            log.error("the embedded model failed", exc_info=error)
            what = f"The embedded model failed ({type(error).__name__})."
            do = "Send your message again, or pick another model."
    return Problem(what, do)
