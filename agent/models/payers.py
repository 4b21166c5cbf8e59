"""Who pays for thinking: the user, or an organization that pays for its members. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agent.settings import Settings
from tools.hub.hub import HubAccount
from tools.problem import Problem


@dataclass(frozen=True)
class Payer:
    """One who can pay. bill_to: what the router is told, "" for the user. note: what to know before choosing it."""

    name: str
    bill_to: str
    plan: str = ""
    available: bool = True
    note: str = ""


def payers(account: HubAccount) -> tuple[Payer, ...]:
    """Who can pay for this account: the user, who is the default, then its organizations that pay, by name."""
    note = "" if account.can_pay else "Only the free credit of the month, and credit bought in advance."
    user = Payer(account.name, "", account.plan, note=note)
    orgs = [
        Payer(
            name=org.name,
            bill_to=org.name,
            plan=org.plan,
            available=not org.limit_reached,
            note="Its spending limit is reached." if org.limit_reached else "",
        )
        for org in sorted(account.organizations, key=lambda org: org.name.lower())
        if org.can_pay
    ]
    return (user, *orgs)


def pick(offered: Sequence[Payer], bill_to: str) -> Payer:
    """The payer of that name; "" is the user. Raises Problem for one that cannot pay."""
    for payer in offered:
        if payer.bill_to == bill_to:
            if not payer.available:
                raise Problem(f"{payer.name} cannot pay. {payer.note}", "Choose who else pays.")
            return payer
    names = ", ".join(payer.name for payer in offered if payer.available)
    raise Problem(f"{bill_to[:80]!r} cannot pay for you.", f"Those who can are {names}." if names else "Sign in first.")


Whose = Literal["user", "owner", "nobody"]


def whose_token(lent: str, settings: Settings) -> Whose:
    """Whose Hugging Face token a session thinks with. lent: the user's own, signed in with, pasted or of the machine, or "".

    "owner": HF_TOKEN of an app whose owner lets strangers think with it; every call is then held in the VisitorCaps
    first, and the token goes to the router alone, never to the Hub.
    """
    if lent:
        return "user"
    return "owner" if settings.hf_token and settings.allow_owner_token else "nobody"
