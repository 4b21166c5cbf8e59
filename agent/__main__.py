"""The same session without a screen: python -m agent "task".

With --json each Entry is one line on stdout. Exit codes: 0 answered, 1 failed, 2 wrong use, 3 stopped, 4 budget or step limit.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace

from agent.events import ApprovalAsked, RunEnded
from agent.models.selection import Wish
from agent.session import Session
from agent.sessions import OWN_MACHINE, Sessions, Unknown
from agent.settings import Settings, micro_usd
from agent.terminal import Terminal
from tools.problem import Problem

EXIT = {"answered": 0, "failed": 1, "stopped": 3, "budget": 4, "step_limit": 4}
WRONG_USE = 2


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    try:
        sessions = Sessions(_settings(options))
        session = _session(sessions, options.session)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return WRONG_USE
    try:
        if options.budget is not None:
            session.set_budget(micro_usd(options.budget), "both")
        if options.model or options.base_url:
            session.choose(Wish(sessions.settings.model_id, sessions.settings.model_base_url))
        return _run(session, options)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return WRONG_USE
    finally:
        sessions.close()


def _run(session: Session, options: argparse.Namespace) -> int:
    screen = Terminal(as_json=options.json)

    def interrupt(*_: object) -> None:
        threading.Thread(target=session.stop).start()  # not here: this thread may hold what stop needs
        screen.interrupt()

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    start = session.last_seq
    run = session.send(options.task)
    code = EXIT["failed"]
    for entry in session.follow(start):
        screen.show(entry)
        if isinstance(entry.event, ApprovalAsked) and session.is_open(entry.event.approval):
            _answer(session, screen, entry.event)
        if isinstance(entry.event, RunEnded) and entry.event.run == run:
            code = EXIT[entry.event.why]
    if not options.json:
        screen.goodbye(session.id)
    return code


def _answer(session: Session, screen: Terminal, asked: ApprovalAsked) -> None:
    """Ask the person until an answer counts, or none is needed any more."""
    while session.is_open(asked.approval):
        answer = screen.ask(asked.request, session.budget_for(asked.request))
        try:
            session.answer(asked.approval, answer)
        except Problem as problem:
            if answer.verdict == "no" or not session.is_open(asked.approval):
                return  # stopped meanwhile
            screen.tell(problem)


def _session(sessions: Sessions, id: str) -> Session:
    """The named session, made under that name if there is none; or a new one."""
    if not id:
        return sessions.create(OWN_MACHINE)
    try:
        return sessions.open(id, OWN_MACHINE)
    except Unknown:
        return sessions.create(OWN_MACHINE, id)


def _settings(options: argparse.Namespace) -> Settings:
    settings = Settings.from_environ()
    given = {
        "model_id": options.model,
        "model_base_url": options.base_url,
        "budget_micro_usd": micro_usd(options.budget) if options.budget is not None else None,
        "approve": options.approve or ("ask" if _terminal(options.json) else "none"),
    }
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def _terminal(as_json: bool) -> bool:
    return sys.stdin.isatty() and (sys.stderr if as_json else sys.stdout).isatty()


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m agent",
        description="Run one task without a screen.",
        epilog="Exit codes: 0 answered, 1 failed, 2 wrong use, 3 stopped, 4 budget or step limit.",
    )
    parser.add_argument("task", help="what to do, or a tool call such as '/papers_search preference optimization'")
    parser.add_argument("--json", action="store_true", help="print each journal entry as one line of JSON")
    parser.add_argument("--model", metavar="ID", help="model id (MODEL_ID)")
    parser.add_argument("--base-url", metavar="URL", help="OpenAI-compatible server (MODEL_BASE_URL)")
    parser.add_argument(
        "--budget", metavar="USD", help="the most this session may spend, on compute and model calls together (BUDGET)"
    )
    parser.add_argument(
        "--session", metavar="ID", default="", help="go on with this session, or give a new one this id"
    )
    parser.add_argument(
        "--approve",
        choices=("none", "within-budget"),
        help="without asking: refuse everything, or allow spending that fits into the budget. "
        "The default asks on a terminal and refuses elsewhere",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
