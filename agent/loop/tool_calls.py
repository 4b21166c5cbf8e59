"""How the agent acts where no code may run: by naming tools, one JSON object per call. Parsing is pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.problem import Problem

MOST = 20  # calls of one reply; what follows is not looked at
_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|$)", re.DOTALL)
_THOUGHT = re.compile(r"<think>.*?(?:</think>|$)", re.DOTALL)
HINT = 'Call a tool as <tool_call>{"name": "…", "arguments": {…}}</tool_call>; answer with the tool final_answer.'


@dataclass(frozen=True)
class Named:
    name: str
    arguments: Mapping[str, Any]


def named_calls(text: str, native: Sequence[tuple[str, str]] = ()) -> tuple[str, list[Named], str]:
    """(prose, calls, hint) of a reply. native: (name, arguments as JSON) that the provider found. hint: what was wrong."""
    spoken = _THOUGHT.sub("", text)
    bodies = [match[1] for match in _CALL.finditer(spoken)][:MOST]
    calls, wrong = [], 0
    for body in [*bodies, *(json.dumps({"name": name, "arguments": arguments}) for name, arguments in native[:MOST])]:
        call = _named(body)
        if call:
            calls.append(call)
        else:
            wrong += 1
    hint = f"{wrong} of your calls could not be read. {HINT}" if wrong else "" if calls else HINT
    return _CALL.sub("", spoken).strip(), calls, hint


def _named(body: str) -> Named | None:
    try:
        call = json.loads(body)
        arguments = call.get("arguments", {})
        if isinstance(arguments, str):  # as providers hand them over
            arguments = json.loads(arguments or "{}")
    except (ValueError, AttributeError, RecursionError):
        return None
    name = call.get("name")
    return Named(name, arguments) if isinstance(name, str) and isinstance(arguments, dict) else None


def written(call: Named) -> str:
    """The call in the form that the model is asked for."""
    body = json.dumps({"name": call.name, "arguments": dict(call.arguments)}, ensure_ascii=False)
    return f"<tool_call>{body}</tool_call>"


def carried_out(calls: Sequence[Named], call_tool: Callable[[str, Mapping[str, Any]], Any]) -> tuple[bool, Any, str]:
    """Do the calls in order: (is final, answer, observation). A problem is an observation like any other."""
    seen: list[str] = []
    for call in calls:
        if call.name == "final_answer":
            answer = call.arguments.get("answer", next(iter(call.arguments.values()), ""))
            return True, answer, "\n".join(seen)
        try:
            result = json.dumps(call_tool(call.name, call.arguments), ensure_ascii=False)
        except Problem as problem:
            result = f"Error: {problem}"
        seen.append(f"{call.name}: {result}")
    return False, None, "\n".join(seen)
