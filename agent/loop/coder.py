"""Our CodeAgent: smolagents' loop, memory and prompts; our step, so that text streams, odd replies parse, Stop stops."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template
from smolagents import ActionOutput, ActionStep, CodeAgent, LogLevel, MemoryStep, PythonExecutor
from smolagents.agents import EMPTY_PROMPT_TEMPLATES
from smolagents.local_python_executor import CodeOutput

from agent.events import (
    CodeWritten,
    Event,
    Guarded,
    Noticed,
    ReasoningSaid,
    ReplyRestarted,
    StepEnded,
    StepStarted,
    TextSaid,
)
from agent.loop import observations
from agent.loop.compaction import Context, Messages
from agent.loop.guards import GuardVerdict, Plan, Repetition, Replies
from agent.loop.memory import Memory
from agent.loop.parsing import parse_reply
from agent.loop.think_tags import Thinking
from agent.loop.tool_calls import carried_out, named_calls, written
from agent.loop.toolbox import DeskTool
from agent.loop.window import Window
from agent.models.deltas import Thinker, Waiting
from agent.models.faults import TooLong
from agent.models.router import Cancel, Done, NativeCall, Reasoning, Restarted, Text, Usage, plain_messages
from agent.sandbox.host import Executor, StepResult
from agent.sandbox.levels import RUNS_CODE
from tools.problem import Problem, RunEnd, Stopped

OBSERVED = 10_000  # characters of one step's output that the model reads back, head and tail
OF_WINDOW = 0.1  # and no more of a small window than this
_OF_ERROR = 0.35  # of that, at most, for an error and for a value
STOP_WORDS = ("Observation:", "</code>")
_PROMPT = Path(__file__).parent / "prompts" / "system.md"


@cache
def _template() -> Template:
    template: Template = Template(_PROMPT.read_text("utf-8"), undefined=StrictUndefined)
    return template


class StepLimit(RunEnd):
    """All steps of the run are used up."""

    why = "step_limit"

    def __init__(self) -> None:
        super().__init__("All steps of this run are used up. Send a message to go on.")


@dataclass
class _Acted:
    """What came of a reply."""

    observation: str
    error: str = ""
    final: bool = False
    answer: Any = None
    whole: str = ""  # of an observation that was cut
    act: str = ""  # the code, or the calls; "": nothing was done


class Coder(CodeAgent):
    """One agent for one run. What it does leaves through emit, in order; what it yields is for smolagents' loop alone."""

    def __init__(
        self,
        model: Thinker,
        tools: list[DeskTool],
        executor: Executor,
        *,
        call_tool: Callable[[str, Mapping[str, Any]], Any],
        emit: Callable[[Event], None],
        memory: Memory,
        work: Path,
        run: str,
        cancel: Cancel,
        steps_before: int,
        max_steps: int,
        go_on: Callable[[int], int] = lambda steps: 0,  # noqa: ARG005
        window: Window | None = None,
    ) -> None:
        """memory: read from where emit writes to. work: the executor's work folder.

        go_on: at the end of the steps, given how many were taken: how many more; 0 ends the run.

        window: kept over the runs of a session, it knows from the start what was learned in them.
        """
        self._emit, self._run, self._cancel, self._steps_before = emit, run, cancel, steps_before
        self._child, self._call_tool, self._work = executor, call_tool, work
        self._runs_code = executor.level in RUNS_CODE
        self._stop_words: tuple[str, ...] = STOP_WORDS
        self._proses = 0  # replies in a row without code
        self._native = False  # the model was seen to answer by native calls
        self._repetition, self._plan, self._replies = Repetition(), Plan(), Replies()
        self._limit, self._go_on = max_steps, go_on
        self._words = ""  # the system prompt
        self.steps = self.input_tokens = self.output_tokens = 0
        self._recalled = memory
        self._window = window or Window()
        self._window.belong_to(model.model_id, model.window)
        self._context = Context(
            model, memory, self._window, write=self._written, emit=emit, cancel=cancel, spent=self._spend
        )
        super().__init__(
            tools=tools,
            model=model,
            prompt_templates=EMPTY_PROMPT_TEMPLATES,
            executor=_Seat(),
            max_steps=sys.maxsize,  # the limit is ours: it may be raised
            verbosity_level=LogLevel.OFF,
            code_block_tags=("<code>", "</code>"),
        )

    def initialize_system_prompt(self) -> str:
        """The words of prompts/system.md: for acting by code, or where none may run, by calls alone."""
        if not self._words:  # smolagents asks for them twice, and they do not change
            tools = [tool for name, tool in self.tools.items() if self._runs_code or name != "final_answer"]
            self._words = str(_template().render(tools=tools, runs_code=self._runs_code))
        return self._words

    @property
    def step(self) -> int:
        """Number of the current step in the whole session."""
        return self._steps_before + self.steps

    def _written(self, steps: Sequence[MemoryStep]) -> Messages:
        """Steps as the model reads them, after the system prompt."""
        told = [self.memory.system_prompt, *steps]
        return plain_messages([message for step in told for message in step.to_messages()])

    def _spend(self, usage: Usage) -> None:
        self.input_tokens += usage.input_tokens or 0
        self.output_tokens += usage.output_tokens or 0

    def _step_stream(self, memory_step: ActionStep) -> Iterator[ActionOutput]:
        started = time.monotonic()
        memory_step.model_input_messages = None  # a copy per step would grow with the square of the steps
        if self.steps >= self._limit:
            self._limit += self._go_on(self.steps)
            if self.steps >= self._limit:
                raise StepLimit
        step = self.step + 1
        messages = self._context.messages(step)
        self.memory.steps = list(self._recalled.past.steps)  # the journal's; the loop adds its own to the list only
        self.steps += 1
        self._emit(StepStarted(run=self._run, step=step, model=self.model.model_id))
        done: Done | None = None
        acted = _Acted("", "Stopped.")
        try:
            said, done = self._whole_reply(step, messages)
            acted = self._guarded(step, self._act(step, said, done))
        except Problem as problem:
            acted = _Acted("", str(problem))
            raise
        finally:
            usage = done.usage if done else Usage()
            self._spend(usage)
            self._emit(
                StepEnded(
                    step=step,
                    seconds=round(time.monotonic() - started, 3),
                    input_tokens=usage.input_tokens,
                    output_tokens=usage.output_tokens,
                    provider=done.provider if done else "",
                    observation=acted.observation,
                    error=acted.error,
                )
            )
        yield ActionOutput(output=acted.answer, is_final_answer=acted.final)

    def _whole_reply(self, step: int, messages: Messages) -> tuple[str, Done]:
        """Ask the model; once more if the conversation was too long, or the reply was cut off in its thought."""
        try:
            said, done = self._reply(step, messages)
        except TooLong as error:
            messages = self._context.refused(error, messages, step)
            self._forget(step, error.message)
            try:
                said, done = self._reply(step, messages)
            except TooLong:
                self._context.give_up(step)
        if self._stop_words and cut_in_thought(said):
            self._stop_words = ()
            self._forget(step, "The model was cut off in its thought.")
            said, done = self._reply(step, messages)
        self._window.count(messages, done.usage.input_tokens)
        return said, done

    def _forget(self, step: int, reason: str) -> None:
        """What was said of this step does not count."""
        self._emit(ReplyRestarted(step=step, reason=reason, attempt=2, wait_seconds=0.0))

    def _reply(self, step: int, messages: Messages) -> tuple[str, Done]:
        """Ask the model; pass on what it says as it says it."""
        said: list[str] = []  # thoughts included: the parser knows more forms of them
        thinking = Thinking()
        longest = self._context.longest_reply(messages, more=self._replies.wants_more)
        for delta in self.model.stream(messages, stop_words=self._stop_words, cancel=self._cancel, max_tokens=longest):
            match delta:
                case Text(text):
                    said.append(text)
                    self._say(step, thinking.feed(text))
                case Reasoning(text):
                    self._emit(ReasoningSaid(step=step, text=text))
                case Restarted(reason, attempt, wait_seconds):
                    said.clear()
                    thinking = Thinking()
                    self._emit(ReplyRestarted(step=step, reason=reason, attempt=attempt, wait_seconds=wait_seconds))
                case Waiting(reason):
                    self._emit(Noticed(level="info", text=reason))
                case Done():
                    self._say(step, thinking.end())
                    return "".join(said), delta
        raise Problem("The model's reply has no end.", "Send your message again.")

    def _say(self, step: int, parts: Iterable[tuple[bool, str]]) -> None:
        for is_thought, text in parts:
            self._emit(ReasoningSaid(step=step, text=text) if is_thought else TextSaid(step=step, text=text))

    # --- acting -----------------------------------------------------------------------------------

    def _act(self, step: int, said: str, done: Done) -> _Acted:
        """Find the code and run it."""
        if done.finish_reason == "length" and "</code>" not in said:  # half a script must not run
            return self._unusable(step, cut=True)
        if not self._runs_code:
            return self._act_by_calls(step, said, done)
        reply = parse_reply(said, [(call.name, call.arguments) for call in done.tool_calls], list(self.tools))
        if reply.code is None:
            if not reply.thought and not done.tool_calls:
                return self._unusable(step, hint=reply.hint)
            return self._prose(reply.thought, reply.hint)
        self._proses = 0
        self._note_native(step, done.tool_calls, said)
        self._emit(CodeWritten(step=step, code=reply.code))
        result = self._child.run(reply.code, self._cancel.event)
        if news := renewed(result):
            self._emit(Noticed(level="warning", text=news))
        observation, whole = self._observed(step, result, reply.hint)
        return _Acted(observation, _last_line(result.error), result.final, result.answer, whole, reply.code)

    def _act_by_calls(self, step: int, said: str, done: Done) -> _Acted:
        native = [(call.name, call.arguments) for call in done.tool_calls]
        prose, calls, hint = named_calls(said, native)
        if not calls:
            return self._prose(prose, hint) if prose or native else self._unusable(step, hint=hint)
        self._proses = 0
        self._note_native(step, done.tool_calls, said)
        if native:  # so that the model reads its own calls back, and the user sees them
            self._say(step, [(False, "".join(f"\n{written(call)}" for call in calls))])
        final, answer, seen = carried_out(calls, self._call_tool)
        observation = "\n".join(filter(None, (observations.cut(seen, self._most_observed()), hint)))
        return _Acted(observation, "", final, answer, seen, "\n".join(written(call) for call in calls))

    def _prose(self, thought: str, hint: str) -> _Acted:
        """Told once how to act, it still just speaks: that is its answer."""
        self._proses += 1
        if thought and self._proses > 1:
            return _Acted("", final=True, answer=thought)
        return _Acted(hint, hint)

    def _unusable(self, step: int, *, cut: bool = False, hint: str = "") -> _Acted:
        verdict = self._replies.take(empty=not cut, cut=cut)
        text = (verdict.model if verdict else "") or hint
        self._apply(step, "cut_off" if cut else "empty_reply", verdict)
        return _Acted(text, text)

    def _note_native(self, step: int, calls: Sequence[NativeCall], said: str) -> None:
        """A model that does not keep to the form it was asked for is understood all the same; once a run it is said."""
        if calls and not self._native and "<code>" not in said:
            self._native = True
            text = "The model answers by tool calls of its own form; they are translated and carried out."
            self._emit(Guarded(guard="native_calls", step=step, did="hint", text=text))

    def _guarded(self, step: int, acted: _Acted) -> _Acted:
        """What the guards make of a step: warnings go into what the model reads next."""
        if acted.act:
            self._replies.take(empty=False, cut=False)
            if not acted.final:
                verdict = self._repetition.take(acted.act, acted.whole or acted.observation)
                acted = self._warned(step, "repetition", verdict, acted=acted)
        if acted.final:
            verdict = self._plan.ask(self._recalled.catch_up().talk.open_plan)
            if verdict:
                acted = _Acted(acted.observation, act=acted.act)
            acted = self._warned(step, "unfinished_plan", verdict, acted=acted)
        return acted

    def _warned(self, step: int, guard: str, verdict: GuardVerdict | None, *, acted: _Acted) -> _Acted:
        self._apply(step, guard, verdict)
        if not verdict:
            return acted
        return replace(acted, observation="\n".join(filter(None, (acted.observation, verdict.model))))

    def _apply(self, step: int, guard: str, verdict: GuardVerdict | None) -> None:
        """Tell the user; end the run if that is the verdict."""
        if not verdict:
            return
        event = {"guard": guard, "step": step, "did": verdict.did, "text": verdict.user}
        self._emit(Guarded.model_validate(event))
        if verdict.did == "end":
            raise Problem(verdict.user, "Say what it should do differently, or pick another model.")

    # --- what the model reads ---------------------------------------------------------------------

    def _most_observed(self) -> int:
        return min(OBSERVED, int(self._window.tokens * OF_WINDOW * 3))

    def _observed(self, step: int, result: StepResult, note: str) -> tuple[str, str]:
        """What the model reads of a step, and the whole of it: output, error or value, lost variables."""
        notes = [text for text in (renewed(result), note) if text]
        most = self._most_observed()
        whole = observed(result)
        shown = whole
        if len(whole) > most:
            path = observations.keep(self._work, step, whole)
            shown = observed(result, most, f"; all of it is in the file {path}" if path else "")
        return "\n".join([shown, *notes]), whole

    # --- the run ----------------------------------------------------------------------------------

    def run_to_end(self) -> str:
        """Answer the user's last message. Returns the answer as text. Raises a RunEnd or a Problem."""
        answer: Any = ""
        for event in self.run("", stream=True, reset=False):  # the message itself is in the journal already
            if self._cancel.event.is_set():
                raise Stopped
            if isinstance(event, ActionOutput) and event.is_final_answer:
                answer = event.output
        return answer if isinstance(answer, str) else repr(answer)


