"""Waiting for a call that cannot be interrupted, in a way that can."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def interruptibly(check: Callable[[], None], work: Callable[[], _T]) -> _T:
    """Return what work returns. check is called every 50 ms; when it raises, work is left to end by itself.

    work must end on its own within a bounded time and must not act on the world after that: reading is fine.
    """
    done = threading.Event()
    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # handed to the waiting thread as it is
            errors.append(error)
        finally:
            done.set()

    check()
    threading.Thread(target=run, name="interruptible", daemon=True).start()
    while not done.wait(0.05):
        check()
    if errors:
        raise errors[0]
    return results[0]
