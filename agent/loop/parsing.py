"""A model's reply -> thought and code. Pure, and linear in the length of the reply: every pass looks at each part once.

Asked for is Python between <code> and </code>. Models also write fences, tool calls in three forms, or forget an end.
What stands inside thinking marks is never taken for code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from keyword import iskeyword
from math import isfinite
from textwrap import dedent
from typing import Any, Literal, NamedTuple

_HOW = "Write Python between <code> and </code>; to give your answer, call final_answer(...) there."
EMPTY = f"Your reply was empty. {_HOW}"
ONLY_THOUGHT = f"Your reply held nothing but thinking. {_HOW}"
NO_CODE = f"No code was found in your reply. {_HOW}"
NO_PYTHON = f"Your reply held a code block, but no Python. {_HOW}"
FIRST_ONLY = "Only the first code block of your reply was run. Write one per reply."
INVENTED = "What you wrote after 'Observation:' was ignored: you read what your code printed only after it ran."
MAX_PARTS = 1000  # of one reply; no real one comes near, and what follows is not looked at

_TAG = "think|thinking|thought|reasoning"
_THINK_OPEN = rf"<(?:{_TAG})>|\[THINK\]|◁think▷|<\|channel\|>(?:analysis|commentary)<\|message\|>"
_LONE_CLOSE = rf"</(?:{_TAG})>|\[/THINK\]|◁/think▷"  # may stand alone: some chat templates open it for the model
_THINK_CLOSE = rf"{_LONE_CLOSE}|<\|end\|>|<\|channel\|>final<\|message\|>"
_THINKS = re.compile(rf"(?P<open>{_THINK_OPEN})|(?P<lone>{_LONE_CLOSE})|{_THINK_CLOSE}", re.IGNORECASE)
_QUOTES = frozenset("\"'\\")
_SEEN = r"^[ \t]*(?:Observation|Calling tools):"
_MARK = re.compile(
    rf"(?P<think>{_THINK_OPEN})|(?P<code><code>)|(?P<call><tool_call>)|(?P<seen>{_SEEN})"
    r"|^[ \t]*`{3,}[ \t]*(?P<fence>[\w+.-]*)|```(?P<inline>python3?|py)\b",
    re.IGNORECASE | re.MULTILINE,
)
_ENDS = {
    "think": re.compile(_THINK_CLOSE, re.IGNORECASE),
    "code": re.compile(r"</code>", re.IGNORECASE),
    "call": re.compile(r"</tool_call>", re.IGNORECASE),
    "fence": re.compile(r"^[ \t]*`{3,}+(?!\w)", re.MULTILINE),
}
_ENDS["inline"] = _ENDS["fence"]
_CUT = re.compile(rf"{_SEEN}|^[ \t]*</code>", re.IGNORECASE | re.MULTILINE)  # where code without an end ends
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


class _Part(NamedTuple):
    kind: Literal["prose", "code", "plain", "foreign", "call", "invented"]
    """plain: a fence that names no language; foreign: one that names another, or is empty; invented: an observation."""
    text: str


def parse_reply(text: str, tool_calls: Sequence[tuple[str, str]] = (), tool_names: Collection[str] = ()) -> Reply:
    """Find the code of a reply.

    tool_calls: (name, arguments as JSON), found by the provider; they count when the text holds no code.
    tool_names: the tools there are, for calls that name another one; empty: any name goes.
    """
    parts = list(islice(_parts(without_thought(text)), MAX_PARTS))
    kinds = {part.kind for part in parts}
    calls = [*(_hermes(part.text) for part in parts if part.kind == "call"), *tool_calls]
    hint = INVENTED if "invented" in kinds else ""
    wanted = "code" if "code" in kinds else "plain" if "plain" in kinds and not calls else ""
    if wanted:
        first = next(i for i, part in enumerate(parts) if part.kind == wanted)
        more = any(part.kind in ("code", "call") for part in parts[first + 1 :])
        return Reply(_prose(parts[:first]), parts[first].text, FIRST_ONLY if more else hint)
    thought = _prose(parts)
    if calls:
        code, trouble = _called(calls, tool_names)
        return Reply(thought, code, trouble or hint)
    missing = NO_PYTHON if "foreign" in kinds else NO_CODE if thought else ONLY_THOUGHT if text.strip() else EMPTY
    return Reply(thought, None, f"{hint} {_HOW}" if hint else missing)


def without_thought(text: str) -> str:
    """From where the thought ends whose opening the model did not write itself."""
    return text[_thinking_end(text) :]


def _thinking_end(text: str) -> int:
    """Where the thought ends whose opening the model did not write itself; 0 when there is none.

    A closing mark beside a quote or a backslash is a string in code or prose, not an end.
    """
    end, open_ = 0, False
    for mark in _THINKS.finditer(text):
        if mark["open"]:
            open_ = True
        elif open_:
            open_ = False
        elif mark["lone"] and _QUOTES.isdisjoint(
            (text[mark.start() - 1 : mark.start()], text[mark.end() : mark.end() + 1])
        ):
            end = mark.end()
    return end


def _parts(text: str) -> Iterator[_Part]:
    """Cut a reply into its parts, in order, thinking left out. What is not closed goes to the end."""
    at = 0
    while mark := _MARK.search(text, at):
        if mark.start() > at:
            yield _Part("prose", text[at : mark.start()])
        kind = mark.lastgroup or "fence"
        if kind == "seen":
            yield _Part("invented", text[mark.start() :])
            return
        end = _ENDS[kind].search(text, mark.end())
        inner, at = (text[mark.end() : end.start()], end.end()) if end else (text[mark.end() :], len(text))
        language = mark["fence"]
        if kind == "call":
            yield _Part("call", inner)
        elif kind == "fence" and language and language.lower() not in _PYTHON:
            yield _Part("foreign", text[mark.start() : at])
        elif kind != "think":
            cut = None if end else _CUT.search(inner)
            if code := _tidy(inner[: cut.start()] if cut else inner):
                yield _Part("plain" if language == "" else "code", code)
            else:
                yield _Part("foreign", "")
            if cut and cut[0].endswith(":"):
                yield _Part("invented", inner[cut.start() :])
    if at < len(text):
        yield _Part("prose", text[at:])


def _prose(parts: list[_Part]) -> str:
    return "".join(part.text for part in parts if part.kind in ("prose", "foreign")).strip()


def _tidy(code: str) -> str:
    """Without a second pair of marks around it, blank lines before it, and an indentation of the whole."""
    for _ in range(2):
        if wrapping := _WRAPPING.match(code):
            code = code[wrapping.end() :]
        code = code.rstrip().removesuffix("</code>").rstrip()
        if code.endswith("```"):
            code = code.rstrip("`").rstrip()
    bare = code.lstrip()
    start = len(code) - len(bare)
    line = code.rfind("\n", 0, start) + 1
    return dedent(code[line:]) if line and line < start else bare


def _hermes(text: str) -> tuple[str, str]:
    """The call in a <tool_call>; without a name when it is none."""
    try:
        call = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(call, dict):
        return "", ""
    arguments = call.get("arguments", call.get("parameters", {}))
    return str(call.get("name", "")), arguments if isinstance(arguments, str) else json.dumps(arguments)


def _called(calls: Sequence[tuple[str, str]], tool_names: Collection[str]) -> tuple[str | None, str]:
    """Tool calls as the code that makes them, one line each; or no code and what is wrong with them."""
    lines = []
    for name, arguments in calls:
        name = name.removeprefix("functions.")
        if name in _INTERPRETERS and name not in tool_names:
            lines.append(_given_code(arguments))
            continue
        if not name.isidentifier() or iskeyword(name):
            return None, f"Your tool call could not be read. {_HOW}"
        if tool_names and name not in tool_names and name != "final_answer":
            return None, f"There is no tool {name[:60]!r}; there are {', '.join(sorted(tool_names))}. {_HOW}"
        try:
            values = _loaded(arguments.strip() or "{}")
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict) or not all(key.isidentifier() and not iskeyword(key) for key in values):
            return None, f"The arguments of your call to {name} are no JSON object. {_HOW}"
        if name == "final_answer":
            lines.append(f"final_answer({', '.join(repr(value) for value in values.values())})")
        else:
            lines.append(f"print({name}({', '.join(f'{key}={value!r}' for key, value in values.items())}))")
    return "\n".join(lines), ""


def _given_code(arguments: str) -> str:
    """What was meant for an interpreter: {"code": "..."}, or the code itself."""
    try:
        given = _loaded(arguments)
    except (ValueError, RecursionError):
        return arguments
    code = given.get("code") if isinstance(given, dict) else None
    return code if isinstance(code, str) else arguments


def _loaded(text: str) -> Any:
    """JSON as models write it, once or twice encoded. Raises ValueError or RecursionError."""
    value = json.loads(text, strict=False, parse_float=_finite, parse_constant=_finite)
    return (
        json.loads(value, strict=False, parse_float=_finite, parse_constant=_finite)
        if isinstance(value, str)
        else value
    )


def _finite(number: str) -> float:
    """A number that Python can write as a literal."""
    value = float(number)
    if not isfinite(value):
        raise ValueError(number)
    return value
