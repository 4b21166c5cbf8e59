"""`python -m tests.journeys.killed_at POINT TASK …`: the command line, which kills itself with SIGKILL at a named point.

The points lie between the user's word and the settlement, of a job or of a machine for generated code, in the order in
which they are passed. They are seen with Python's own profiler, so nothing of the app is exchanged.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

from agent.__main__ import main

_WRITTEN = "JournalWriter.emit"  # when it returns, its event is in the journal
POINTS = {  # the function, whether it begins or has ended, the kind of event
    "approved": (_WRITTEN, "return", "approval_answered"),
    "money held": (_WRITTEN, "return", "money_reserved"),
    "about to submit": (_WRITTEN, "return", "job_submitting"),
    "folder half made": ("write_json", "call", ""),
    "folder made": ("LocalJobs._publish", "return", ""),
    "script started": ("_spawn", "return", ""),
    "submitted": (_WRITTEN, "return", "job_submitted"),
    "logged": (_WRITTEN, "return", "job_logged"),
    "ended": (_WRITTEN, "return", "job_ended"),
    "settled": (_WRITTEN, "return", "money_settled"),
}

MACHINE_POINTS = {
    "it is agreed to": (_WRITTEN, "return", "approval_answered"),
    "its money is held": (_WRITTEN, "return", "money_reserved"),
    "it is about to be submitted": (_WRITTEN, "return", "job_submitting"),
    "the Hub has taken it": ("JobsHub.submit", "return", ""),
    "it is known": (_WRITTEN, "return", "job_submitted"),
    "it runs": ("HubSandbox.ready", "return", ""),
    "it is about to be cancelled": ("JobsHub.cancel", "call", ""),
    "the Hub has cancelled it": ("JobsHub.cancel", "return", ""),
    "its end is known": (_WRITTEN, "return", "job_ended"),
    "it is settled": (_WRITTEN, "return", "money_settled"),
}


def watch(point: str) -> None:
    name, when, kind = (POINTS | MACHINE_POINTS)[point]

    def look(frame: FrameType, event: str, _: object) -> None:
        if event != when or frame.f_code.co_qualname != name:
            return
        if not kind or getattr(frame.f_locals.get("event"), "kind", "") == kind:
            os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(look)
    sys.setprofile(look)


if __name__ == "__main__":
    watch(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
