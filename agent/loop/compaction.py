"""Keeps the requests of a run within the model's window: earlier steps give way to the agent's own summary of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from smolagents import ActionStep, MemoryStep, TaskStep

from agent.events import Compacted, Event, Guarded
from agent.loop.memory import Asked, Memory, Summary, Talk
from agent.loop.observations import cut
from agent.loop.parsing import parse_reply, without_thought
from agent.loop.think_tags import Thinking
from agent.loop.window import Window, estimate_all
from agent.models.deltas import Cancel, Done, Reasoning, Restarted, Text, Thinker, Usage
from agent.models.faults import TooLong
from agent.models.metered import REPLY_TOKENS
from tools.problem import Problem

# Shares of the window.
HIGH = 0.8  # a request that takes more is compacted
LOW = 0.4  # down to this
KEPT = 0.125  # of it for the last steps, at most; what is left is time until the next compaction
ALONE = 0.6  # the very last step stays if the request then takes no more than this
HELPS = 0.7  # a compaction that would not come below is not worth its price
FULL = 0.97
TOLD = 0.08  # for the summary
WORDS_PER_TOKEN = 0.6
CHARACTERS_PER_TOKEN = 3
SMALLEST_REPLY = 256  # tokens
SUMMARY_REPLY = 6_000  # tokens, thought included
_SHORTENED = (4_000, 1_200, 400)  # characters of each text in a request for a summary that would not fit otherwise
_LINES = 60  # of a digest
_PROMPT = (Path(__file__).parent / "prompts" / "summary.md").read_text("utf-8")
_MARKS = re.compile(r"</?(?:code|tool_call)>")
_MECHANICAL = "(The model gave no summary; this was put together mechanically, and details are missing.)"

Messages = list[dict[str, str]]


class Context:
    """What the model reads in one run."""

    def __init__(
        self,
        model: Thinker,
        memory: Memory,
        window: Window,
        *,
        write: Callable[[Sequence[MemoryStep]], Messages],
        emit: Callable[[Event], None],
        cancel: Cancel,
        spent: Callable[[Usage], None],
    ) -> None:
        """write: steps as messages, after the system prompt. spent: told of the tokens of each summary."""
        self._model, self._memory, self._window, self._write = model, memory, window, write
        self._emit, self._cancel, self._spent = emit, cancel, spent
        self._longest: int | None = None  # tokens of a reply, where the server has set a limit

    def messages(self, step: int) -> Messages:
        """The request for this step, compacted before it if need be. Raises TooLong when that cannot help."""
        talk = self._memory.catch_up().talk
        messages = self._write(talk.steps)
        taken = self._window.reckon(messages)
        if taken <= HIGH * self._window.tokens:
            return messages
        last = last_to_summarise(talk, step, self._write, window=self._window)
        if last is not None:
            return self._compact(last, messages)
        if taken > FULL * self._window.tokens:
            self.give_up(step)
        return messages  # as long as it goes

    def refused(self, error: TooLong, messages: Messages, step: int) -> Messages:
        """The server found the request too long: the request to try once more. Raises TooLong when there is none."""
        window = self._window
        if error.reply:
            self._longest = error.reply
            self._guard("retry", step, f"The model's server gives at most {error.reply:,} tokens per reply.")
            return messages
        window.refuse(messages, error.window, error.tokens)
        text = f"The model's server found the conversation too long for its window of {window.tokens:,} tokens"
        if error.tokens and window.reckon(messages) <= HIGH * window.tokens:
            self._guard("retry", step, f"{text}, with the reply; it was asked for a shorter one.")
            return messages
        last = last_to_summarise(self._memory.past.talk, step, self._write, window=window)
        if last is None:
            self.give_up(step)
        shorter = self._compact(last, messages)
        self._guard("retry", step, f"{text}; earlier steps were summarised, and it was asked again.")
        return shorter

    def longest_reply(self, messages: Messages, more: bool = False) -> int | None:
        """How many tokens the reply may take; None: as the server likes. more: than it took when it was cut off."""
        window = self._window
        if self._longest is None and not (window.told or window.learned or more):
            return None
        room = max(window.room(window.reckon(messages)), SMALLEST_REPLY)
        return min(room, self._longest or room, room if more else REPLY_TOKENS)

    def give_up(self, step: int) -> NoReturn:
        """End the run, and say honestly why."""
        window = self._window.tokens
        talk = self._memory.past.talk
        said = estimate_all({"content": text} for text in _words(talk.steps))
        fixed = estimate_all(self._write([]))
        if fixed > window // 2:
            what = f"The agent's own instructions take about {fixed:,} of the {window:,} tokens that {self._model.model_id} can read; that leaves too little to work with."
            do = "Pick a model with a larger window, or let your server load it with one (num_ctx, --ctx-size, --max-model-len)."
        elif said > window // 3:
            what = f"Your own messages take about {said:,} of the {window:,} tokens that {self._model.model_id} can read; they are never cut."
            do = "Start a new session and attach long texts as files, or pick a model with a larger window."
        else:
            what = f"The conversation does not fit into the {window:,} tokens that {self._model.model_id} can read, and a summary of it would not help."
            do = "Start a new session, or pick a model with a larger window."
        self._guard("end", step, what)
        raise TooLong(what, do)

    def _compact(self, last: int, messages: Messages) -> Messages:
        before = self._window.reckon(messages)
        talk = self._memory.past.talk
        summary = self._summary(talk, last, messages)
        after = self._window.reckon(self._write(talk.compacted(last, summary)))
        self._emit(Compacted(step=last, summary=summary, tokens_before=before, tokens_after=after))
        return self._write(self._memory.catch_up().talk.whole)

    def _summary(self, talk: Talk, last: int, messages: Messages) -> str:
        most = int(TOLD * self._window.tokens)
        order = _PROMPT.format(step=last, words=int(most * WORDS_PER_TOKEN))
        try:
            request = self._request(talk, last, messages, order=order)
            said = self._ask(request) if request else ""
        except Problem as problem:  # of the server; the work goes on without
            said = ""
            if isinstance(problem, TooLong):
                self._longest = problem.reply or self._longest
        if not said:
            said = f"{_MECHANICAL}\n{digest(talk.steps, last)}"
        return cut(said, most * CHARACTERS_PER_TOKEN)

    def _request(self, talk: Talk, last: int, messages: Messages, *, order: str) -> Messages:
        """What is sent to get a summary: the conversation as it is, so that the server's cache knows it; else shortened."""
        ask = {"role": "user", "content": order}
        room = min(SUMMARY_REPLY, self._window.tokens // 8)
        steps = talk.steps[: len(talk.steps) - len(talk.compacted(last, "")) + 1]
        tries = [messages, *(self._write([_shortened(s, most) for s in steps]) for most in _SHORTENED)]
        for known in tries:
            if self._window.reckon([*known, ask]) + room <= FULL * self._window.tokens:
                return [*known, ask]
        return []

    def _ask(self, request: Messages) -> str:
        said: list[str] = []
        thinking = Thinking()
        room = self._window.room(self._window.reckon(request))
        most = max(SMALLEST_REPLY, min(SUMMARY_REPLY, room, self._longest or room))
        for delta in self._model.stream(request, stop_words=(), cancel=self._cancel, max_tokens=most):
            match delta:
                case Text(text):
                    said += [piece for thought, piece in thinking.feed(text) if not thought]
                case Restarted():
                    said.clear()
                    thinking = Thinking()
                case Done(usage=usage):
                    said += [piece for thought, piece in thinking.end() if not thought]
                    self._window.count(request, usage.input_tokens)
                    self._spent(usage)
                case Reasoning():
                    pass
        return _summarised("".join(said))

    def _guard(self, did: str, step: int, text: str) -> None:
        self._emit(Guarded.model_validate({"guard": "too_long", "step": step, "did": did, "text": text}))


def last_to_summarise(
    talk: Talk, step: int, write: Callable[[Sequence[MemoryStep]], Messages], *, window: Window
) -> int | None:
    """The last step that gives way to a summary, so that the request comes down to LOW; None when that cannot help.

    step: the one that is about to be made. Steps are whole or gone; the newest stay as far as there is room.
    """
    done = [s for s in talk.steps if isinstance(s, ActionStep) and s.step_number < step]
    if not done:
        return None
    tokens = window.tokens
    base = window.reckon(write(talk.compacted(done[-1].step_number, ""))) + int(TOLD * tokens)
    if base > HELPS * tokens:
        return None
    system = estimate_all(write([]))
    sizes = [int((estimate_all(write([s])) - system) * max(1.0, window.factor)) for s in reversed(done)]
    kept = used = 0
    for size in sizes[:-1]:  # at least the first gives way
        used += size
        if base + used > LOW * tokens or used > KEPT * tokens:
            break
        kept += 1
    if kept == 0 and len(done) > 1 and base + sizes[0] <= ALONE * tokens:
        kept = 1
    return int(done[-1 - kept].step_number)


def digest(steps: Sequence[MemoryStep], last: int) -> str:
    """A line for each step up to the last one, where there is no better summary."""
    before = ""
    lines: list[str] = []
    for step in steps:
        match step:
            case Summary(text=text):
                before = cut(text.removeprefix(_MECHANICAL).strip(), 6_000)
            case ActionStep(step_number=number, model_output=said, observations=seen) if number <= last:
                thought = " ".join(_prose(str(said or "")).split())[:160]
                came = " ".join(str(seen or "").split())
                lines.append(f"Step {number}: {thought or 'code'} -> {came[:160]}")
            case _:
                pass
    return "\n".join(filter(None, [before, *lines[-_LINES:]]))


def _words(steps: Sequence[MemoryStep]) -> list[str]:
    """What the user said, as far as it is kept."""
    return [
        text
        for step in steps
        for text in (step.words if isinstance(step, Summary) else [step.task] if isinstance(step, Asked) else [])
    ]


def _shortened(step: MemoryStep, most: int) -> MemoryStep:
    match step:
        case ActionStep(model_output=said, observations=seen):
            return replace(step, model_output=cut(str(said or ""), most), observations=cut(seen or "", most))
        case TaskStep(task=task):
            return replace(step, task=cut(task, most))
        case Summary(words=words, text=text):
            return replace(step, words=tuple(cut(word, most) for word in words), text=cut(text, 3 * most))
    return step


def _prose(said: str) -> str:
    """Without code, if the model wrote some in spite of all."""
    return parse_reply(said).thought if "<code>" in said or "<tool_call>" in said else said.strip()


def _summarised(said: str) -> str:
    """A summary without thought and code; but what is no Python was meant for us, though it stands between the marks."""
    said = without_thought(said)
    reply = parse_reply(said)
    return _prose(said) if reply.code is None or _is_python(reply.code) else _MARKS.sub("", said).strip()


def _is_python(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
