"""The journal as the agent remembers it, folded as the journal grows, so that a restart is nothing special."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from smolagents import ActionStep, ChatMessage, MemoryStep, MessageRole, TaskStep, Timing

from agent.events import (
    ApprovalAnswered,
    ApprovalAsked,
    CodeWritten,
    Compacted,
    DemandsSet,
    Entry,
    ReplyRestarted,
    Rewound,
    RunEnded,
    StepEnded,
    StepStarted,
    TextSaid,
    ToolEnded,
    ToolShowed,
    ToolStarted,
    UserSaid,
)
from agent.job_events import JobEnded, JobSubmitted
from agent.loop.observations import cut
from agent.loop.parsing import parse_reply
from agent.undo import note_on
from tools.cards import Demand, FileMade, PlanMade, Question, Request, Todo

LONGEST_PROSE = 8_000  # characters of a reply without code that are remembered
MOST_NAMED = 300  # files and ids, and as many jobs, that a summary names; the newest
LONGEST_NAME = 200  # characters
LONGEST_QUESTION = 300
_MARKS = {"completed": "x", "in_progress": ">", "pending": " "}


# --- what memory is made of -----------------------------------------------------------------------


@dataclass
class Asked(TaskStep):
    """The user's own words."""


@dataclass
class Demanded(MemoryStep):
    """What the user demands, from here on. It stands where it was said, so that what comes before stays the same."""

    demands: tuple[Demand, ...]

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:  # noqa: ARG002
        return [_user(demands_text(self.demands))]


@dataclass
class Summary(MemoryStep):
    """What is kept of everything up to and with a step."""

    step: int
    text: str  # the agent's own words
    words: tuple[str, ...]  # the user's, each message whole
    demands: tuple[Demand, ...]
    plan: tuple[Todo, ...]
    made: tuple[str, ...]
    jobs: tuple[str, ...]

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:  # noqa: ARG002
        told = [f"(To make room, all up to step {self.step} was taken out of this conversation. This is kept of it.)"]
        if self.words:
            told.append("# My messages, word for word\n" + "\n\n".join(f"> {text}" for text in self.words))
        if self.demands:
            told.append(demands_text(self.demands))
        if self.made:
            told.append("# Files and ids that were made\n" + "\n".join(f"- {name}" for name in self.made))
        if self.jobs:
            told.append("# Jobs\n" + "\n".join(f"- {job}" for job in self.jobs))
        if self.plan:
            told.append("# Your plan\n" + "\n".join(f"- [{_MARKS[todo.status]}] {todo.text}" for todo in self.plan))
        told.append(f"# Your summary of what was done\n{self.text}")
        return [_user("\n\n".join(told))]


def _user(text: str) -> ChatMessage:
    return ChatMessage(role=MessageRole.USER, content=[{"type": "text", "text": text}])


def demands_text(demands: Iterable[Demand]) -> str:
    """The user's demands as a model reads them: verbatim."""
    lines = [
        f"- {'must' if demand.rule == 'must' else 'must not'} ({demand.about.replace('_', ' ')}): {demand.text}"
        for demand in demands
    ]
    return "# What I demand. It holds for all that you do, and nothing replaces it\n" + "\n".join(
        lines or ["- nothing"]
    )


# --- folds ----------------------------------------------------------------------------------------


@dataclass
class Made:
    """What exists because of this session, whatever is remembered of how it came about."""

    names: dict[str, None] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)  # id -> in words
    open_jobs: set[str] = field(default_factory=set)

    def take(self, entry: Entry) -> None:
        match entry.event:
            case ToolShowed(card=FileMade(path=path)):
                self.names[path] = None
            case RunEnded(produced=produced):
                self.names |= dict.fromkeys(produced)
            case JobSubmitted(job=job, title=title, where=where, url=url):
                words = f"{job}: {title} ({where}{', ' if url else ''}{url})"
                self.jobs[job] = cut(words, 2 * LONGEST_NAME)
                self.open_jobs.add(job)
            case JobEnded(job=job, files=files):
                self.open_jobs.discard(job)
                self.names |= dict.fromkeys(files)
            case _:
                pass

    def recent_names(self) -> tuple[str, ...]:
        return tuple(name[:LONGEST_NAME] for name in tuple(self.names)[-MOST_NAMED:])

    def job_lines(self) -> tuple[str, ...]:
        """Open jobs, all of them, after the newest that are over."""
        over = [words for job, words in self.jobs.items() if job not in self.open_jobs]
        going_on = [f"{words}: STILL OPEN" for job, words in self.jobs.items() if job in self.open_jobs]
        return (*over[-MOST_NAMED:], *going_on)


