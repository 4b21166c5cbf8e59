"""job_schedule: a script on a line of cron, after the user agreed to its dates and to the price of all its runs."""

from __future__ import annotations

from typing import Any

from tools.desk import Desk, view_of
from tools.jobs.request import JobDraft, place_for, request_of


def job_schedule(
    desk: Desk,
    script: str,
    schedule: str,
    *,
    runs: int,
    title: str = "",
    flavor: str = "",
    timeout: str = "10m",
    dependencies: list[str] | None = None,
    env: dict[str, str] | None = None,
    secrets: list[str] | None = None,
    volumes: list[str] | None = None,
    outputs: bool = True,
    labels: dict[str, str] | None = None,
    namespace: str = "",
    expected: str = "",
    steps: int = 0,
    dry_run: str = "",
    why: str = "",
) -> dict[str, Any]:
    """Run a Python script on Hugging Face again and again, each time as job_run does. It is a job; it ends with its last run.

    Args:
        schedule: Cron in UTC ("0 9 * * 1") or "@daily".
        runs: How often it fires, at most 366.
        timeout: Of each run; expected and steps, too. The others are as for job_run.

    Returns: A dict, at once: job (str), status, edited (bool: the user changed the script).
    """
    draft = JobDraft(
        script=script,
        title=title,
        flavor=flavor,
        timeout=timeout,
        dependencies=dependencies,
        env=env,
        secrets=secrets,
        volumes=volumes,
        outputs=outputs,
        labels=labels,
        namespace=namespace,
        expected=expected,
        steps=steps,
        dry_run=dry_run,
        why=why,
        schedule=schedule,
        runs=runs,
    )
    view = view_of(desk)
    contract = desk.approve(request_of(view, place_for(view, "cron"), draft))
    return {"job": contract.submit(), "status": "running", "edited": contract.request.script != script}
