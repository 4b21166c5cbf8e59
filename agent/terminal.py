"""Events on a terminal: for a person with rich, for a program as JSON lines."""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from datetime import UTC, datetime

from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.syntax import Syntax

from agent.events import (
    ApprovalAnswered,
    ApprovalAsked,
    CodeWritten,
    Compacted,
    DemandsSet,
    Entry,
    Guarded,
    JobAlarm,
    JobAlerted,
    JobBilled,
    JobEnded,
    JobLeft,
    JobLogged,
    JobSubmitted,
    JobTracked,
    Noticed,
    OutputPrinted,
    ReplyRestarted,
    Rewound,
    RunEnded,
    StepEnded,
    StepStarted,
    TextSaid,
    ToolEnded,
    ToolStarted,
)
from tools.cards import Answer, Delete, GoOn, Question, RaiseCap, Request, Spend
from tools.money import usd
from tools.problem import Problem

INTERRUPT_SECONDS = 0.2  # until an interrupt is seen that came just before the wait began
LONGEST_LINE = 65_536  # bytes


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
            self._draw(entry)

    def _draw(self, entry: Entry) -> None:
        say = self._console.print
        match entry.event:
            case StepStarted(step=step, model=model):
                say(f"\n[bold]Step {step}[/] [dim]{escape(model)}[/]")
            case TextSaid(text=text) | OutputPrinted(text=text) | JobLogged(text=text):
                self._console.out(_plain(text), end="", highlight=False)
            case ReplyRestarted(reason=reason, attempt=attempt, wait_seconds=wait):
                say(f"\n[yellow]{escape(reason)} Trying again in {wait:.0f} s (attempt {attempt}).[/]")
            case CodeWritten(code=code):
                say()
                say(Syntax(code, "python", background_color="default"))
            case ToolStarted(call=call, tool=tool, args=args, by=by):
                if by == "user":
                    self._typed.add(call)
                say(f"[cyan]→ {escape(tool)}[/] [dim]{escape(_short(json.dumps(args, ensure_ascii=False)))}[/]")
            case ToolEnded(call=call, why="done", result=result) if call in self._typed:
                say(escape(_plain(result)))
            case ToolEnded(why="done", seconds=seconds, result=result):
                say(f"[cyan]←[/] [dim]{seconds:.1f} s {escape(_short(_plain(result)))}[/]")
            case ToolEnded(message=message, hint=hint):
                say(f"[yellow]← {escape(_plain(message))} {escape(_plain(hint))}[/]")
            case ApprovalAsked(request=request):
                say(_described(request))
            case ApprovalAnswered(answer=answer, by=by, raised_from_micro_usd=before):
                say(f"[bold]{answer.verdict}[/] by {by}" + (f": {escape(answer.reason)}" if answer.reason else ""))
                if before is not None and answer.budget_micro_usd is not None:
                    say(f"The budget was raised from {usd(before)} to {usd(answer.budget_micro_usd)}.")
            case JobSubmitted(job=job, title=title):
                say(f"[magenta]Job {escape(job)}[/] {escape(title)}")
            case JobTracked(job=job, url=url, note=note):
                said = f"{note} {f'Its dashboard is {url}' if url else ''}"
                say(f"[magenta]Job {escape(job)}[/] {escape(_plain(said.strip()))}")
            case JobAlerted(job=job, level=level, text=text, step=step):
                at = "" if step is None else f" (step {step})"
                say(f"[magenta]Job {escape(job)}[/] [bold]{level}[/]: {escape(_plain(text))}{at}")
            case JobAlarm(job=job, text=text):
                say(f"[magenta]Job {escape(job)}[/] [bold]alarm[/]: {escape(_plain(text))}")
            case JobEnded(job=job, status=status, seconds=seconds, message=message):
                why = f": {_plain(message)}" if message else ""
                say(f"[magenta]Job {escape(job)} {status}[/] after {seconds:.0f} s{escape(why)}")
            case JobLeft(job=job, files=files, rest=rest, folder=folder):
                say(f"[magenta]Job {escape(job)}[/] left {len(files) + rest} files in {escape(_plain(folder))}")
            case JobBilled(job=job, micro_usd=None, message=message):
                say(f"[dim]Job {escape(job)}: {escape(_plain(message))} What was reckoned counts.[/]")
            case JobBilled(job=job, micro_usd=int(billed)):
                say(f"[magenta]Job {escape(job)}[/] was billed at {usd(billed)}")
            case DemandsSet(demands=demands):
                say(f"[dim]Pinned: {escape(_plain('; '.join(one.text for one in demands))) or 'nothing'}[/]")
            case Rewound():
                say("[dim]The last turn was taken back.[/]")
            case Noticed(text=text):
                say(f"[yellow]{escape(text)}[/]")
            case Guarded(text=text):
                say(f"[yellow]{escape(_plain(text))}[/]")
            case Compacted(step=step, tokens_before=before, tokens_after=after):
                say(f"[dim]Steps up to {step} were summarised: {before:,} to {after:,} tokens.[/]")
            case StepEnded(seconds=seconds, input_tokens=read, output_tokens=wrote, error=error):
                tokens = f", {read:,} tokens in, {wrote:,} out" if read is not None and wrote is not None else ""
                say(f"[dim]{seconds:.1f} s{tokens}[/]" + (f" [red]{escape(_short(_plain(error)))}[/]" if error else ""))
            case RunEnded(answer=answer, message=message):
                say()
                if answer:
                    say(Markdown(_plain(answer)))
                if message:
                    say(f"[bold]{escape(message)}[/]")
            case _:
                pass

    def ask(self, request: Request, budget: int | None = None) -> Answer:
        """Ask the person at the terminal. End of input is a no.

        budget: the limit for compute, in micro-dollars, that the request needs; None: none higher than there is.
        """
        if self._as_json:
            self._console.print(_described(request))
        agree = "Agree?"
        if budget is not None:
            self._console.print(f"The budget must be raised to {usd(budget)} for that.")
            agree = f"Raise it to {usd(budget)} and start?"
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
        self._console.print(f"[yellow]{escape(_plain(str(problem)))}[/]")

    def interrupt(self) -> None:
        """Give up waiting for the person, now and from here on."""
        self._interrupted.set()

    def _typed_line(self, prompt: str) -> str | None:
        """The line that the person types; None at the end of input or when interrupted.

        Not input(): an interrupt between its last look at signals and its read would leave it waiting for ever.
        """
        self._console.print(f"[bold]{escape(prompt)}[/]", end="")
        terminal = sys.stdin.fileno()
        while not self._interrupted.is_set():
            if select.select([terminal], [], [], INTERRUPT_SECONDS)[0]:
                line = os.read(terminal, LONGEST_LINE)  # a terminal hands over one line at a time
                return line.decode(errors="replace").strip() if line else None
        return None

    def goodbye(self, session: str) -> None:
        self._console.print(f"[dim]Session {session}: go on with --session {session}[/]")