@dataclass
class Talk:
    """What was said and done, as steps for the model."""

    steps: list[MemoryStep] = field(default_factory=list)
    plan: tuple[Todo, ...] = ()
    plan_run: str = ""  # the run in which it was last made or changed
    demands: tuple[Demand, ...] = ()
    made: Made = field(default_factory=Made)
    answers: dict[int, list[str]] = field(default_factory=dict)  # by step: what the user said in answer to questions
    _run: str = ""
    _step: ActionStep | None = None
    _typed: str = ""  # the tool that the user typed, while it runs

    def take(self, entry: Entry) -> None:
        match entry.event:
            case UserSaid(run=run, text=text, files=files):
                self._run = run
                self.steps.append(Asked(task=task_text(text, files)))
            case RunEnded(why=why, answer=answer, message=message):
                self._end_step()
                self._answered(answer)
                if why != "answered" and self.steps and isinstance(last := self.steps[-1], ActionStep):
                    last.observations = f"{last.observations or ''}\n(This run ended here: {why}. {message})".strip()
            case DemandsSet(demands=demands) if demands != self.demands:
                self.demands = demands
                if self._step is None:
                    self.steps.append(Demanded(demands))
            case ToolShowed(card=PlanMade(todos=todos)):
                self.plan, self.plan_run = todos, self._run
            case ToolStarted(by=by, tool=tool):
                self._typed = tool if by == "user" else ""
            case ToolEnded(result=result, message=message, hint=hint) if self._typed:
                outcome = result or f"{message} {hint}"
                self.steps.append(TaskStep(task=f"(I called {self._typed} myself. It returned: {outcome})"))
                self._typed = ""
            case ApprovalAnswered(by="user", answer=answer, request=request) if self._step:
                said = [text for text in (answer.text, answer.reason) if text.strip()]
                if said and isinstance(request, Question):
                    said[0] += f"\n(my answer to your question: {cut(request.question, LONGEST_QUESTION)})"
                self.answers.setdefault(self._step.step_number, []).extend(said)
            case Compacted(step=step, summary=summary):
                self.steps = self.compacted(step, summary)
            case _:
                self._take_step(entry)

    def _take_step(self, entry: Entry) -> None:
        step = self._step
        match entry.event:
            case StepStarted(step=number):
                self._end_step()
                self._step = ActionStep(step_number=number, timing=Timing(start_time=entry.at), model_output="")
                self.steps.append(self._step)
            case TextSaid(text=text) if step:
                step.model_output += text
            case ReplyRestarted() if step:
                step.model_output = ""
            case CodeWritten(code=code) if step:
                step.code_action = code
            case StepEnded(observation=observation, error=error) if step:
                step.model_output = remembered(step.model_output, step.code_action)
                step.observations = observation or error or None
                self._end_step()
            case _:
                pass

    def _end_step(self) -> None:
        """Demands that came in the middle of a step stand after it."""
        if self._step and self.demands != self._demanded():
            self.steps.append(Demanded(self.demands))
        self._step = None

    def _answered(self, answer: str) -> None:
        """An answer that does not stand in the reply itself, such as a variable's value, is remembered beside it."""
        last = self.steps[-1] if self.steps else None
        if not answer or not isinstance(last, ActionStep):
            return
        said = str(last.model_output or "")
        if answer not in said and repr(answer)[1:-1] not in said:
            last.observations = f"{last.observations or ''}\n(Your answer was: {cut(answer, LONGEST_PROSE)})".strip()

    def _demanded(self) -> tuple[Demand, ...]:
        return next((s.demands for s in reversed(self.steps) if isinstance(s, Demanded | Summary)), ())

    def compacted(self, step: int, summary: str) -> list[MemoryStep]:
        """The steps as they are when all up to and with this one is told by a summary."""
        ends = [n for n, s in enumerate(self.steps, start=1) if isinstance(s, ActionStep) and s.step_number <= step]
        end = max(ends, default=1 if self.steps and isinstance(self.steps[0], Summary) else 0)
        words: list[str] = []
        for old in self.steps[:end]:
            match old:
                case Summary(words=said):
                    words += said
                case Asked(task=text):
                    words.append(text)
                case ActionStep(step_number=number):
                    words += self.answers.get(number, [])
                case _:
                    pass
        kept = Summary(
            step=step,
            text=summary,
            words=tuple(words),
            demands=self.demands,
            plan=self.plan,
            made=self.made.recent_names(),
            jobs=self.made.job_lines(),
        )
        return [kept, *self.steps[end:]]

    @property
    def whole(self) -> list[MemoryStep]:
        """Without the step that is being made: half a reply is nothing to go on from."""
        return [step for step in self.steps if step is not self._step]

    @property
    def open_plan(self) -> list[str]:
        """Items of a plan that was made or changed in this run and are not completed."""
        return [todo.text for todo in self.plan if todo.status != "completed"] if self.plan_run == self._run else []


