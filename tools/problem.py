"""The errors of this app that people and the model read."""

from __future__ import annotations


class Problem(Exception):
    """What is wrong, with the value; then what to do, with the choices. Model and user read the same words."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class Refused(Problem):
    """The user, or the policy in the user's name, said no. An ordinary result that the model reads."""


class Stopped(BaseException):
    """The user pressed Stop. Not an Exception, so that no tool and no library swallows it."""
