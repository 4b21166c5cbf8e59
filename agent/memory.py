"""The journal as the agent remembers it. Built anew for each run, so that a restart is nothing special."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from smolagents import ActionStep, MemoryStep, TaskStep, Timing

from agent.branches import note_on, standing
from agent.demands import rendered
from agent.events import (
    ApprovalAnswered,
    ApprovalAsked,
    CodeWritten,
    DemandsSet,
    Entry,
    ReplyRestarted,
    Rewound,
    RunEnded,
    StepEnded,
    StepStarted,
    TextSaid,
    ToolEnded,
    ToolStarted,
    UserSaid,
)
from agent.parsing import parse_reply
from tools.cards import Request


@dataclass
class Recalled:
    """What happened so far: memory steps for the model, and the counters that ids go on from."""

    steps: list[MemoryStep] = field(default_factory=list)
    runs: int = 0
    last_step: int = 0
    calls: int = 0
    approvals: int = 0
    open_run: str = ""  # a run without an end
    open_step: int = 0
    open_approvals: dict[str, Request] = field(default_factory=dict)
    open_calls: set[str] = field(default_factory=set)
    title: str = ""


def recall(entries: Iterable[Entry]) -> Recalled:
    """Ids go on from all that ever was; the model remembers what was not taken back."""
    whole = list(entries)
    past = _recalled(whole, whole)
    if any(isinstance(entry.event, Rewound) for entry in whole):
        stood = _recalled(standing(whole), whole)
        past.steps, past.title = stood.steps, stood.title
    return past


def _recalled(entries: Iterable[Entry], whole: Sequence[Entry]) -> Recalled:
    past = Recalled()
    news: dict[str, str] = {}  # what the model is told with the next message
    step: ActionStep | None = None
    typed = ""  # the tool the user typed, while it runs
    for entry in entries:
        match entry.event:
            case UserSaid(run=run, text=text, files=files):
                past.runs, past.open_run = past.runs + 1, run
                past.title = past.title or text
                past.steps.append(
                    TaskStep(task="\n\n".join([task_text(text, files), *(f"({one})" for one in news.values())]))
                )
                news.clear()
            case Rewound(seq=seq):
                news["taken back"] = note_on(whole, seq, entry.seq)
            case DemandsSet(by="user", demands=demands):
                news["pinned"] = rendered(demands) or "The user unpinned all demands."
            case StepStarted(step=number):
                past.last_step = past.open_step = number
                step = ActionStep(step_number=number, timing=Timing(start_time=entry.at), model_output="")
                past.steps.append(step)
            case TextSaid(text=text) if step:
                step.model_output += text
            case ReplyRestarted() if step:
                step.model_output = ""
            case CodeWritten(code=code) if step:
                step.code_action = code
            case StepEnded(observation=observation, error=error) if step:
                step.model_output = remembered(step.model_output, step.code_action)
                step.observations = observation or error or None
                step, past.open_step = None, 0
            case ToolStarted(call=call, by=by, tool=tool):
                past.calls += 1
                past.open_calls.add(call)
                typed = tool if by == "user" else ""
            case ToolEnded(call=call, result=result, message=message, hint=hint):
                past.open_calls.discard(call)
                if typed:
                    outcome = result or f"{message} {hint}"
                    past.steps.append(TaskStep(task=f"(I called {typed} myself. It returned: {outcome})"))
                    typed = ""
            case RunEnded(why=why, message=message):
                past.open_run, past.open_step, step = "", 0, None
                if why != "answered" and past.steps and isinstance(last := past.steps[-1], ActionStep):
                    last.observations = f"{last.observations or ''}\n(This run ended here: {why}. {message})".strip()
            case ApprovalAsked(approval=approval, request=request):
                past.approvals += 1
                past.open_approvals[approval] = request
            case ApprovalAnswered(approval=approval):
                past.open_approvals.pop(approval, None)
            case _:
                pass
    return past


def remembered(said: str, code: str | None) -> str:
    """A reply as the model reads it back: its prose and the code that ran, in the one form that it is asked to write.

    said: what it spoke, without thought.
    """
    if code is None:
        return said.strip()
    return f"{parse_reply(said).thought}\n<code>\n{code}\n</code>".lstrip()


def task_text(text: str, files: Iterable[str]) -> str:
    """What the model reads of a user's message."""
    names = ", ".join(f"uploads/{name}" for name in files)
    return f"{text}\n\n(Uploaded files: {names})" if names else text
