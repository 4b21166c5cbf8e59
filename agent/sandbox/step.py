"""One step in one worker, watched: its output, its calls, its limits, and how it ends."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from agent.sandbox.calls import Calls
from agent.sandbox.child import Child
from agent.sandbox.messages import CallAsked, StepDone, WorkerBroken
from agent.sandbox.turns import Turn, turns
from agent.sandbox.watch import UsageWatch

_PAUSE = 0.02  # seconds between two looks at the output and at the clock
_GRACE = 0.3  # seconds for the code to end by itself after an interrupt
_AGAIN = 0.1  # seconds until it is interrupted again

Why = Literal["", "stopped", "time", "output", "gone", "cpu", "memory", "threads", "disk", "sent"]
_GENTLY: tuple[Why, ...] = (
    "stopped",
    "time",
    "output",
    "sent",
    "cpu",
)  # the code may end by itself; of the others each moment counts


@dataclass(frozen=True)
class StepCutOff:
    """How a step ended. No done: the worker is of no use any more. broken: what was wrong with it."""

    why: Why
    done: StepDone | None
    broken: str = ""


class Output:
    """What a step prints: told as it comes, and kept up to a number of characters."""

    def __init__(self, tell: Callable[[str], None], chars: int) -> None:
        self._tell, self._room = tell, chars
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._kept: list[str] = []
        self._cut = 0
        self.bytes = 0

    def take(self, data: bytes) -> None:
        self.bytes += len(data)
        self._add(self._decoder.decode(data))

    def end(self) -> str:
        """All that was kept, with a last line that says how much was not."""
        self._add(self._decoder.decode(b"", final=True))
        if self._cut:
            notice = f"\n... {self._cut:,} more characters were printed and are not shown ...\n"
            self._kept.append(notice)
            self._tell(notice)
        return "".join(self._kept)

    def _add(self, text: str) -> None:
        shown, self._room = text[: self._room], self._room - min(len(text), self._room)
        self._cut += len(text) - len(shown)
        if shown:
            self._kept.append(shown)
            self._tell(shown)


class Step:
    def __init__(
        self,
        child: Child,
        turn: Turn,
        calls: Calls,
        *,
        output: Output,
        watch: UsageWatch,
        wall_seconds: float,
        output_bytes: int,
        sent_bytes: int,
    ) -> None:
        """turn: taken, and left when the step is made to end."""
        self._child, self._turn, self._calls, self._output, self._watch = child, turn, calls, output, watch
        self._wall_seconds, self._output_bytes = wall_seconds, output_bytes
        self._most_received = child.received + sent_bytes
        self._waited = turn.waited
        self._started = time.monotonic()
        self._look = 0.0  # when the output is read next: not more often than the page can show it
        self._done: StepDone | None = None

    def run(self, code: str, stop: Callable[[], bool]) -> StepCutOff:
        """Run code to its end and that of its calls, or until stop or a limit, which takes _GRACE seconds more.

        The child is frozen before and after.
        """
        try:
            ended = self._watched(code, stop)
        finally:
            self._calls.close()
            self._child.freeze()
        self._drain()
        return ended

    def _watched(self, code: str, stop: Callable[[], bool]) -> StepCutOff:
        why: Why = ""
        kill = again = 0.0
        try:
            turns.resume(self._turn)
            self._child.send({"type": "run", "code": code}, seconds=5)
            while True:
                now = time.monotonic()
                if not why and (why := self._over(stop)):
                    kill, again = now + _GRACE * (why in _GENTLY), now
                    turns.leave(self._turn)
                    self._child.thaw()  # whoever's turn it is: to end it takes but a moment
                    self._calls.abandon()
                if self._done and (why or not self._calls.active):
                    break
                if why and now >= kill:
                    return StepCutOff(why, None)
                if why and now >= again:
                    again = now + _AGAIN
                    self._child.interrupt()
                self._take()
        except WorkerBroken as broken:
            return StepCutOff(why or "gone", None, str(broken))
        return StepCutOff(why, self._done)

    def _over(self, stop: Callable[[], bool]) -> Why:
        if stop() or self._calls.end:
            return "stopped"
        if self._done:
            return ""
        if not self._child.alive():
            return "gone"
        turns.look(self._turn, in_tools=self._calls.active > 0)
        if (
            time.monotonic() - self._started - self._calls.seconds() - self._turn.waited + self._waited
            > self._wall_seconds
        ):
            return "time"
        if self._output.bytes > self._output_bytes:
            return "output"
        if self._child.received > self._most_received:  # the clock stands while calls are open, so bytes are counted
            return "sent"
        return self._watch.over()

    def _take(self) -> None:
        """Wait a moment for messages and output, and deal with what there is."""
        look = time.monotonic() >= self._look
        heard, printed = self._child.wait(_PAUSE, messages=not self._calls.full, output=look)
        if printed:
            self._look = time.monotonic() + _PAUSE
            self._output.take(self._child.read_output())
        if not heard:
            return
        for message in self._child.receive():
            match message:
                case CallAsked() if self._done is None:
                    self._calls.add(message)
                case StepDone() if self._done is None:
                    self._done = message
                case _:
                    raise WorkerBroken(f"the message {message.type!r} out of turn")

    def _drain(self) -> None:
        """Read what was printed before the end: no more than the pipe holds, since others may print on."""
        for _ in range(8):
            data = self._child.read_output()
            self._output.take(data)
            if not data:
                return
