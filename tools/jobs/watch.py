"""Look after jobs: what they say, how they stand, stop them. Nothing here costs money, and only this session's are seen."""

from __future__ import annotations

from typing import Any

from tools.desk import Desk, Problem
from tools.jobs import checks
from tools.jobs.kept import listed
from tools.jobs.noise import folded
from tools.jobs.place import JobRow, JobsView

LINE = 500  # characters
SHOWN = 8_000  # characters in all
POINTS = 40


def job_status(desk: Desk, job: str) -> dict[str, Any]:
    """How a job of this conversation stands.

    Returns: A dict: job, title, where, status, seconds, message, url, at_most_usd, cost_usd (None until settled),
        billed_usd (None until known), note.
    """
    return _told(_view(desk).state(job))


def jobs_list(desk: Desk) -> list[dict[str, Any]]:
    """All jobs and sandboxes of this conversation, as job_status tells them."""
    return [_told(row) for row in _view(desk).list()]


def job_logs(desk: Desk, job: str, grep: str = "", tail: int = 50) -> str:
    """The last lines of a job's log. Installing and progress bars are folded.

    Args:
        grep: Only lines with one of these words: "error|loss".
        tail: At most so many lines, up to 400.
    """
    words = [word for word in grep.lower().split("|") if word]
    said = [line[:LINE] for line in folded(_view(desk).log(job))]
    lines = [line for line in said if not words or any(word in line.lower() for word in words)]
    kept: list[str] = []
    room = SHOWN
    for line in reversed(lines[-min(max(tail, 1), 400) :]):
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    left_out = len(lines) - len(kept)
    head = [f"[{left_out} earlier lines; narrow with grep]"] if left_out else []
    return "\n".join([*head, *reversed(kept)]) or ("No line has that." if words else "It has said nothing yet.")


def job_metrics(desk: Desk, job: str) -> dict[str, Any]:
    """What a job measured and what it uses.

    Returns: A dict: points (about 40 of them, the first and last among them), count, now (cpu_percent, gpu_percent,
        gpu_memory_gb, …; {} when it does not run).
    """
    view = _view(desk)
    points = view.points(job)
    step = max(1, -(-len(points) // POINTS))
    shown = list(points[::step])
    if points and shown[-1] is not points[-1]:
        shown.append(points[-1])
    return {"points": shown, "count": len(points), "now": view.metrics(job)}


def job_wait(desk: Desk, job: str, most: str = "10m") -> dict[str, Any]:
    """Wait for a job's end, at most so long; then as job_status, with log (its last lines) and outputs_files."""
    view = _view(desk)
    left = float(checks.seconds(most))
    while left > 0 and not view.wait(job, 0.0):
        desk.sleep(min(0.25, left))
        left -= 0.25
    row = view.state(job)
    return _told(row) | {"log": job_logs(desk, job, tail=20), "outputs_files": listed(row.left)}


def job_cancel(desk: Desk, job: str) -> dict[str, Any]:
    """End a job or sandbox of this conversation; what it did not use is not paid. Then as job_status."""
    view = _view(desk)
    if not view.wait(job, 0.0):
        view.cancel(job)
        for _ in range(20):
            if view.wait(job, 0.0):
                break
            desk.sleep(0.25)
    return _told(view.state(job))


def _view(desk: Desk) -> JobsView:
    if desk.jobs is None:
        raise Problem("This app runs no jobs.", "Do it another way.")
    return desk.jobs


def _told(row: JobRow) -> dict[str, Any]:
    cost, billed = row.cost_micro_usd, row.billed_micro_usd
    told = {
        "job": row.job,
        "title": row.title,
        "where": row.where,
        "namespace": row.namespace,
        "flavor": row.flavor,
        "status": row.status,
        "seconds": round(row.seconds, 1),
        "message": row.message,
        "url": row.url,
        "at_most_usd": row.hold_micro_usd / 1e6,
        "cost_usd": None if cost is None else cost / 1e6,
        "billed_usd": None if billed is None else billed / 1e6,
        "note": row.note,
    }
    return {name: value for name, value in told.items() if value != "" or name == "message"}
