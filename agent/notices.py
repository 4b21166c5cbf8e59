"""Who is away is told: one message per question, end of a job, and failed run, to a Slack-compatible webhook."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from agent.events import Event, RunEnded
from agent.job_events import JobAlarm, JobAlerted, JobEnded, JobSubmitted
from tools.cards import Delete, GoOn, Question, RaiseCap, Request, Spend
from tools.money import usd
from tools.problem import Problem

log = logging.getLogger(__name__)

MOST_WAITING = 200  # messages; a webhook that hangs must not fill the memory
TRIES = 3
LONGEST = 300  # characters of what a stranger may have written


class Notices:
    """Sends in a thread of its own, in order. A message that cannot be sent is logged and given up."""

    def __init__(self, post: Callable[[dict[str, str]], int] | None, page: str = "", wait: float = 5.0) -> None:
        """post: send one message; returns the status, raises Problem. None: nobody is told. page: where to look.

        wait: seconds before a message that failed is tried again.
        """
        self._post, self._page, self._wait = post, page, wait
        self._waiting: queue.Queue[str | None] = queue.Queue(MOST_WAITING)
        self._titles: dict[str, str] = {}  # job -> title
        if post:
            threading.Thread(target=self._send_all, name="notices", daemon=True).start()

    def take(self, session: str, event: Event) -> None:
        """Look at one event of a session, just written. Never blocks and never raises."""
        if isinstance(event, JobSubmitted):
            self._titles[event.job] = event.title
        self._tell(session, self._words(event))

    def asked(self, session: str, request: Request) -> None:
        """A person is about to be asked. What the policy decides is not told: nobody need come for it."""
        self._tell(session, f"ML Intern needs you: {_asked(request)}")

    def _tell(self, session: str, text: str) -> None:
        if self._post is None or not text:
            return
        where = f" {self._page}?session={session}" if self._page else f" (session {session})"
        try:
            self._waiting.put_nowait(text + where)
        except queue.Full:
            log.warning("a notice was dropped: the webhook is too slow")

    def _words(self, event: Event) -> str:
        match event:
            case JobEnded(job=job, status=status, message=message):
                return _cut(f"Job “{self._titles.pop(job, job)}” {status}. {message}".strip())
            case JobAlarm(job=job, text=text):
                return _cut(f"Job “{self._titles.get(job, job)}”: {text}")
            case JobAlerted(job=job, level="warn" | "error" as level, text=text):
                return _cut(
                    f"Job “{self._titles.get(job, job)}” tells of {'an error' if level == 'error' else 'a warning'}: {text}"
                )
            case RunEnded(why="failed" | "budget", message=message):
                return _cut(f"A task could not be finished: {message}")
            case _:
                return ""

    def _send_all(self) -> None:
        assert self._post is not None  # noqa: S101  # the thread is started only then
        while (text := self._waiting.get()) is not None:
            for left in reversed(range(TRIES)):
                try:
                    status = self._post({"text": text})
                except Problem as problem:
                    log.warning("%s", problem)
                    status = 0
                if 200 <= status < 300:
                    break
                if 400 <= status < 500 and status != 429:
                    log.warning("the webhook refused a notice (%s)", status)
                    break
                if left:
                    time.sleep(self._wait)


def _asked(request: Request) -> str:
    match request:
        case Spend(title=title, hold_micro_usd=most):
            return _cut(f"may “{title}” run for at most {usd(most)}?")
        case Delete(repo=repo):
            return _cut(f"may {repo} be deleted?")
        case Question(question=question):
            return _cut(question)
        case RaiseCap(spent_micro_usd=spent):
            return f"thinking has cost {usd(spent)} and its limit is reached."
        case GoOn(steps=steps):
            return f"{steps} steps are used up. Go on?"


def _cut(text: str) -> str:
    """One line, without what Slack reads as a mention or a link."""
    line = " ".join(text.split()).replace("<", "‹").replace(">", "›")
    return line if len(line) <= LONGEST else line[:LONGEST] + "…"
