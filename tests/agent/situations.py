"""The moments in which somebody presses Stop. Each comes in the second run of a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.events import ApprovalAsked, OutputPrinted, ReplyRestarted, TextSaid
from agent.job_events import JobLogged
from agent.session import Session
from tests.agent.living import code, wait_for
from tests.doubles.model_server import ModelServer, Reply
from tools.cards import Answer


def asked(session: Session, server: ModelServer) -> None:
    server.wait_for_request(2)


def printed(session: Session, _: ModelServer) -> None:
    wait_for(session, OutputPrinted)


def spoke(session: Session, _: ModelServer) -> None:
    wait_for(session, TextSaid, lambda event: event.step == 2)


def retried(session: Session, _: ModelServer) -> None:
    wait_for(session, ReplyRestarted)


def questioned(session: Session, _: ModelServer) -> None:
    wait_for(session, ApprovalAsked)


def job_logged(session: Session, _: ModelServer) -> None:
    wait_for(session, JobLogged)


LONG_JOB = 'script = "import time\\nprint(1, flush=True)\\ntime.sleep(60)"\njob_run(script)'


@dataclass(frozen=True)
class Situation:
    """The model's reply of step 2, and how to see that the run has come to the moment meant."""

    reply: Reply
    begun: Callable[[Session, ModelServer], object]

    def reached(self, session: Session, server: ModelServer) -> str:
        """Send, and wait for the moment. Returns the run."""
        run = session.send("Go")
        if "job_run" in self.reply.text:
            session.answer(wait_for(session, ApprovalAsked).approval, Answer(verdict="yes"))
        self.begun(session, server)
        return run


SITUATIONS: dict[str, Situation] = {
    "the model speaks": Situation(Reply("word " * 5000, delay=0.01), spoke),
    "the model is silent": Situation(Reply("late", silence=60.0), asked),
    "a tool blocks": Situation(code(LONG_JOB), job_logged),
    "an endless loop": Situation(code("print('on', flush=True)\nwhile True: pass"), printed),
    "waiting for approval": Situation(code("ask_user('Which?')"), questioned),
    "retry back-off": Situation(Reply(status=503, headers={"retry-after": "50"}), retried),
    "code that ignores Stop": Situation(
        code("print('on')\nwhile True:\n    try:\n        while True: pass\n    except BaseException: pass"),
        printed,
    ),
}
