"""Our CodeAgent: smolagents' loop, memory and prompts; our step, so that text streams, odd replies parse, Stop stops."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template
from smolagents import ActionOutput, ActionStep, CodeAgent, LogLevel, PythonExecutor
from smolagents.agents import EMPTY_PROMPT_TEMPLATES
from smolagents.local_python_executor import CodeOutput

from agent.events import CodeWritten, Event, Noticed, ReasoningSaid, ReplyRestarted, StepEnded, StepStarted, TextSaid
from agent.memory import remembered
from agent.metered import Thinker
from agent.models.router import Cancel, Done, Reasoning, Restarted, Text
from agent.parsing import parse_reply
from agent.sandbox.host import Executor, StepResult
from agent.sandbox.levels import RUNS_CODE
from agent.thinking import Thinking
from agent.tool_calls import carried_out, named_calls
from agent.toolbox import DeskTool
from tools.desk import Problem, Stopped

OBSERVED = 10_000  # characters of one step's output that the model reads back, head and tail
CUT_OFF = "Your reply was cut off at the server's length limit, and nothing of it ran. Write a shorter step."
STOP_WORDS = ("Observation:", "</code>")
_PROMPT = Path(__file__).parent / "prompts" / "system.md"


class StepLimit(Exception):
    """All steps of the run are used up."""


class Coder(CodeAgent):
    """One agent for one run. What it does leaves through emit, in order; what it yields is for smolagents' loop alone."""

    def __init__(
        self,
        model: Thinker,
        tools: list[DeskTool],
        executor: Executor,
        call_tool: Callable[[str, Mapping[str, Any]], Any],
        emit: Callable[[Event], None],
        *,
        run: str,
        cancel: Cancel,
        steps_before: int,
        max_steps: int,
    ) -> None:
        self._emit, self._run, self._cancel, self._steps_before = emit, run, cancel, steps_before
        self._child, self._call_tool = executor, call_tool
        self._runs_code = executor.level in RUNS_CODE
        self._stop_words: tuple[str, ...] = STOP_WORDS
        self._proses = 0  # replies in a row without code
        self.steps = self.input_tokens = self.output_tokens = 0
        super().__init__(
            tools=tools,
            model=model,
            prompt_templates=EMPTY_PROMPT_TEMPLATES,
            executor=_Seat(),
            max_steps=max_steps,
            verbosity_level=LogLevel.OFF,
            code_block_tags=("<code>", "</code>"),
        )

    def initialize_system_prompt(self) -> str:
        """The words of prompts/system.md: for acting by code, or where none may run, by calls alone."""
        tools = [tool for name, tool in self.tools.items() if self._runs_code or name != "final_answer"]
        return str(
            Template(_PROMPT.read_text("utf-8"), undefined=StrictUndefined).render(
                tools=tools, runs_code=self._runs_code
            )
        )

    @property
    def step(self) -> int:
        """Number of the current step in the whole session."""
        return self._steps_before + self.steps

    def _step_stream(self, memory_step: ActionStep) -> Iterator[ActionOutput]:
        started = time.monotonic()
        memory_step.model_input_messages = None  # a copy per step would grow with the square of the steps
        self.steps += 1
        self._code: str | None = None
        self._spoken: list[str] = []  # without thought
        step, said, done = self.step, "", None
        self._emit(StepStarted(run=self._run, step=step, model=self.model.model_id))
        observation, error = "", "Stopped."
        try:
            said, done = self._reply(step)
            if self._stop_words and cut_in_thought(said):
                self._stop_words = ()
                reason = "The model was cut off in its thought."
                self._emit(ReplyRestarted(step=step, reason=reason, attempt=2, wait_seconds=0.0))
                self._spoken.clear()
                said, done = self._reply(step)
            final, answer, observation, error = self._act(step, said, done)
        except Problem as problem:
            error = str(problem)
            raise
        finally:
            memory_step.model_output = remembered("".join(self._spoken), self._code)
            memory_step.observations = observation or error
            usage = done.usage if done else None
            self.input_tokens += (usage and usage.input_tokens) or 0
            self.output_tokens += (usage and usage.output_tokens) or 0
            self._emit(
                StepEnded(
                    step=step,
                    seconds=round(time.monotonic() - started, 3),
                    input_tokens=usage.input_tokens if usage else None,
                    output_tokens=usage.output_tokens if usage else None,
                    provider=done.provider if done else "",
                    observation=observation,
                    error=error,
                )
            )
        yield ActionOutput(output=answer, is_final_answer=final)

    def _reply(self, step: int) -> tuple[str, Done]:
        """Ask the model; pass on what it says as it says it."""
        said: list[str] = []  # thoughts included: the parser knows more forms of them
        thinking = Thinking()
        for delta in self.model.stream(
            self.write_memory_to_messages(), stop_words=self._stop_words, cancel=self._cancel
        ):
            match delta:
                case Text(text):
                    said.append(text)
                    self._say(step, thinking.feed(text))
                case Reasoning(text):
                    self._emit(ReasoningSaid(step=step, text=text))
                case Restarted(reason, attempt, wait_seconds):
                    said.clear()
                    self._spoken.clear()
                    thinking = Thinking()
                    self._emit(ReplyRestarted(step=step, reason=reason, attempt=attempt, wait_seconds=wait_seconds))
                case Done():
                    self._say(step, thinking.end())
                    return "".join(said), delta
        raise Problem("The model's reply has no end.", "Send your message again.")

    def _say(self, step: int, parts: Iterable[tuple[bool, str]]) -> None:
        for is_thought, text in parts:
            if not is_thought:
                self._spoken.append(text)
            self._emit(ReasoningSaid(step=step, text=text) if is_thought else TextSaid(step=step, text=text))

    def _act(self, step: int, said: str, done: Done) -> tuple[bool, Any, str, str]:
        """Find the code and run it: (is final, answer, observation, error)."""
        if done.finish_reason == "length" and "</code>" not in said:
            return False, None, CUT_OFF, CUT_OFF  # half a script must not run
        if not self._runs_code:
            return self._act_by_calls(said, done)
        reply = parse_reply(said, [(call.name, call.arguments) for call in done.tool_calls], list(self.tools))
        if reply.code is None:
            self._proses += 1
            if reply.thought and self._proses > 1:
                return True, reply.thought, "", ""  # told once how to act, it still just speaks: that is its answer
            return False, None, reply.hint, reply.hint
        self._proses = 0
        self._code = reply.code
        self._emit(CodeWritten(step=step, code=reply.code))
        result = self._child.run(reply.code, self._cancel.event)
        if news := renewed(result):
            self._emit(Noticed(level="warning", text=news))
        return result.final, result.answer, observed(result, reply.hint), _last_line(result.error)

    def _act_by_calls(self, said: str, done: Done) -> tuple[bool, Any, str, str]:
        prose, calls, hint = named_calls(said, [(call.name, call.arguments) for call in done.tool_calls])
        if not calls:
            self._proses += 1
            return (True, prose, "", "") if prose and self._proses > 1 else (False, None, hint, hint)
        self._proses = 0
        final, answer, observation = carried_out(calls, self._call_tool)
        return final, answer, "\n".join(filter(None, (cut(observation), hint))), ""

    def _handle_max_steps_reached(self, task: str) -> Any:  # noqa: ARG002  # smolagents would ask the model once more
        raise StepLimit

    def run_to_end(self, task: str) -> str:
        """Drive the loop. Returns the answer as text. Raises Stopped, StepLimit or Problem."""
        answer: Any = ""
        for event in self.run(task, stream=True, reset=False):
            if self._cancel.event.is_set():
                raise Stopped
            if isinstance(event, ActionOutput) and event.is_final_answer:
                answer = event.output
        return answer if isinstance(answer, str) else repr(answer)


def observed(result: StepResult, note: str = "") -> str:
    """What the model reads of a step: output, error or value, lost variables; cut in the middle."""
    parts = [cut(result.output.rstrip("\n"))]
    if result.error:
        parts.append("Error:\n" + cut(result.error))
    elif result.value:
        parts.append("Last value:\n" + cut(result.value))
    parts += [renewed(result), note]
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


def cut(text: str, limit: int = OBSERVED) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - limit} characters cut …\n{text[-half:]}"


def _last_line(error: str) -> str:
    return error.rstrip().rsplit("\n", 1)[-1]


class _Seat(PythonExecutor):
    """smolagents wants an executor; ours is driven by the step itself, so this one only fills the place."""

    def send_tools(self, tools: dict[str, Any]) -> None: ...

    def send_variables(self, variables: dict[str, Any]) -> None: ...

    def __call__(self, code_action: str) -> CodeOutput:  # noqa: ARG002
        raise TypeError("the step runs code itself")
