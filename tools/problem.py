"""Every error of this app, and here those that several rooms raise or catch.

Below its parent each stands once; in brackets where it is defined, unless it is here. What a visitor or the model reads
of any of them is a Problem's words; the others are caught in the room that raises them, and put into such words.

BaseException
    RunEnd: a run ends without an answer
        Stopped: the user pressed Stop
            NotAsked: before the model was asked, so nothing is owed (agent/models/deltas.py)
        CapReached: the next call does not fit under the limit for thinking (agent/models/metered.py)
        StepLimit: all steps are used up (agent/loop/coder.py)
        Failure: something went wrong (agent/run.py)
    TooSlow: one page of a PDF takes too long (tools/papers/pdf_child.py)
    _TooMuch: a variable is too large or too slow to be saved (agent/sandbox/inside/snapshot.py)
    SystemExit
        FinalAnswer: generated code has given its answer (agent/sandbox/inside/worker.py)
    Exception
        Problem: what is wrong, then what to do
            Refused: the user, or the policy in the user's name, said no
            Unknown: no session of this owner has that id (agent/sessions.py)
            TooLong: a request does not fit into the model's window (agent/models/faults.py)
            NotThere: the Hub has no such thing, or does not say so
            NotAllowed: this token may not do it
            MaybeStarted: whether a job was started is not known
            NoBill: what a job is billed will never be known
            MachineEnded: the machine that was asked runs no more
            Lacking: a dashboard cannot be had (tools/jobs/remote/trackio.py)
            _Taken: somebody else was faster to write there (tools/jobs/remote/trackio.py)
            Refusal: a request of the page is answered by an HTTP status (ui/guard.py)
            NotLetIn: a request comes from nobody who could be known (ui/login.py)
        Failed: a request to a model's server came to nothing (agent/models/endpoint.py)
        _Unwanted: the server does not want optional fields (agent/models/endpoint.py)
        ReplyTooLong: a model says more than any reply needs (agent/models/completion.py)
        EventTooLong: a model's server sends an event without an end (agent/models/sse.py)
        WorkerBroken: the process that runs generated code is gone or lies (agent/sandbox/messages.py)
        _Fatal: to load a variable once ended the process (agent/sandbox/inside/snapshot.py)
        ToolError: a Problem, as generated code sees it (agent/sandbox/inside/worker.py)
            ToolRefused: a Refused, as generated code sees it (agent/sandbox/inside/worker.py)
        _NotHere: the app's own packages will not do for a job (tools/jobs/here/installed.py)
"""

from __future__ import annotations

from typing import ClassVar, Literal


class Problem(Exception):
    """What is wrong, with the value; then what to do, with the choices. Model and user read the same words."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class Refused(Problem):
    """The user, or the policy in the user's name, said no. An ordinary result that the model reads."""


class NotThere(Problem):
    """The Hub has no such thing, or does not let this user know of it."""


class NotAllowed(Problem):
    """This token may not do it, and asking again does not help."""


class MaybeStarted(Problem):
    """Whether the job was started is not known. Its money stays held until the place has been asked again."""


class NoBill(Problem):
    """There will never be a bill for this job that could be read; message says why."""


class MachineEnded(Problem):
    """The machine that was asked runs no more."""


class RunEnd(BaseException):
    """A run ends without an answer. Not an Exception, so that no tool and no library swallows it."""

    why: ClassVar[Literal["stopped", "budget", "step_limit", "failed"]]

    def __init__(self, message: str) -> None:
        """message: what the user reads of it."""
        super().__init__(message)
        self.message = message


class Stopped(RunEnd):
    """The user pressed Stop."""

    why = "stopped"

    def __init__(self, message: str = "You stopped this run. Send a message to go on.") -> None:
        super().__init__(message)
