"""Sandboxes: a machine on Hugging Face to try things on, held open for a while. A JobPlace, and the sweep."""

from __future__ import annotations

from collections.abc import Callable, Collection

from tools.cards import Spend
from tools.jobs.prices import PORT_MICRO_USD_PER_HOUR
from tools.jobs.remote.client import JobsHub, Submission
from tools.jobs.remote.jobs import HubJobs, parted
from tools.jobs.remote.launch import KIND, LABEL
from tools.jobs.remote.sandbox_client import HubSandbox, submission
from tools.jobs.remote.words import SANDBOX
from tools.problem import Problem

GRACE = 120.0  # seconds that a sandbox may outlive its limit before it is swept


class Sandboxes(HubJobs):
    """Sandboxes as a JobPlace. Each is a Job that serves, with a lifetime, ended when idle."""

    words = SANDBOX
    keeping = "Copy files out of a sandbox with sandbox_file"
    extra_micro_usd_per_hour = PORT_MICRO_USD_PER_HOUR

    def _submissions(self, hub: JobsHub, label: str, spec: Spend, *, secrets: dict[str, str]) -> list[Submission]:
        if spec.nodes != 1 or secrets or not spec.idle_seconds:
            raise Problem("A sandbox is one machine without secrets, with an idle limit.", "Use a job for more.")
        return [submission(hub, label, spec)]

    def machine(self, job: str) -> HubSandbox:
        namespace, ids = parted(job)
        return HubSandbox(self._hub(), namespace, ids[0])


def sweep(hub: JobsHub, namespace: str, ours: Callable[[str], bool], *, open_labels: Collection[str]) -> list[str]:
    """Cancel the sandboxes of a namespace that nobody holds any more; returns their ids.

    ours: whether this process answers for a session, by its id; open_labels: what these sessions know to be open. A
    sandbox of one of them that is not open there, or any of this app's kind that outlived its lifetime by GRACE, is cancelled. Those of another
    app with the same account are left to their own limits. Ages are the Hub's own. Raises Problem.
    """
    gone = []
    for job in hub.labelled(namespace, KIND, "sandbox"):
        if job.over or job.created is None or job.told is None:
            continue
        age = job.told - job.created
        label = job.labels.get(LABEL, "")
        orphan = age > GRACE and label not in open_labels and ours(label.rpartition("-")[0])
        if orphan or (job.timeout is not None and age > job.timeout + GRACE):
            hub.cancel(namespace, job.id)
            gone.append(f"{namespace}/{job.id}")
    return gone