def observed(result: StepResult, most: int | None = None, note: str = "") -> str:
    """Output, then error or value; cut head and tail so that the sum is at most that many characters, about."""
    output = result.output.rstrip("\n")
    name, last = ("Error", result.error) if result.error else ("Last value", result.value)
    if most is not None:
        room = max(int(most * _OF_ERROR), most - len(output))
        last = observations.cut(last, room, note)
        output = observations.cut(output, most - len(last), note)
    parts = [output, f"{name}:\n{last}" if last else ""]
    return "\n".join(part for part in parts if part) or "(no output)"


def cut_in_thought(said: str) -> bool:
    """The server ended the reply at a </code> that the model only thought of."""
    return "<code>" in said and "</code>" not in said and parse_reply(said).code is None


def renewed(result: StepResult) -> str:
    """What model and user should know when a new child has taken over; "" when none has."""
    if not result.restarted:
        return ""
    lost = ", ".join(f"{lost.name} ({lost.why})" for lost in result.lost)
    kept = f"These variables were lost and are undefined now: {lost}." if lost else "All variables were restored."
    return f"Python was started anew: {result.restarted.rstrip('.')}. {kept}"


def _last_line(error: str) -> str:
    return error.rstrip().rsplit("\n", 1)[-1]


class _Seat(PythonExecutor):
    """smolagents wants an executor; ours is driven by the step itself, so this one only fills the place."""

    def send_tools(self, tools: dict[str, Any]) -> None: ...

    def send_variables(self, variables: dict[str, Any]) -> None: ...

    def __call__(self, code_action: str) -> CodeOutput:  # noqa: ARG002
        raise TypeError("the step runs code itself")
