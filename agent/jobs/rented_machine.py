"""A machine for generated code, where none may run here: rented after the user's yes, paid from the compute budget."""

from __future__ import annotations

import time
from collections.abc import Callable

from agent.events import MoneyReleased, MoneySettled
from agent.money.books import Books
from agent.money.ledger import Ledger, over_budget
from agent.resources import Resources
from agent.sandbox.remote import Consent, RentedMachine
from tools import machines
from tools.cards import Answer, Spend
from tools.money import cost
from tools.problem import Refused

HOLD = "machine-"  # begins the name of a hold for such a machine


def renting(
    session: str,
    resources: Resources,
    books: Books,
    ask: Callable[[Spend], tuple[Answer, Spend]],
    reserve: Callable[[str, int], Ledger | None],
) -> Callable[[], Consent]:
    """What the executor calls when it needs a machine. ask: put the card before the user. reserve: as Consents does."""

    def consent() -> Consent:
        answer, agreed = ask(machines.proposal(resources.prices))
        if answer.verdict == "no":
            why = f": {answer.reason}" if answer.reason else ""
            raise Refused(f"No machine was rented to run code in{why}.", "Allow it, or work without code.")
        return Consent(agreed.timeout_seconds, lambda: start(agreed))

    def start(agreed: Spend) -> RentedMachine:
        hold = f"{HOLD}{books.ledger.reservations + 1}"
        short = reserve(hold, agreed.hold_micro_usd)
        if short is not None:
            raise Refused(f"No machine was rented: {over_budget(agreed, short)}.", "Ask the user.")
        began = time.monotonic()

        def ended() -> None:
            spent = cost(agreed.price_micro_usd_per_hour, time.monotonic() - began)
            books.emit(
                MoneySettled(hold=hold, micro_usd=min(spent, agreed.hold_micro_usd), source="run time and price")
            )

        try:
            return machines.start(resources.writable(), agreed, session, ended=ended)
        except BaseException:
            books.emit(MoneyReleased(hold=hold))
            raise

    return consent


def settle_what_was_left(books: Books) -> None:
    """The process that held a machine ended; it ended by itself some minutes later. The most it can have cost is charged."""
    for hold, micro_usd in list(books.ledger.compute.holds.items()):
        if hold.startswith(HOLD):
            books.emit(MoneySettled(hold=hold, micro_usd=micro_usd, source="worst case: the app ended"))
