"""Know-how that is opened when it is needed, so that it does not weigh on every request."""

from __future__ import annotations

from pathlib import Path

from tools.desk import Desk
from tools.problem import Problem

FOLDER = Path(__file__).parent / "skills"


def skill(desk: Desk, name: str = "") -> str:  # noqa: ARG001  # every tool takes a desk
    """Open know-how, checked against the libraries of today. Read the one that fits before you write such a script.

    Args:
        name: training-with-trl, dataset-audit, evaluation, model-card, live-tracking or choosing-hardware; empty for what each is about.

    Returns: Markdown.
    """
    files = {path.stem: path for path in sorted(FOLDER.glob("*.md"))}
    if not name:
        return "\n".join(
            f"{stem}: {path.read_text('utf-8').splitlines()[0].lstrip('# ')}" for stem, path in files.items()
        )
    if name not in files:
        raise Problem(f"There is no skill {name[:60]!r}.", f"There are {', '.join(files)}.")
    return files[name].read_text("utf-8")
