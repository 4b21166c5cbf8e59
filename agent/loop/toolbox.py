"""Plain functions made callable: for the prompt, for generated code, and for a user who types them.

One call = one id, one ToolStarted, one ToolEnded. Arguments are coerced to the function's annotations before it runs.
"""

from __future__ import annotations

import inspect
import itertools
import json
import logging
import threading
import time
import typing
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError, create_model
from smolagents import Tool

from agent.events import Event, ToolEnded, ToolStarted
from tools.desk import Desk
from tools.problem import Problem, Refused, RunEnd

log = logging.getLogger(__name__)

SHOWN_ARGUMENT = 4_000  # characters of one argument that the journal keeps
SHOWN_RESULT = 2_000
_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)


class DeskTool(Tool):
    """One function as a smolagents tool. It is called in the host, through the Toolbox, never by smolagents itself."""

    skip_forward_signature_validation = True
    output_type = "any"

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = function.__name__
        self.description = inspect.getdoc(function) or ""
        hints = typing.get_type_hints(function)
        parameters = list(inspect.signature(function).parameters.values())[1:]  # without the desk
        self.inputs = {p.name: {"type": "any", "description": p.name} for p in parameters}
        returns = hints.get("return", Any)
        self.signature = inspect.Signature(
            [p.replace(annotation=hints.get(p.name, Any)) for p in parameters], return_annotation=returns
        )
        self.function = function
        fields: dict[str, Any] = {
            p.name: (hints.get(p.name, Any), ... if p.default is p.empty else p.default) for p in parameters
        }
        config = ConfigDict(extra="forbid", coerce_numbers_to_str=True, protected_namespaces=())
        self.arguments: type[BaseModel] = create_model(self.name, __config__=config, **fields)
        super().__init__()

    def forward(self, **arguments: Any) -> Any:  # noqa: ARG002
        raise TypeError(f"{self.name} needs a desk; call it through the toolbox")

    def to_code_prompt(self) -> str:
        """Signature with defaults, and the docstring with its Args and Returns: what the model reads of this tool."""
        doc = "\n".join(f"    {line}".rstrip() for line in self.description.splitlines())
        return f'def {self.name}{_readable(self.signature)}:\n    """{doc.lstrip()}\n    """'

    def bind(
        self, args: Sequence[JsonValue], kwargs: Mapping[str, JsonValue], takers: Mapping[str, str] = {}
    ) -> dict[str, Any]:
        """Arguments by name, coerced. Raises Problem in words that name the parameters there are.

        takers: by argument, the one tool that takes it; named to a caller who gives it to another.
        """
        names = list(self.inputs)
        usage = f"Call it as {self.name}{_readable(self.signature)}."
        if len(args) > len(names):
            raise Problem(f"{self.name} takes {len(names)} arguments, {len(args)} were given.", usage)
        given = dict(zip(names, args, strict=False))
        if twice := given.keys() & kwargs.keys():
            raise Problem(f"{self.name} got {', '.join(sorted(twice))} twice.", usage)
        try:
            bound = self.arguments.model_validate(given | dict(kwargs))
        except ValidationError as error:
            raise Problem(
                f"{self.name}: " + "; ".join(_in_words(e, takers) for e in error.errors()[:3]) + ".", usage
            ) from None
        return {name: getattr(bound, name) for name in names}


class Toolbox:
    """The tools of one session. Calls run in the caller's thread; several threads may call at once."""

    def __init__(
        self,
        functions: Sequence[Callable[..., Any]],
        emit: Callable[[Event], None],
        desk: Callable[[str], Desk],
        *,
        called_before: int = 0,
    ) -> None:
        """desk: makes the desk for a call id. called_before: calls that the journal holds already."""
        self.tools = {function.__name__: DeskTool(function) for function in functions}
        taken = [(name, tool) for tool, described in self.tools.items() for name in described.inputs]
        several = Counter(name for name, _ in taken)
        self._takers = {name: tool for name, tool in taken if several[name] == 1}
        self._emit, self._desk = emit, desk
        self._ids = itertools.count(called_before + 1)
        self._open: dict[str, float] = {}  # when each call under way started
        self._lock = threading.Lock()

    def call(
        self,
        name: str,
        args: Sequence[JsonValue],
        kwargs: Mapping[str, JsonValue],
        *,
        by: Literal["agent", "user"],
        step: int = 0,
    ) -> JsonValue:
        """Run a tool; returns its result as JSON data. Raises Problem, Refused or a RunEnd, each noted in the journal."""
        tool = self.tools.get(name)
        if tool is None:
            raise Problem(f"There is no tool {name!r}.", f"The tools are {', '.join(self.tools)}.")
        call = f"c{next(self._ids)}"
        desk = self._desk(call)
        shown = dict(zip(tool.inputs, args, strict=False)) | dict(kwargs)
        with self._lock:
            self._open[call] = time.monotonic()
        self._emit(ToolStarted(call=call, tool=name, args=_cut(shown), by=by, step=step))
        try:
            desk.check()
            result = _JSON.validate_python(tool.function(desk, **tool.bind(args, kwargs, self._takers)))
        except RunEnd:
            self._end(call, "stopped")
            raise
        except Problem as problem:
            self._end(call, "refused" if isinstance(problem, Refused) else "problem", problem=problem)
            raise
        except Exception as error:
            log.exception("tool %s failed", name)
            unforeseen = Problem(
                f"{name} failed in a way nobody foresaw ({type(error).__name__}).",
                "Try once more, or do it another way.",
            )
            self._end(call, "problem", problem=unforeseen)
            raise unforeseen from error
        text = json.dumps(result, ensure_ascii=False)
        self._end(call, "done", result=text if len(text) <= SHOWN_RESULT else text[:SHOWN_RESULT] + " …")
        return result

    def close_open_calls(self) -> None:
        """End in the journal what a stopped run left behind. Such a call's thread may still be on its way out."""
        for call in list(self._open):
            self._end(call, "stopped")

    @property
    def busy(self) -> bool:
        return bool(self._open)

    def is_open(self, call: str) -> bool:
        return call in self._open

    def _end(
        self,
        call: str,
        why: Literal["done", "problem", "refused", "stopped"],
        *,
        result: str = "",
        problem: Problem | None = None,
    ) -> None:
        with self._lock:
            started = self._open.pop(call, None)
        if started is None:
            return  # the run was stopped meanwhile and has closed this call
        message, hint = (problem.message, problem.hint) if problem else ("", "")
        seconds = round(time.monotonic() - started, 3)
        self._emit(ToolEnded(call=call, why=why, result=result, message=message, hint=hint, seconds=seconds))


def _in_words(error: Any, takers: Mapping[str, str]) -> str:
    where, given = ".".join(str(part) for part in error["loc"]), repr(error["input"])
    match error["type"]:
        case "missing":
            return f"{where} is missing"
        case "extra_forbidden":
            return f"there is no argument {where}" + (f" ({takers[where]} takes it)" if where in takers else "")
    return f"{where} cannot be {given[:80]}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def _readable(signature: inspect.Signature) -> str:
    """The signature as the model should see it: str, not <class 'str'>."""
    return str(signature).replace("typing.", "")


def _cut(arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    def short(value: JsonValue) -> JsonValue:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return value if len(text) <= SHOWN_ARGUMENT else text[:SHOWN_ARGUMENT] + " …"

    return {name: short(value) for name, value in arguments.items()}
