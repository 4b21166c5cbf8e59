"""Machines rented for generated code: a Hugging Face sandbox on the user's account, by the minute.

A sandbox is a Job that runs a small server; it and its commands never see a token of the user. It ends when it is
killed, and by itself when for a while nothing in it runs and nobody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx2

from tools.cards import Spend
from tools.jobs.prices import PORT_MICRO_USD_PER_HOUR, Prices
from tools.jobs.remote.words import SANDBOX
from tools.problem import Problem

if TYPE_CHECKING:
    from tools.hub.hub import Rented, WritableHub

FLAVOR = "cpu-basic"
IDLE_SECONDS = 300
SETUP = "python3 -m pip install --quiet --root-user-action=ignore numpy pandas pyarrow matplotlib"
PORT = 41983  # for us, in the machine
FOLDER = "/tmp/ml-intern"  # noqa: S108  # in the machine, which is nobody else's
_LIMIT = httpx2.Timeout(60.0, connect=10.0, read=45.0)  # the relay gives a sign of life every ten seconds


class HubMachine:
    """A Hugging Face sandbox, as agent.sandbox.remote wants a machine. Raises Problem."""

    def __init__(
        self, hub: WritableHub, rented: Rented, folder: str, port: int, setup: str, ended: Callable[[], None]
    ) -> None:
        """ended: called once, when it has been ended."""
        self._hub, self._rented, self._ended = hub, rented, ended
        self.folder, self.port, self.setup = folder, port, setup
        self._scheme = hub.endpoint.partition("://")[0] + "://"
        self._client = httpx2.Client(timeout=_LIMIT, follow_redirects=False, trust_env=False)

    @property
    def id(self) -> str:
        """Of the Job, for the journal and the page."""
        return self._rented.id

    def put(self, path: str, data: bytes) -> None:
        self._hub.within(self._rented, lambda: self._rented.files.write(path, data))

    def run(self, command: str) -> None:
        self._hub.within(self._rented, lambda: self._rented.run(command, background=True))

    @contextmanager
    def get(self, path: str) -> Iterator[Iterator[bytes]]:
        """What our server in it answers, as it comes."""
        try:
            with self._client.stream("GET", self._url(path), headers=self._rented.proxy_headers) as response:
                if response.status_code != 200:
                    raise Problem(f"The rented machine answered {response.status_code}.", "Try again in a minute.")
                yield self._pieces(response)
        except httpx2.HTTPError:
            raise _unreachable() from None

    def post(self, path: str, data: bytes) -> bytes:
        try:
            response = self._client.post(self._url(path), content=data, headers=self._rented.proxy_headers)
        except httpx2.HTTPError:
            raise _unreachable() from None
        if response.status_code != 200:
            raise Problem(f"The rented machine answered {response.status_code}.", "Try again in a minute.")
        return bytes(response.content)

    def kill(self) -> None:
        """End it. What cannot be ended now ends by itself: nothing of ours keeps it busy."""
        self._rented.kill()
        self._client.close()
        ended, self._ended = self._ended, lambda: None
        ended()

    def _url(self, path: str) -> str:
        return self._rented.proxy_url_for(self.port, path, scheme=self._scheme)

    @staticmethod
    def _pieces(response: httpx2.Response) -> Iterator[bytes]:
        try:
            yield from response.iter_bytes()
        except httpx2.HTTPError:
            raise _unreachable() from None


def _unreachable() -> Problem:
    return Problem("The rented machine cannot be reached.", "Try again in a minute; what was saved is kept.")


def proposal(prices: Prices, hours: float = 4.0, flavor: str = FLAVOR) -> Spend:
    """What the user is asked: the whole price of the machine, if it ran for all that time. Raises Problem."""
    return Spend(
        title="Run code in a machine rented on your account",
        where=SANDBOX.where,
        place=SANDBOX,
        flavor=flavor,
        script="",
        timeout_seconds=int(hours * 3600),
        idle_seconds=IDLE_SECONDS,
        price_micro_usd_per_hour=prices.quote(flavor).micro_usd_per_hour + PORT_MICRO_USD_PER_HOUR,
    )


def start(
    hub: WritableHub,
    agreed: Spend,
    session: str,
    folder: str = FOLDER,
    port: int = PORT,
    setup: str = SETUP,
    ended: Callable[[], None] = lambda: None,
) -> HubMachine:
    """Rent what was agreed; takes some seconds. session: by which the machine is found again. Raises Problem."""
    rented = hub.rent(agreed.flavor, IDLE_SECONDS, {"ml-intern": session})
    return HubMachine(hub, rented, folder, port, setup, ended)
