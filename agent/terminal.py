"""Events on a terminal: for a person with rich, for a program as JSON lines."""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from typing import assert_never

from rich.console import Console
from rich.markdown import Markdown
from rich.syntax import Syntax

from agent.events import (
    ApprovalAnswered,
    ApprovalAsked,
    BudgetSet,
    CodeWritten,
    Compacted,
    DemandsSet,
    Entry,
    Event,
    Guarded,
    ModelChosen,
    MoneyCorrected,
    MoneyReleased,
    MoneyReserved,
    MoneySettled,
    Noticed,
    OutputPrinted,
    ReasoningSaid,
    ReplyRestarted,
    Rewound,
    RunEnded,
    SandboxReported,
    StepEnded,
    StepStarted,
    TextSaid,
    ToolEnded,
    ToolSaid,
    ToolShowed,
    ToolStarted,
    UserSaid,
)
from agent.job_events import (
    JobAlarm,
    JobAlerted,
    JobBilled,
    JobEnded,
    JobForecast,
    JobLeft,
    JobLogged,
    JobMeasured,
    JobSubmitted,
    JobSubmitting,
    JobTracked,
    JobUsed,
)
from agent.terminal_words import card_words, job_words, plain, request_words, safe, short
from tools.cards import Answer, Question, Request
from tools.money import usd_exact
from tools.problem import Problem

INTERRUPT_SECONDS = 0.2  # until an interrupt is seen that came just before the wait began
LONGEST_LINE = 65_536  # bytes

SILENT = (
    UserSaid,  # whoever reads has just typed it
    ReasoningSaid,  # long, and no part of the reply
    ToolSaid,  # what a tool says on its way is in its result
    SandboxReported,  # for whoever asks: python -m agent.sandbox
    ModelChosen,  # each step begins with the name of its model
    BudgetSet,  # a limit is told with the request that needs it and with the answer that raises it
    MoneyReserved,  # the request said the most that it can cost
    MoneySettled,  # of thinking, after each call; of a job, its bill is told
    MoneyReleased,  # what did not start says so itself
    MoneyCorrected,  # thinking, by the bill: a few cents
    JobSubmitting,  # that it was submitted, or could not be, follows at once
    JobMeasured,  # numbers for the curves of a page
    JobUsed,  # every few seconds
    JobForecast,  # every few seconds; an alarm tells when it would take too long
)
"""Events that a terminal leaves out. Every other kind is drawn."""


