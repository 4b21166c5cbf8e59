"""What a terminal says of requests, cards and jobs, in rich's markup. What comes from outside is escaped here.

Each match is whole: a kind that was given no words is a type error.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import assert_never

from rich.markup import escape

from agent.job_events import JobAlarm, JobAlerted, JobBilled, JobEnded, JobLeft, JobSubmitted, JobTracked
from tools.cards import (
    Card,
    Delete,
    FileMade,
    GoOn,
    PaperOpened,
    PapersFound,
    PlanMade,
    Question,
    RaiseCap,
    ReposFound,
    Request,
    Spend,
    Todo,
)
from tools.money import usd, usd_exact, usd_range

ROWS = 4  # of a list; how many more there are is told
EXCERPT = 600  # characters of a paper's text
MARKS = {"pending": " ", "in_progress": "›", "completed": "x"}


def request_words(request: Request) -> str:
    match request:
        case Question(question=question, options=options):
            choices = "".join(f"\n  {n}. {safe(option)}" for n, option in enumerate(options, start=1))
            return f"\n[bold]{safe(question)}[/]{choices}"
        case Delete(repo=repo):
            return f"\n[bold]Delete {safe(repo)} and its whole history?[/] It cannot be undone."
        case RaiseCap(spent_micro_usd=spent, needed_micro_usd=needed, cap_micro_usd=cap):
            return (
                f"\n[bold]Thinking has cost {usd(spent)}; the next call may cost {usd(needed)} more.[/]"
                f" Go on with a limit of {usd_exact(cap)}?"
            )
        case GoOn(steps=steps, more=more):
            return f"\n[bold]{steps} steps are used up.[/] Go on for {more} more?"
        case Spend() as spend:
            place = f"{spend.where} ({spend.flavor})" if spend.flavor else spend.machines
            lines = [
                f"\n[bold]{safe(spend.title)}[/]",
                f"Runs on {safe(place)} for at most {spend.timeout_seconds} s; costs at most {usd(spend.hold_micro_usd)}.",
                *_repeats(spend),
                *_foreseen(spend),
                f"Packages: {safe(', '.join(spend.dependencies) or 'none')}. Secrets: {safe(', '.join(spend.secrets) or 'none')}.",
                *(
                    [f"Live dashboard: {safe(spend.dashboard)}, a private Space and bucket, made if not there."]
                    * bool(spend.dashboard)
                ),
                safe(spend.script),
            ]
            return "\n".join(lines)
        case _:
            assert_never(request)


def card_words(card: Card) -> str:
    match card:
        case PapersFound(query=query, source=source, papers=papers):
            return _listed(
                len(papers), "paper", f"“{query}”, {source}", rows=[f"{one.id} {one.title}" for one in papers]
            )
        case PaperOpened(sections=sections, text=text):
            parts = [_paper_head(card), *[f"  {safe(name)}" for name in sections]]
            return "\n".join([*parts, f"[dim]{safe(_cut(text, EXCERPT))}[/]"] if text else parts)
        case ReposFound(repo_kind=kind, query=query, repos=repos):
            return _listed(len(repos), kind, f"“{query}”", rows=[" · ".join([repo.id, *repo.facts]) for repo in repos])
        case PlanMade(todos=todos):
            return "\n".join([f"[cyan]Plan[/] {_completed(todos)}", *[_todo(todo) for todo in todos]])
        case FileMade(path=path, bytes=size, job=job):
            return f"[cyan]File[/] {safe(path)}, {size:,} bytes" + (f", of job {safe(job)}" if job else "")
        case _:
            assert_never(card)


def job_words(event: JobSubmitted | JobTracked | JobAlerted | JobAlarm | JobEnded | JobLeft | JobBilled) -> str:
    head = f"[magenta]Job {safe(event.job)}[/]"
    match event:
        case JobSubmitted(title=title):
            return f"{head} {safe(title)}"
        case JobTracked(url=url, note=note):
            return f"{head} {safe(' '.join(filter(None, [note, url and f'Its dashboard is {url}'])))}"
        case JobAlerted(level=level, text=text, step=step):
            return f"{head} [bold]{level}[/]: {safe(text)}" + ("" if step is None else f" (step {step})")
        case JobAlarm(text=text):
            return f"{head} [bold]alarm[/]: {safe(text)}"
        case JobEnded(job=job, status=status, seconds=seconds, message=message):
            ended = f"[magenta]Job {safe(job)} {status}[/] after {seconds:.0f} s"
            return ended + (f": {safe(message)}" if message else "")
        case JobLeft(files=files, rest=rest, folder=folder):
            return f"{head} left {len(files) + rest} files in {safe(folder)}"
        case JobBilled(job=job, micro_usd=billed, message=message):
            unknown = f"[dim]Job {safe(job)}: {safe(message)} What was reckoned counts.[/]"
            return unknown if billed is None else f"{head} was billed at {usd_exact(billed)}"
        case _:
            assert_never(event)


def short(text: str, limit: int = 200) -> str:
    """On one line, cut."""
    return _cut(" ".join(text.split()), limit)


def plain(text: str) -> str:
    """Without control characters: what was printed elsewhere must not steer this terminal."""
    return "".join(c for c in text if c in "\n\t" or c.isprintable())


def safe(text: str) -> str:
    """Plain, and no markup either."""
    return escape(plain(text))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + " …"


def _listed(number: int, noun: str, of: str, *, rows: Sequence[str]) -> str:
    head = f"[cyan]{number:,} {noun}{'' if number == 1 else 's'}[/] {safe(of)}"
    more = [f"  [dim]and {len(rows) - ROWS:,} more[/]"] if len(rows) > ROWS else []
    return "\n".join([head, *[f"  {safe(short(row))}" for row in rows[:ROWS]], *more])


def _paper_head(card: PaperOpened) -> str:
    facts = ", ".join(filter(None, [card.id, card.source, card.section]))
    return f"[cyan]Paper[/] {safe(card.title or card.id)} [dim]({safe(facts)})[/]"


def _completed(todos: Sequence[Todo]) -> str:
    return f"{sum(todo.status == 'completed' for todo in todos)} of {len(todos)} completed"


def _todo(todo: Todo) -> str:
    return f"  {escape(f'[{MARKS[todo.status]}]')} {safe(todo.text)}"


def _repeats(spend: Spend) -> list[str]:
    if not spend.due:
        return []
    first, last = (f"{datetime.fromtimestamp(at, UTC):%d %b %Y %H:%M}" for at in (spend.due[0], spend.due[-1]))
    return [f"Repeats {safe(spend.rhythm)}, {spend.runs} times: the first on {first}, the last by {last}."]


def _foreseen(spend: Spend) -> list[str]:
    known = spend.foreseen
    if known is None:
        return []
    if known.seconds_low is None or not known.micro_usd_low or not known.micro_usd_high:
        lines = [f"Foreseen: {safe(known.words)}."]
    else:
        money = usd_range(known.micro_usd_low, known.micro_usd_high)
        lines = [f"Likely {money}, {safe(known.words)}."]
    if known.seconds_low is not None and known.seconds_low > spend.timeout_seconds:
        lines.append("[bold]Even the least that is likely is past its time limit: it would be cut off unfinished.[/]")
    return lines
