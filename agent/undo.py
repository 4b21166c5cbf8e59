"""Which part of a journal still stands, and which the user took back. Pure.

What was taken back stays in the journal and on the page. Money and jobs are never taken back.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.events import CodeWritten, Entry, Rewound, RunEnded, UserSaid
from agent.job_events import JobSubmitted
from tools.problem import Problem


def standing(entries: Iterable[Entry]) -> list[Entry]:
    """The entries that count for memory, the marks of taking back included."""
    stood: list[Entry] = []
    for entry in entries:
        if isinstance(entry.event, Rewound):
            while stood and stood[-1].seq > entry.event.seq:
                stood.pop()
        stood.append(entry)
    return stood


def turn_to_undo(entries: Iterable[Entry], run: str = "") -> int:
    """The seq to go back to for taking back a run and all after it, or without a run the last one. Raises Problem."""
    turns = [entry for entry in standing(entries) if isinstance(entry.event, UserSaid)]
    for entry in reversed(turns):
        if not run or (isinstance(entry.event, UserSaid) and entry.event.run == run):
            return entry.seq - 1
    if run:
        raise Problem(
            f"There is no message {run!r} to change.", "It may have been taken back already; reload the page."
        )
    raise Problem("There is nothing to take back.", "Send a message.")


def note_on(entries: Iterable[Entry], seq: int, mark: int) -> str:
    """What the model should know of what was taken back, which is all between seq and the mark: the world has not gone
    back with the words. "" where nothing was done but speak."""
    ran = False
    jobs: list[str] = []
    produced: list[str] = []
    for entry in entries:
        if not seq < entry.seq < mark:
            continue
        match entry.event:
            case JobSubmitted(job=job, title=title):
                jobs.append(f"{job} ({title})" if title else job)
            case RunEnded(produced=names):
                produced += names
            case CodeWritten():
                ran = True
            case _:
                pass
    if not (ran or jobs or produced):
        return ""
    told = ["The user took back what was said and done after this point. Python's variables may be from after it."]
    if jobs:
        told.append(f"Jobs that were started there were not undone: {', '.join(jobs)}.")
    if produced:
        told.append(f"What was made there is still there: {', '.join(dict.fromkeys(produced))}.")
    return " ".join(told)
