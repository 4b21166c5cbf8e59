"""A question to the user."""

from __future__ import annotations

from tools.cards import Question
from tools.desk import Desk
from tools.problem import Problem

OPTIONS = 8
QUESTION, OPTION = 2_000, 200  # characters


def ask_user(desk: Desk, question: str, options: list[str] | None = None) -> str:
    """Ask the user what only they can decide, and wait for the answer. Find out yourself what you can find out.

    Args:
        question: One question, with what hangs on it.
        options: The answers to choose from, at most 8; leave them out for an answer in free words.

    Returns: The answer in words. With options it is one of them, or what the user wrote instead.
    """
    question = question.strip()
    choices = tuple(option.strip() for option in options or ())
    if not question or len(question) > QUESTION:
        raise Problem(f"The question has {len(question)} characters.", f"Ask one question of 1 to {QUESTION:,}.")
    if len(choices) > OPTIONS or any(not 0 < len(choice) <= OPTION for choice in choices):
        raise Problem("These options cannot be shown.", f"Give at most {OPTIONS}, each of 1 to {OPTION} characters.")
    if len(set(choices)) < len(choices):
        raise Problem("Two of the options are the same.", "Give each once.")
    return desk.ask(Question(question=question, options=choices))
