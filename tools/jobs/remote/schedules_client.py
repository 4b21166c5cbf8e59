"""Scheduled jobs of the Hub. A schedule has no end of its own there: who makes one must delete it."""

from __future__ import annotations

from dataclasses import dataclass

from huggingface_hub.errors import HfHubHTTPError

from tools.jobs.remote.client import NEVER_SENT, JobsHub, Submission, arguments
from tools.jobs.remote.launch import LABEL
from tools.problem import MaybeStarted


@dataclass(frozen=True)
class Schedule:
    """last_job: the job that it started last; "": none yet."""

    id: str
    last_job: str


def create(hub: JobsHub, what: Submission, when: str) -> str:
    """Returns its id. Raises MaybeStarted when the answer was lost, another Problem when it was no."""
    api = hub.api()
    given = arguments(what)

    def made() -> str:
        try:
            return api.create_scheduled_job(**given, schedule=when, concurrency=False).id
        except HfHubHTTPError as error:
            if error.response is not None and (error.response.status_code >= 500 or error.response.status_code == 408):
                raise MaybeStarted("The Hub has trouble; whether the schedule was made is not known.") from None
            raise
        except NEVER_SENT:
            raise
        except Exception:
            raise MaybeStarted("The Hub's answer was lost; whether the schedule was made is not known.") from None

    id: str = hub.spelled(f"a schedule in the namespace {what.namespace!r}", made)
    return id


def labelled(hub: JobsHub, namespace: str, label: str) -> list[Schedule]:
    api = hub.api()
    found = hub.spelled(
        f"the schedules of {namespace!r}", lambda: api.list_scheduled_jobs(namespace=namespace, labels={LABEL: label})
    )
    return [Schedule(one.id, one.status.last_job.id if one.status.last_job else "") for one in found]


def delete(hub: JobsHub, namespace: str, schedule: str) -> None:
    api = hub.api()
    hub.spelled(
        f"schedule {schedule}",
        lambda: api.delete_scheduled_job(scheduled_job_id=schedule, namespace=namespace),
    )
