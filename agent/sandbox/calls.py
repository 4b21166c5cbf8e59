"""The tool calls of one step: they come from the worker and run here, in the host, with its rights."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pydantic import JsonValue

from agent.sandbox.messages import CallAsked
from tools.desk import Problem, Refused, Stopped

AT_ONCE = 8  # calls that run side by side; the rest wait their turn

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ToolCall:
    """What the code asks for. The arguments are plain JSON data and otherwise unchecked."""

    name: str
    args: tuple[JsonValue, ...]
    kwargs: dict[str, JsonValue]


CallTool = Callable[[ToolCall], object]
"""Does a call; returns plain JSON data. Raises Problem or Refused for the code to read, Stopped to end the step."""


class Calls:
    """Runs what is added in threads of its own, each in a copy of the context in which this was made."""

    def __init__(
        self, call_tool: CallTool, names: Collection[str], limit: int, send: Callable[[dict[str, object]], None]
    ) -> None:
        """send: takes a result to the worker; it must be safe to call from several threads."""
        self._call_tool, self._names, self._left, self._limit, self._send = call_tool, names, limit, limit, send
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._waiting: deque[CallAsked] = deque()
        self._asked: dict[int, CallAsked] = {}  # not answered yet
        self._threads = 0
        self._seconds, self._since = 0.0, 0.0
        self._abandoned = False
        self.stopped = False  # a tool has raised Stopped

    @property
    def active(self) -> int:
        """Calls that are not answered yet."""
        return len(self._asked)

    def seconds(self) -> float:
        """Time during which at least one call was active, so far."""
        with self._lock:
            return self._seconds + (time.monotonic() - self._since if self._asked else 0.0)

    def add(self, call: CallAsked) -> None:
        refusal = ""
        if call.name not in self._names:
            refusal = f"There is no tool {call.name!r}. There are: {', '.join(sorted(self._names))}."
        elif self._left <= 0:
            refusal = f"A step may call tools {self._limit} times, and this one has. Go on in the next step."
        elif self._abandoned:
            refusal = "The step is being stopped."
        if refusal:
            self._send({"type": "result", "id": call.id, "ok": False, "kind": "problem", "message": refusal})
            return
        self._left -= 1
        with self._lock:
            if not self._asked:
                self._since = time.monotonic()
            self._asked[call.id] = call
            self._waiting.append(call)
            start = self._threads < AT_ONCE
            self._threads += start
        if start:
            threading.Thread(target=self._work, name=f"tool {call.name}", daemon=True).start()

    def abandon(self) -> None:
        """Answer all that is open with an error, so that the code can end; running calls end unheard."""
        with self._lock:
            self._abandoned = True
            self._waiting.clear()
            open_calls = list(self._asked.values())
        for call in open_calls:
            self._answer(call, {"ok": False, "kind": "problem", "message": "The step is being stopped."})

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                call = self._waiting.popleft()
            self._answer(call, self._context.copy().run(self._result_of, call))

    def _result_of(self, call: CallAsked) -> dict[str, object]:
        try:
            return {"ok": True, "value": self._call_tool(ToolCall(call.name, call.args, call.kwargs))}
        except Refused as refused:
            return {"ok": False, "kind": "refused", "message": str(refused)}
        except Problem as problem:
            return {"ok": False, "kind": "problem", "message": str(problem)}
        except Stopped:
            self.stopped = True
            return {"ok": False, "kind": "problem", "message": "The user pressed Stop."}
        except Exception as error:
            _log.exception("tool %s failed", call.name)
            return {"ok": False, "kind": "problem", "message": f"{call.name} failed: {type(error).__name__}: {error}"}

    def _answer(self, call: CallAsked, result: dict[str, object]) -> None:
        with self._lock:
            if self._asked.get(call.id) is not call:  # abandoned meanwhile
                return
            del self._asked[call.id]
            if not self._asked:
                self._seconds += time.monotonic() - self._since
        try:
            self._send({"type": "result", "id": call.id, **result})
        except (TypeError, ValueError) as error:
            message = f"The result of {call.name} cannot be handed over: {error}."
            self._send({"type": "result", "id": call.id, "ok": False, "kind": "problem", "message": message})
