"""How a job on Hugging Face ended, in words with what to do, and how long it ran by the Hub's own times. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tools.jobs.place import JobState, JobStatus
from tools.jobs.remote.client import JobFacts

_EXIT = re.compile(r"exit(?:ed)?(?: with)? code:? (-?\d{1,5})", re.IGNORECASE)


def ended_state(facts: Sequence[JobFacts], endpoint: str, namespace: str, *, reason: str = "") -> JobState:
    """The end of a job from its machines' ends; the first that did not complete decides. reason: ours, told first."""
    decisive = next((one for one in facts if one.stage != "COMPLETED" and one.cancel_reason), None)
    decisive = decisive or next((one for one in facts if one.stage not in ("COMPLETED", "CANCELED")), None)
    decisive = decisive or next((one for one in facts if one.stage != "COMPLETED"), facts[0])
    status, message, code = _end(decisive, endpoint, namespace)
    seconds = max(run_seconds(one) for one in facts)
    told = f"{reason} {message}".strip() if status != "completed" else ""
    return JobState(status, code, seconds, told, outputs=facts[0].outputs)


def run_seconds(facts: JobFacts) -> float:
    """Run time of an ended job by the Hub's clock; 0 if it never started; its whole timeout if the Hub does not say."""
    if facts.started is not None and facts.finished is not None and facts.finished >= facts.started:
        return max(facts.finished - facts.started, facts.running_seconds or 0.0)
    if facts.running_seconds is not None:
        return facts.running_seconds
    if facts.started is None:
        return 0.0
    return facts.timeout or 24 * 3600.0


def running_seconds(facts: JobFacts) -> float:
    """Run time so far of a job, by the Hub's clock."""
    if facts.over:
        return run_seconds(facts)
    if facts.running_seconds is not None:
        return facts.running_seconds
    if facts.started is None or facts.told is None:
        return 0.0
    return max(0.0, facts.told - facts.started)


def _end(facts: JobFacts, endpoint: str, namespace: str) -> tuple[JobStatus, str, int | None]:
    seconds = run_seconds(facts)
    if facts.stage == "COMPLETED":
        return "completed", "", 0
    if facts.timeout and seconds >= facts.timeout:
        return "timeout", f"It reached its time limit of {facts.timeout:.0f} s.", None
    if facts.stage == "CANCELED":
        return "cancelled", _cancelled(facts, endpoint, namespace), None
    if facts.stage == "DELETED":
        return "lost", "It was deleted on the Hub.", None
    found = _EXIT.search(facts.message)
    return "failed", facts.message or "It failed; its log may say why.", int(found[1]) if found else None


def _cancelled(facts: JobFacts, endpoint: str, namespace: str) -> str:
    billing = f"{endpoint}/settings/billing"
    match facts.cancel_reason:
        case "":
            return facts.message or "It was cancelled."
        case "NO_CREDITS":
            return (
                f"Hugging Face cancelled it: the credits of {namespace} are used up. Add credits at {billing}, then "
                "start it again from its last checkpoint, or let another namespace pay."
            )
        case "NO_SUBSCRIPTION":
            return (
                f"Hugging Face cancelled it: {namespace} has no plan that includes this. Subscribe or add credits at "
                f"{billing}, or let another namespace pay."
            )
        case "SPEND_LIMIT":
            return (
                f"Hugging Face cancelled it: {namespace} has reached its spending limit. Raise the limit at {billing}, "
                "or let another namespace pay."
            )
        case "RESOURCE_GROUP_LIMIT":
            return (
                f"Hugging Face cancelled it: the resource group in {namespace} has reached its limit. Ask its "
                "administrators to raise it, or let another namespace pay."
            )
    return f"Hugging Face cancelled it: {facts.cancel_reason}. {facts.message}".strip()
