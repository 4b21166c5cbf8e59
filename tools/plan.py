"""The plan of the work, where the user sees it."""

from __future__ import annotations

from typing import get_args

from tools.cards import PlanMade, Todo
from tools.desk import Desk
from tools.problem import Problem

TODOS = 30
TEXT = 300  # characters of one item
_STATUSES = get_args(Todo.model_fields["status"].annotation)


def plan(desk: Desk, todos: list[dict[str, str] | str]) -> str:
    """Show the user your plan, and keep it true: call it again, with the whole list, whenever an item changes.

    Args:
        todos: The items in order, at most 30; each {"text": "Read the data", "status": "pending"} or only the text.
            status is pending, in_progress (at most one item) or completed.

    Returns: Where the plan stands, such as "2 of 5 completed. In progress: Train the model."
    """
    if len(todos) > TODOS:
        raise Problem(f"A plan of {len(todos)} items is too long.", f"Use at most {TODOS}; merge the small ones.")
    made = tuple(_todo(number, item) for number, item in enumerate(todos, 1))
    under_way = [todo.text for todo in made if todo.status == "in_progress"]
    if len(under_way) > 1:
        raise Problem(
            f"{len(under_way)} items are in progress.", "Mark the one you work on now; leave the rest pending."
        )
    desk.show(PlanMade(todos=made))
    completed = sum(todo.status == "completed" for todo in made)
    return f"{completed} of {len(made)} completed." + (f" In progress: {under_way[0]}" if under_way else "")


def _todo(number: int, item: dict[str, str] | str) -> Todo:
    given = {"text": item} if isinstance(item, str) else item
    if unknown := given.keys() - {"text", "status"}:
        raise Problem(f"Item {number} has an unknown key {sorted(unknown)[0]!r}.", "Its keys are text and status.")
    text, status = " ".join(given.get("text", "").split()), given.get("status", "pending")
    if not text:
        raise Problem(f"Item {number} has no text.", 'Write it as {"text": "Read the data", "status": "pending"}.')
    if len(text) > TEXT:
        raise Problem(f"The text of item {number} has {len(text)} characters.", f"Use at most {TEXT}.")
    if status not in _STATUSES:
        raise Problem(f"Item {number} has the status {status!r}.", f"Use one of {', '.join(_STATUSES)}.")
    return Todo.model_validate({"text": text, "status": status})
