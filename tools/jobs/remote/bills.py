"""What the account's bill says of a job that ran on several machines, or several times."""

from __future__ import annotations

from collections.abc import Sequence

from tools.hub.values import JobBill
from tools.jobs.remote.client import JobsHub
from tools.problem import NoBill, Problem


def bill_of(hub: JobsHub, namespace: str, ids: Sequence[str]) -> JobBill | None:
    """All of them together; None while the bill does not know each one's end. Raises as JobPlace.bill does."""
    account = hub.account()
    if any(namespace == one.name for one in account.organizations):
        raise NoBill(f"What {namespace} is billed for a single job cannot be read.", "The reckoned cost counts.")
    if namespace != account.name:
        raise Problem(f"The bill of {namespace!r} is not this user's.", "Sign in as who paid.")
    known = hub.jobs_bill()
    bills = [known[id] for id in ids if id in known]
    if not ids or len(bills) < len(ids) or not all(bill.whole for bill in bills):
        return None
    minutes = [bill.minutes for bill in bills if bill.minutes is not None]
    told = sum(minutes) if len(minutes) == len(bills) else None
    return JobBill(sum(bill.micro_usd for bill in bills), told, whole=True)
