"""A model's reply -> thought and code. Pure, and linear in the length of the reply: every pass looks at each part once.

Asked for is Python between <code> and </code>. Models also write fences, tool calls in three forms, or forget an end.
What stands inside thinking marks is never taken for code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from textwrap import dedent
from typing import Literal

_HOW = "Write Python between <code> and </code>; to give your answer, call final_answer(...) there."
EMPTY = f"Your reply was empty. {_HOW}"
ONLY_THOUGHT = f"Your reply held nothing but thinking. {_HOW}"
NO_CODE = f"No code was found in your reply. {_HOW}"
NO_PYTHON = f"Your reply held a code block, but no Python. {_HOW}"
FIRST_ONLY = "Only the first code block of your reply was run. Write one per reply."
INVENTED = "What you wrote after 'Observation:' was ignored: you read what your code printed only after it ran."

_THINK_OPEN = r"<(?:think|thinking|thought|reasoning)>|\[THINK\]|◁think▷|<\|channel\|>(?:analysis|commentary)<\|message\|>"
_THINK_CLOSE = r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]|◁/think▷|<\|end\|>|<\|channel\|>final<\|message\|>"
_THINK = re.compile(rf"(?P<open>{_THINK_OPEN})|{_THINK_CLOSE}", re.IGNORECASE)
_MARK = re.compile(
    rf"(?P<think>{_THINK_OPEN})|(?P<code><code>)|(?P<call><tool_call>)|(?P<seen>^[ \t]*(?:Observation|Calling tools):)"
    r"|^[ \t]*`{3,}[ \t]*(?P<fence>[\w+.-]*)|```(?P<inline>python3?|py)\b",
    re.IGNORECASE | re.MULTILINE,
)
_CODE_END = re.compile(r"</code>", re.IGNORECASE)
_CALL_END = re.compile(r"</tool_call>", re.IGNORECASE)
_FENCE_END = re.compile(r"^[ \t]*`{3,}[ \t]*$", re.MULTILINE)
_SEEN = re.compile(r"^[ \t]*(?:Observation|Calling tools):", re.IGNORECASE | re.MULTILINE)
_WRAPPING = re.compile(r"\s*(?:<code>|`{3,}[ \t]*(?:python3?|py)?[ \t]*$)", re.IGNORECASE | re.MULTILINE)

_PYTHON = {"python", "python3", "py", "ipython", "tool_code"}
_INTERPRETERS = {"python", "python_interpreter", "code_interpreter", "execute_python", "run_python"}


@dataclass(frozen=True)
class Reply:
    """What a reply comes to. thought: the prose before the code, without thinking; all of it when there is no code.

    hint: one line for the model, about what is missing or was ignored; never empty when code is None.
    """

    thought: str
    code: str | None
    hint: str


@dataclass(frozen=True)
class _Part:
    kind: Literal["prose", "code", "plain", "foreign", "call", "invented"]  # plain: a fence that names no language
    text: str


def parse_reply(text: str, tool_calls: Sequence[tuple[str, str]] = (), tool_names: Collection[str] = ()) -> Reply:
    """Find the code of a reply.

    tool_calls: (name, arguments as JSON) the provider found itself; they count when the text holds no code.
    tool_names: the tools there are, for calls that name another; empty: any name goes.
    """
    parts = list(_parts(text[_thinking_end(text) :]))
    kinds = {part.kind for part in parts}
    hint = INVENTED if "invented" in kinds else ""
    for wanted in ("code", "plain"):
        if wanted in kinds:
            first = next(i for i, part in enumerate(parts) if part.kind == wanted)
            more = any(part.kind in ("code", "call") for part in parts[first + 1 :])
            return Reply(_prose(parts[:first]), parts[first].text, FIRST_ONLY if more else hint)
    calls = [*(part.text for part in parts if part.kind == "call"), *tool_calls]
    thought = _prose(parts)
    if calls:
        code, problem = _as_code([_named(call) for call in calls], tool_names)
        return Reply(thought, code, problem or hint)
    if "foreign" in kinds:
        return Reply(thought, None, NO_PYTHON)
    if thought:
        return Reply(thought, None, hint or NO_CODE)
    return Reply("", None, ONLY_THOUGHT if text.strip() else EMPTY)
