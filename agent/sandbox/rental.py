"""What the sandbox wants of a rented machine, and the user's yes to one. Made elsewhere: the sandbox spends nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


class RentedMachine(Protocol):
    """A rented machine. All methods may be called from any thread, and raise Problem when it cannot be reached."""

    @property
    def folder(self) -> str:
        """An absolute path in it, which need not exist, for us alone."""

    @property
    def setup(self) -> str:
        """A shell command that readies its Python; it may fail, and be empty."""

    @property
    def port(self) -> int:
        """A free port of it, of the loopback interface."""

    @property
    def revoked(self) -> bool:
        """The user has ended it, and with it the yes."""

    def ready(self) -> bool:
        """Whether it has started and answers. Raises Problem when it never will."""

    def put(self, path: str, data: bytes) -> None:
        """Write a file in it. This and what follows: once it is ready."""

    def run(self, command: str) -> None:
        """Start a shell command and let it run."""

    def get(self, path: str) -> AbstractContextManager[Iterator[bytes]]:
        """What a server on that port of it answers, as it comes."""

    def post(self, path: str, data: bytes) -> bytes: ...

    def kill(self) -> None:
        """End it, and what it costs; returns soon. May be called again."""


@dataclass(frozen=True)
class Consent:
    """The user's yes to a machine for so many seconds. start: rents it; may be called again within the time.

    quiet_seconds: after which what we run there ends, when it hears nothing of the app; then the machine ends as well.
    """

    seconds: float
    start: Callable[[], RentedMachine]
    quiet_seconds: float = 120.0
