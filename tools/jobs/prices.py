"""What hardware costs: only from the Hub's live list, and this is the one module that knows.

A price that is not known, or that was read more than six hours ago, is a Problem: never free, and never a guess.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.problem import Problem

OLDEST = 6 * 3600  # seconds; an older list is none
FRESH = 60  # seconds; a younger list is not asked for again
PORT_MICRO_USD_PER_HOUR = 10_000  # a job with open ports, on top: not in the list, from the Hub's page on Jobs pricing
DEAREST = 10_000 * 1_000_000  # micro-USD per hour; a higher price is nonsense

_PER_HOUR = {"second": 3600, "minute": 60, "hour": 1}
_SIZE = re.compile(r"([\d.,]+)\s*(TB|TiB|GB|GiB|MB|MiB)?", re.IGNORECASE)


@dataclass(frozen=True)
class Flavor:
    """One kind of machine. vram and ram in GB; vram of all its accelerators together."""

    name: str
    title: str
    cpu: str
    ram: float
    disk: str
    accelerator: str  # "Nvidia L4"; "": none
    accelerators: int
    vram: float
    price_micro_usd_per_hour: int | None  # rounded up; None: not known


@dataclass(frozen=True)
class Quote:
    """A price that may be agreed to. age: seconds since the Hub said it."""

    flavor: Flavor
    micro_usd_per_hour: int
    age: float


class Prices:
    """The live list, kept for a minute and, while the Hub cannot be asked, for six hours. For any thread."""

    def __init__(self, read: Callable[[], Sequence[Mapping[str, Any]]], clock: Callable[[], float] = time.time) -> None:
        """read: the Hub's list, raising Problem; clock: Unix seconds, which go on while the machine sleeps."""
        self._read, self._clock = read, clock
        self._known: dict[str, Flavor] = {}
        self._at = -math.inf
        self._lock = threading.Lock()

    def flavors(self, fresh: bool = False) -> list[Flavor]:
        """All there are, cheapest first, those without a price last. Raises Problem when no list is young enough."""
        return sorted(self._list(fresh).values(), key=lambda flavor: flavor.price_micro_usd_per_hour or math.inf)

    def quote(self, name: str, fresh: bool = False) -> Quote:
        """The price of a flavor. fresh: ask the Hub now if it can be asked. Raises Problem rather than guess."""
        known = self._list(fresh)
        flavor = known.get(name)
        if flavor is None:
            raise Problem(f"There is no hardware {name!r}.", f"There is {', '.join(known) or 'none at the moment'}.")
        if flavor.price_micro_usd_per_hour is None:
            raise Problem(
                f"The Hub names no price for {name}, so nothing can be agreed to.",
                "Choose other hardware, or ask the user.",
            )
        return Quote(flavor, flavor.price_micro_usd_per_hour, self._age())

    def _list(self, fresh: bool) -> Mapping[str, Flavor]:
        with self._lock:
            if fresh or not 0 <= self._age() < FRESH:
                try:
                    self._known = {str(item["name"]): read(item) for item in self._read()}
                    self._at = self._clock()
                except Problem as problem:
                    if not 0 <= self._age() <= OLDEST:  # a clock that was set back tells nothing either
                        raise Problem(
                            f"Prices are not known: {problem.message}", problem.hint or "Try again in a minute."
                        ) from None
            return self._known

    def _age(self) -> float:
        return self._clock() - self._at


def read(item: Mapping[str, Any]) -> Flavor:
    """One entry of the Hub's list. What it does not say is empty or 0, and a price None."""
    card = item.get("accelerator")
    card = card if isinstance(card, Mapping) else {}
    return Flavor(
        name=str(item["name"]),
        title=str(item.get("prettyName") or item["name"]),
        cpu=str(item.get("cpu") or ""),
        ram=_gigabytes(item.get("ram")),
        disk=str(item.get("ephemeralStorage") or ""),
        accelerator=f"{card.get('manufacturer') or ''} {card.get('model') or ''}".strip(),
        accelerators=int(_number(card.get("quantity"))) if card else 0,
        vram=_gigabytes(card.get("vram")),
        price_micro_usd_per_hour=_per_hour(item),
    )


def _per_hour(item: Mapping[str, Any]) -> int | None:
    micro, units = item.get("unitCostMicroUSD"), _PER_HOUR.get(str(item.get("unitLabel")))
    if units is None or isinstance(micro, bool) or not isinstance(micro, int | float):
        return None
    if not math.isfinite(micro) or not 0 < micro * units <= DEAREST:
        return None
    return math.ceil(micro * units)


def _gigabytes(text: object) -> float:
    match = _SIZE.search(str(text or ""))
    if not match:
        return 0.0
    scale = {"T": 1000.0, "M": 0.001}.get((match[2] or "G")[0].upper(), 1.0)
    return _number(match[1].replace(",", "")) * scale


def _number(text: object) -> float:
    try:
        value = float(str(text))
    except ValueError:
        return 0.0
    return value if math.isfinite(value) and value >= 0 else 0.0
