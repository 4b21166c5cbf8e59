"""Look after jobs: what they say, how they stand, stop them. Nothing here costs money, and only this session's are seen."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tools.desk import Desk, view_of
from tools.jobs import checks
from tools.jobs.noise import folded
from tools.jobs.outputs import listed
from tools.jobs.place import JobRow

LINE = 500  # characters
SHOWN = 8_000  # characters in all
POINTS = 40
ALERTS = 20


def job_status(desk: Desk, job: str) -> dict[str, Any]:
    """How a job of this conversation stands.

    Returns: A dict: job, title, where, status, seconds, message, url, at_most_usd, cost_usd (None until settled),
        billed_usd (None until known), note, dashboard, alerts (a list of level, text, step: what the script raised).
    """
    return _facts(view_of(desk).state(job))


def jobs_list(desk: Desk) -> list[dict[str, Any]]:
    """All jobs and sandboxes of this conversation, as job_status tells them."""
    return [_facts(row) for row in view_of(desk).list()]


def job_logs(desk: Desk, job: str, grep: str = "", *, around: int = 0, tail: int = 50) -> str:
    """The last lines of a job's log. Installing and progress bars are folded.

    Args:
        grep: Only lines with one of these words: "error|loss".
        around: With grep, so many lines before and after each, too.
        tail: At most so many lines, up to 400.
    """
    words = [word for word in grep.lower().split("|") if word]
    said = [line[:LINE] for line in folded(view_of(desk).log(job))]
    lines = _matching(said, words, min(max(around, 0), 50)) if words else said
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


def _matching(said: list[str], words: list[str], around: int) -> list[str]:
    """Lines with one of the words and their neighbours; a line of its own where some are left out between them."""
    lines: list[str] = []
    shown = -1  # the last line that was
    for number, line in enumerate(said):
        if not any(word in line.lower() for word in words):
            continue
        first = max(number - around, shown + 1)
        if around and lines and first > shown + 1:
            lines.append("⋯")
        shown = max(shown, number + around)
        lines += said[first : shown + 1]
        shown = min(shown, len(said) - 1)
    return lines


def job_metrics(desk: Desk, job: str) -> dict[str, Any]:
    """What a job measured and what it uses.

    Returns: A dict: points (about 40 of them, the first and last among them), count, alerts (as job_status),
        now (cpu_percent, gpu_percent, gpu_memory_gb, …; {} when it does not run).
    """
    view = view_of(desk)
    points = view.points(job)
    step = max(1, -(-len(points) // POINTS))
    shown = list(points[::step])
    if points and shown[-1] is not points[-1]:
        shown.append(points[-1])
    return {
        "points": shown,
        "count": len(points),
        "alerts": alert_rows(view.state(job)),
        "now": view.metrics(job),
    }


def job_wait(desk: Desk, job: str, most: str = "10m") -> dict[str, Any]:
    """Wait for a job's end, at most so long; then as job_status, with log (its last lines) and outputs_files."""
    view = view_of(desk)
    left = float(checks.seconds(most))
    while left > 0 and not view.wait(job, 0.0):
        desk.sleep(min(0.25, left))
        left -= 0.25
    row = view.state(job)
    return _facts(row) | {"log": job_logs(desk, job, tail=20), "outputs_files": listed(row.left)}


def job_cancel(desk: Desk, job: str) -> dict[str, Any]:
    """End a job or sandbox of this conversation; what it did not use is not paid. Then as job_status."""
    view = view_of(desk)
    if not view.wait(job, 0.0):
        view.cancel(job)
        for _ in range(20):
            if view.wait(job, 0.0):
                break
            desk.sleep(0.25)
    return _facts(view.state(job))


def alert_rows(row: JobRow) -> list[dict[str, Any]]:
    """The last of what a script raised, as data."""
    return [asdict(alert) for alert in row.alerts[-ALERTS:]]


def _facts(row: JobRow) -> dict[str, Any]:
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
        "dashboard": row.dashboard,
        "alerts": alert_rows(row),
    }
    return {name: value for name, value in told.items() if value not in ("", []) or name == "message"}
