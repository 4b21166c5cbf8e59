"""The tool calls of one step: they come from the worker and run here, in the host, with its rights."""

from __future__ import annotations

import contextvars
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from pydantic import JsonValue

from agent.sandbox.messages import CallAsked, WorkerBroken
from tools.problem import Problem, Refused, RunEnd

AT_ONCE = 8  # calls that run side by side; the rest wait their turn
_PATIENTLY, _BRIEFLY = 600.0, 0.05  # seconds for the worker to take a result: others may have their turn before it
_INLINE_BYTES = 1 << 20
_FILE_BYTES = 64 << 20
RESULT = ".result-"  # how the files begin in which large results travel
_STOPPING = "The step is being stopped."

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ToolCall:
    """What the code asks for. The arguments are plain JSON data and otherwise unchecked."""

    name: str
    args: tuple[JsonValue, ...]
    kwargs: dict[str, JsonValue]


CallTool = Callable[[ToolCall], object]
"""Does a call; returns plain JSON data. Raises Problem or Refused for the code to read, a RunEnd to end the step."""


Send = Callable[[dict[str, object], float], None]
"""Takes a message to the worker within so many seconds, from any thread. Raises WorkerBroken when that fails."""


class Calls:
    """Runs what is added in threads of its own, each in a copy of the context in which this was made."""

    def __init__(
        self,
        call_tool: CallTool,
        names: Collection[str],
        limit: int,
        *,
        send: Send,
        inbox: Path,
        place: Callable[[Path], str] = str,
    ) -> None:
        """inbox: where results go that are too large for a message; only the host writes there.

        place: makes such a file readable for the worker, and says where it is.
        """
        self._call_tool, self._names, self._left, self._limit, self._send = call_tool, names, limit, limit, send
        self._inbox, self._place = inbox, place
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._waiting: SimpleQueue[CallAsked | None] = SimpleQueue()
        self._asked: dict[int, CallAsked] = {}  # not answered yet
        self._threads = 0
        self._seconds, self._since = 0.0, 0.0
        self._abandoned = False
        self.end: RunEnd | None = None  # raised by a tool

    @property
    def active(self) -> int:
        """Calls that are not answered yet."""
        return len(self._asked)

    def seconds(self) -> float:
        """Time during which at least one call was active, so far."""
        with self._lock:
            return self._seconds + (time.monotonic() - self._since if self._asked else 0.0)

    @property
    def full(self) -> bool:
        """Take no further call yet: what a worker asks for is held in memory."""
        return len(self._asked) >= AT_ONCE

    def add(self, call: CallAsked) -> None:
        """Raises WorkerBroken for an id that is open already."""
        with self._lock:
            if call.id in self._asked:
                raise WorkerBroken("an id of a call that is still open")
            if not self._asked:
                self._since = time.monotonic()
            self._asked[call.id] = call
            start = self._threads < min(AT_ONCE, len(self._asked))
            self._threads += start
        self._waiting.put(call)
        if start:
            try:
                threading.Thread(target=self._work, name=f"tool {call.name}", daemon=True).start()
            except RuntimeError:  # code at the level "unsafe" may take all that this user may have
                raise WorkerBroken("there is no thread left to run a tool in") from None

    def abandon(self) -> None:
        """Answer all that is open with an error, so that the code can end; running calls end unheard."""
        with self._lock:
            self._abandoned = True
            open_calls = list(self._asked.values())
        for call in open_calls:
            if not self._answer(call, _problem(_STOPPING), _BRIEFLY):
                return

    def close(self) -> None:
        """No more calls will come: let the threads end, those that are in a tool when it returns."""
        for _ in range(self._threads):
            self._waiting.put(None)

    def _work(self) -> None:
        while call := self._waiting.get():
            with self._lock:
                if self._asked.get(call.id) is not call:  # abandoned meanwhile
                    continue
                refusal = self._refusal(call.name)
            result = _problem(refusal) if refusal else self._context.copy().run(self._result_of, call)
            self._answer(call, result, _PATIENTLY)

    def _refusal(self, name: str) -> str:
        if name not in self._names:
            return f"There is no tool {name!r}. There are: {', '.join(sorted(self._names))}."
        if self._abandoned:
            return _STOPPING
        self._left -= 1
        if self._left < 0:
            return f"A step may call tools {self._limit} times, and this one has. Go on in the next step."
        return ""

    def _result_of(self, call: CallAsked) -> dict[str, object]:
        try:
            return {"ok": True, "value": self._call_tool(ToolCall(call.name, call.args, call.kwargs))}
        except Refused as refused:
            return {"ok": False, "kind": "refused", "message": str(refused)}
        except Problem as problem:
            return _problem(str(problem))
        except RunEnd as end:
            self.end = end
            return _problem(_STOPPING)
        except Exception as error:
            _log.exception("tool %s failed", call.name)
            return _problem(f"{call.name} failed: {type(error).__name__}: {error}")

    def _answer(self, call: CallAsked, result: dict[str, object], seconds: float) -> bool:
        """Send the result, once; False when the worker does not take it. The step then ends in other ways."""
        with self._lock:
            if self._asked.get(call.id) is not call:  # abandoned meanwhile
                return True
        message: dict[str, object] = {"type": "result", "id": call.id}
        try:
            try:
                self._send(message | self._filed(result), seconds)
            except (TypeError, ValueError, OSError) as error:
                self._send(message | _problem(f"The result of {call.name} cannot be handed over: {error}."), seconds)
        except WorkerBroken:
            return False
        finally:
            with self._lock:
                if self._asked.pop(call.id, None) and not self._asked:
                    self._seconds += time.monotonic() - self._since
        return True

    def _filed(self, result: dict[str, object]) -> dict[str, object]:
        """A result that is too large for a message, as the name of a file with it."""
        data = json.dumps(result.get("value"))
        if len(data) <= _INLINE_BYTES:
            return result
        if len(data) > _FILE_BYTES:
            raise ValueError(f"it has {len(data):,} bytes, and {_FILE_BYTES:,} is the most")
        path = self._inbox / f"{RESULT}{secrets.token_hex(8)}.json"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
            file.write(data)
        return {"ok": True, "file": self._place(path)}


def _problem(message: str) -> dict[str, object]:
    return {"ok": False, "kind": "problem", "message": message}