@dataclass
class Recalled:
    """What happened so far: memory steps for the model, and the counters that ids go on from."""

    talk: Talk = field(default_factory=Talk)
    runs: int = 0
    last_step: int = 0
    calls: int = 0
    approvals: int = 0
    open_run: str = ""  # a run without an end
    open_step: int = 0
    open_approvals: dict[str, Request] = field(default_factory=dict)
    open_calls: set[str] = field(default_factory=set)
    title: str = ""

    @property
    def steps(self) -> list[MemoryStep]:
        return self.talk.steps

    def take(self, entry: Entry) -> None:
        """Counters and what is open. Nothing here is ever forgotten."""
        match entry.event:
            case UserSaid(run=run, text=text):
                self.runs, self.open_run = self.runs + 1, run
                self.title = self.title or text
            case RunEnded():
                self.open_run, self.open_step = "", 0
            case StepStarted(step=number):
                self.last_step = self.open_step = number
            case StepEnded():
                self.open_step = 0
            case ToolStarted(call=call):
                self.calls += 1
                self.open_calls.add(call)
            case ToolEnded(call=call):
                self.open_calls.discard(call)
            case ApprovalAsked(approval=approval, request=request):
                self.approvals += 1
                self.open_approvals[approval] = request
            case ApprovalAnswered(approval=approval):
                self.open_approvals.pop(approval, None)
            case _:
                pass


class Memory:
    """One session's memory. read: the journal's entries after a seq. For one thread at a time."""

    def __init__(self, read: Callable[[int], Iterable[Entry]]) -> None:
        self._read = read
        self._seq = 0
        self._taken_back: list[tuple[int, int]] = []  # seqs: after the first, before the mark
        self.past = Recalled()

    def catch_up(self) -> Recalled:
        """Take in what the journal holds by now. Only what is new is read, unless something was taken back."""
        for entry in self._read(self._seq):
            self._seq = entry.seq
            if isinstance(entry.event, Rewound):
                self._taken_back.append((entry.event.seq, entry.seq))
                self.past.talk = self._replay(entry.seq)
                self.past.talk.steps += self._note(entry.event.seq, entry.seq)
                continue
            self.past.take(entry)
            self.past.talk.made.take(entry)
            self.past.talk.take(entry)
        return self.past

    def _replay(self, before: int) -> Talk:
        talk = Talk()
        for entry in self._read(0):
            if entry.seq >= before:
                break
            talk.made.take(entry)  # what was made is there, whatever is remembered
            if any(first < entry.seq < last for first, last in self._taken_back):
                continue
            if isinstance(entry.event, Rewound):
                talk.steps += self._note(entry.event.seq, entry.seq)
            talk.take(entry)
        return talk

    def _note(self, seq: int, mark: int) -> list[MemoryStep]:
        note = note_on(self._read(seq), seq, mark)
        return [TaskStep(task=f"({note})")] if note else []


def recall(entries: Iterable[Entry]) -> Recalled:
    """All of a journal at once."""
    held: Sequence[Entry] = list(entries)
    return Memory(lambda after: (entry for entry in held if entry.seq > after)).catch_up()


def remembered(said: str, code: str | None) -> str:
    """A reply as the model reads it back: its prose and the code that ran, in the one form that it is asked to write.

    said: what it spoke, without thought.
    """
    if code is None:
        return cut(said.strip(), LONGEST_PROSE)
    return f"{cut(parse_reply(said).thought, LONGEST_PROSE)}\n<code>\n{code}\n</code>".lstrip()


def task_text(text: str, files: Iterable[str]) -> str:
    """What the model reads of a user's message."""
    names = ", ".join(f"uploads/{name}" for name in files)
    return f"{text}\n\n(Uploaded files: {names})" if names else text