def _described(request: Request) -> str:
    match request:
        case Question(question=question, options=options):
            choices = "".join(f"\n  {n}. {escape(_plain(o))}" for n, o in enumerate(options, start=1))
            return f"\n[bold]{escape(_plain(question))}[/]{choices}"
        case Delete(repo=repo):
            return f"\n[bold]Delete {escape(_plain(repo))} and its whole history?[/] It cannot be undone."
        case RaiseCap(spent_micro_usd=spent, needed_micro_usd=needed, cap_micro_usd=cap):
            return (
                f"\n[bold]Thinking has cost {usd(spent)}; the next call may cost {usd(needed)} more.[/]"
                f" Go on with a limit of {usd(cap)}?"
            )
        case GoOn(steps=steps, more=more):
            return f"\n[bold]{steps} steps are used up.[/] Go on for {more} more?"
        case Spend() as spend:
            place = f"{spend.where} ({spend.flavor})" if spend.flavor else spend.machines
            lines = [
                f"\n[bold]{escape(_plain(spend.title))}[/]",
                f"Runs on {escape(place)} for at most {spend.timeout_seconds} s; costs at most {usd(spend.hold_micro_usd)}.",
                *_repeats(spend),
                *_foreseen(spend),
                f"Packages: {escape(', '.join(spend.dependencies) or 'none')}. Secrets: {escape(', '.join(spend.secrets) or 'none')}.",
                *(
                    [f"Live dashboard: {escape(spend.dashboard)}, a private Space and bucket, made if not there."]
                    * bool(spend.dashboard)
                ),
                escape(_plain(spend.script)),
            ]
            return "\n".join(lines)


def _repeats(spend: Spend) -> list[str]:
    if not spend.due:
        return []
    first, last = (f"{datetime.fromtimestamp(at, UTC):%d %b %Y %H:%M}" for at in (spend.due[0], spend.due[-1]))
    return [f"Repeats {escape(spend.rhythm)}, {spend.runs} times: the first on {first}, the last by {last}."]


def _foreseen(spend: Spend) -> list[str]:
    found = spend.foreseen
    if found is None:
        return []
    if found.seconds_low is None or not found.micro_usd_low or not found.micro_usd_high:
        told = [f"Foreseen: {escape(_plain(found.words))}."]
    else:
        money = f"{usd(found.micro_usd_low)} to {usd(found.micro_usd_high)}"
        told = [f"Likely {money}, {escape(_plain(found.words))}."]
    if found.seconds_low is not None and found.seconds_low > spend.timeout_seconds:
        told.append("[bold]Even the least that is likely is past its time limit: it would be cut off unfinished.[/]")
    return told


def _short(text: str, limit: int = 200) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[:limit] + " …"


def _plain(text: str) -> str:
    """Without control characters: what was printed elsewhere must not steer this terminal."""
    return "".join(c for c in text if c in "\n\t" or c.isprintable())
