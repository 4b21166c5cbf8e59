"""job_run: a script, on this machine or on Hugging Face, after the user agreed."""

from __future__ import annotations

from typing import Any

from tools.cards import FileMade
from tools.desk import Contract, Desk, view_of
from tools.jobs.outputs import listed
from tools.jobs.request import JobDraft, place_for, request_of
from tools.jobs.watch import alert_rows

LOG_TAIL = 4_000  # characters


def job_run(
    desk: Desk,
    script: str,
    title: str = "",
    *,
    where: str = "",
    flavor: str = "",
    timeout: str = "10m",
    dependencies: list[str] | None = None,
    env: dict[str, str] | None = None,
    secrets: list[str] | None = None,
    volumes: list[str] | None = None,
    outputs: bool = True,
    labels: dict[str, str] | None = None,
    nodes: int = 1,
    namespace: str = "",
    track: str = "",
    expected: str = "",
    steps: int = 0,
    dry_run: str = "",
    why: str = "",
    wait: bool = True,
) -> dict[str, Any]:
    """Run a Python script as a job, after the user agreed. Print measurements as {'step': 10, 'loss': 0.5}: they become curves.

    It has the network and its own packages, no token and no input. "here" keeps its working folder; on "jobs" only
    what it writes into os.environ["OUTPUTS"] is kept, in a private bucket.

    Args:
        where: "here" (this machine), "jobs" (Hugging Face, costs money); default: jobs if a flavor is named.
        flavor: Hardware of "jobs"; see hardware().
        timeout: The most it may take, installing included: "90s", "1h30m". It bounds the price.
        dependencies: As "transformers==5.2.0"; nothing but the standard library is there without.
        secrets: Names only. "HF_TOKEN" only if the script must write to the Hub.
        volumes: Mounted for reading: "datasets/ada/pets:/data".
        nodes: Machines; above 1 the script runs under torchrun on all.
        namespace: Who pays; default: the user.
        track: A project, for a private live Trackio dashboard; see skill("live-tracking").
        expected: Your guess of its time.
        steps: Optimizer steps it will make.
        dry_run: Id of a short job (20 printed steps) on the same hardware: its pace foretells time and cost. Make one
            before what costs more than a little.
        why: Why this hardware.
        wait: False returns at once; then see job_wait.

    Returns: A dict: job (str), status ("running", "completed", "failed", "cancelled", "timeout", "lost"), message,
        exit_code, seconds, log (its end), files, outputs (bucket folder), outputs_files, edited (bool: the user changed the script).
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
        nodes=nodes,
        namespace=namespace,
        track=track,
        expected=expected,
        steps=steps,
        dry_run=dry_run,
        why=why,
    )
    view = view_of(desk)
    contract = desk.approve(request_of(view, place_for(view, "script", where, flavor=flavor), draft))
    job = contract.submit()
    if not wait:
        return {"job": job, "status": "running", "edited": contract.request.script != script}
    return _ended(desk, contract, script)


def _ended(desk: Desk, contract: Contract, script: str) -> dict[str, Any]:
    end = contract.wait()
    for path in end.files:
        file = desk.folder / path
        if file.is_file() and not file.is_symlink():
            desk.show(FileMade(path=path, bytes=file.stat().st_size, job=end.job))
    alerts = alert_rows(desk.jobs.state(end.job)) if desk.jobs and contract.request.track else []
    return {
        "job": end.job,
        "status": end.status,
        "message": end.message,
        "exit_code": end.exit_code,
        "seconds": round(end.seconds, 1),
        "log": end.log[-LOG_TAIL:],
        "files": list(end.files),
        "outputs": end.outputs,
        "outputs_files": listed(end.left),
        "edited": contract.request.script != script,
        **({"alerts": alerts} if alerts else {}),
    }