class Terminal:
    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False, stderr=as_json)  # what a program reads holds no prompts
        self._interrupted = threading.Event()
        self._typed: set[str] = set()  # calls that the person made: their results are the answer

    def show(self, entry: Entry) -> None:
        if self._as_json:
            sys.stdout.write(entry.model_dump_json() + "\n")
            sys.stdout.flush()
        else:
            self._draw(entry.event)

    def _draw(self, event: Event) -> None:
        say = self._console.print
        match event:
            case TextSaid(text=text) | OutputPrinted(text=text) | JobLogged(text=text):
                self._console.out(plain(text), end="", highlight=False)
            case StepStarted(step=step, model=model):
                say(f"\n[bold]Step {step}[/] [dim]{safe(model)}[/]")
            case ReplyRestarted(reason=reason, attempt=attempt, wait_seconds=wait):
                say(f"\n[yellow]{safe(reason)} Trying again in {wait:.0f} s (attempt {attempt}).[/]")
            case CodeWritten(code=code):
                say()
                say(Syntax(plain(code), "python", background_color="default"))
            case ToolStarted() | ToolEnded():
                self._draw_call(event)
            case ToolShowed(card=card):
                say(card_words(card))
            case ApprovalAsked(request=request):
                say(request_words(request))
            case ApprovalAnswered(answer=answer, by=by, raised_from_micro_usd=before):
                say(f"[bold]{answer.verdict}[/] by {by}" + (f": {safe(answer.reason)}" if answer.reason else ""))
                if before is not None and answer.budget_micro_usd is not None:
                    say(f"The budget was raised from {usd_exact(before)} to {usd_exact(answer.budget_micro_usd)}.")
            case JobSubmitted() | JobTracked() | JobAlerted() | JobAlarm() | JobEnded() | JobLeft() | JobBilled():
                say(job_words(event))
            case DemandsSet(demands=demands):
                say(f"[dim]Pinned: {safe('; '.join(one.text for one in demands)) or 'nothing'}[/]")
            case Rewound():
                say("[dim]The last turn was taken back.[/]")
            case Noticed(text=text) | Guarded(text=text):
                say(f"[yellow]{safe(text)}[/]")
            case Compacted(step=step, tokens_before=before, tokens_after=after):
                say(f"[dim]Steps up to {step} were summarised: {before:,} to {after:,} tokens.[/]")
            case StepEnded(seconds=seconds, input_tokens=read, output_tokens=wrote, error=error):
                tokens = f", {read:,} tokens in, {wrote:,} out" if read is not None and wrote is not None else ""
                say(f"[dim]{seconds:.1f} s{tokens}[/]" + (f" [red]{safe(short(error))}[/]" if error else ""))
            case RunEnded(answer=answer, message=message):
                say()
                if answer:
                    say(Markdown(plain(answer)))
                if message:
                    say(f"[bold]{safe(message)}[/]")
            case _:
                if not isinstance(event, SILENT):
                    assert_never(event)

    def _draw_call(self, event: ToolStarted | ToolEnded) -> None:
        """A call that the person typed is answered in full; of the agent's own a line is enough."""
        say = self._console.print
        match event:
            case ToolStarted(call=call, tool=tool, args=args, by=by):
                if by == "user":
                    self._typed.add(call)
                say(f"[cyan]→ {safe(tool)}[/] [dim]{safe(short(json.dumps(args, ensure_ascii=False)))}[/]")
            case ToolEnded(call=call, why="done", result=result) if call in self._typed:
                say(safe(result))
            case ToolEnded(why="done", seconds=seconds, result=result):
                say(f"[cyan]←[/] [dim]{seconds:.1f} s {safe(short(result))}[/]")
            case ToolEnded(message=message, hint=hint):
                say(f"[yellow]← {safe(message)} {safe(hint)}[/]")
            case _:
                assert_never(event)

    def ask(self, request: Request, budget: int | None = None) -> Answer:
        """Ask the person at the terminal. End of input is a no.

        budget: the limit for compute, in micro-dollars, that the request needs; None: none higher than there is.
        """
        if self._as_json:
            self._console.print(request_words(request))
        agree = "Agree?"
        if budget is not None:
            self._console.print(f"The budget must be raised to {usd_exact(budget)} for that.")
            agree = f"Raise it to {usd_exact(budget)} and start?"
        is_question = isinstance(request, Question)
        said = self._typed_line("Your answer: " if is_question else f"{agree} [y/N, or a reason why not] ")
        if said is None:
            return Answer(verdict="no", reason="no answer")
        if isinstance(request, Question):
            if said.isdigit() and 0 < int(said) <= len(request.options):
                said = request.options[int(said) - 1]
            return Answer(verdict="yes", text=said) if said else Answer(verdict="no", reason="no answer")
        if said.lower() in ("y", "yes"):
            return Answer(verdict="yes", budget_micro_usd=budget)
        return Answer(verdict="no", reason="" if said.lower() in ("", "n", "no") else said)

    def tell(self, problem: Problem) -> None:
        """Why an answer does not count."""
        self._console.print(f"[yellow]{safe(str(problem))}[/]")

    def interrupt(self) -> None:
        """Give up waiting for the person, now and from here on."""
        self._interrupted.set()

    def _typed_line(self, prompt: str) -> str | None:
        """The line that the person types; None at the end of input or when interrupted.

        Not input(): an interrupt between its last look at signals and its read would leave it waiting for ever.
        """
        self._console.print(f"[bold]{safe(prompt)}[/]", end="")
        terminal = sys.stdin.fileno()
        while not self._interrupted.is_set():
            if select.select([terminal], [], [], INTERRUPT_SECONDS)[0]:
                line = os.read(terminal, LONGEST_LINE)  # a terminal hands over one line at a time
                return line.decode(errors="replace").strip() if line else None
        return None

    def goodbye(self, session: str) -> None:
        self._console.print(f"[dim]Session {session}: go on with --session {session}[/]")
