"""A machine for generated code, where none may run here: a sandbox on the user's account, rented after the user's yes.

It is a job like any other: held, labelled, found again, swept, billed. It ends with who uses it, by itself when for a
while nothing in it runs and nobody asks, and at the end of the agreed time. No token of the user is ever in it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from agent.jobs.job import SessionJob
from agent.jobs.jobs import Jobs
from agent.sandbox.rental import Consent, RentedMachine
from tools.cards import Answer, Spend
from tools.jobs.place import MachineConnection
from tools.jobs.request import payer_of
from tools.problem import MachineEnded, Problem, Refused

FLAVOR = "cpu-basic"
SECONDS = 4 * 3600
IDLE_SECONDS = 300
SETUP = "python3 -m pip install --quiet --root-user-action=ignore numpy pandas pyarrow matplotlib"
PORT = 41983  # for us, in the machine
FOLDER = "/tmp/ml-intern"  # noqa: S108  # in the machine, which is nobody else's


class SandboxMachine:
    """A sandbox of the session's jobs, as agent.sandbox.remote wants a machine."""

    def __init__(
        self, jobs: Jobs, job: SessionJob, *, folder: str = FOLDER, port: int = PORT, setup: str = SETUP
    ) -> None:
        self.folder, self.port, self.setup = folder, port, setup
        self._jobs, self._job = jobs, job
        self._sandbox = job.machine()
        self._connection: MachineConnection | None = None
        self._connecting = threading.Lock()

    @property
    def revoked(self) -> bool:
        return self._job.cancelled

    def ready(self) -> bool:
        try:
            return self._sandbox.ready()
        except MachineEnded:
            raise
        except Problem:  # the Hub is out of reach for a moment
            return False

    def put(self, path: str, data: bytes) -> None:
        self._connected().put(path, data)

    def run(self, command: str) -> None:
        self._connected().begin(command)

    def get(self, path: str) -> AbstractContextManager[Iterator[bytes]]:
        return self._connected().get(self.port, path)

    def post(self, path: str, data: bytes) -> bytes:
        return self._connected().post(self.port, path, data)

    def kill(self) -> None:
        self._jobs.release(self._job)
        with self._connecting:
            if self._connection:
                self._connection.close()

    def _connected(self) -> MachineConnection:
        with self._connecting:
            if self._connection is None:
                self._connection = self._sandbox.connect()
            return self._connection


def renting(
    jobs: Jobs,
    ask: Callable[[Spend], tuple[Answer, Spend]],
    machine: Callable[[Jobs, SessionJob], RentedMachine] = SandboxMachine,
) -> Callable[[], Consent]:
    """What the executor calls when it needs a machine. ask: put the card before the user."""

    def consent() -> Consent:
        answer, agreed = ask(proposal(jobs))
        if answer.verdict == "no":
            why = f": {answer.reason}" if answer.reason else ""
            raise Refused(f"No machine was rented to run code in{why}.", "Allow it, or work without code.")
        until = time.monotonic() + agreed.timeout_seconds

        def start() -> RentedMachine:
            left = min(agreed.timeout_seconds, max(1, math.ceil(until - time.monotonic())))
            return machine(jobs, jobs.rent(agreed.model_copy(update={"timeout_seconds": left})))

        return Consent(agreed.timeout_seconds, start)

    return consent


def proposal(jobs: Jobs) -> Spend:
    """What the user is asked: the whole price of the machine, if it ran for all that time. Raises Problem."""
    place = next((one for one in jobs.places if one.runs == "machine"), None)
    if place is None:
        raise Problem("No machine can be rented here.", "Work without code.")
    return Spend(
        title="Run code in a machine rented on your account",
        where=place.where,
        place=place,
        namespace=payer_of(jobs, ""),
        flavor=FLAVOR,
        script="",
        timeout_seconds=SECONDS,
        idle_seconds=IDLE_SECONDS,
        price_micro_usd_per_hour=jobs.quote(place, FLAVOR),
        purpose="code",
    )
