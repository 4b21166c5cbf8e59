"""Money as people read it, and the one rule by which time on a machine costs it. Whole micro-dollars; pure."""

from __future__ import annotations

import math


def cost(price_micro_usd_per_hour: int, seconds: float, *, machines: int = 1, runs: int = 1) -> int:
    """What time on machines costs, rounded up. seconds: of each machine in each run. The page's copy is in spend.js."""
    return -(-price_micro_usd_per_hour * billed_minutes(seconds) * machines * runs // 60)


def billed_minutes(seconds: float) -> int:
    """A minute that has begun is billed whole. Times are of whole milliseconds: the noise of a clock begins no minute."""
    return -(-math.floor(seconds * 1000 + 0.5) // 60_000)


def usd(micro_usd: int) -> str:
    """Dollars for the eye, rounded up to a cent so that no cost looks smaller than it is."""
    sign = "-" if micro_usd < 0 else ""
    cents = -(-abs(micro_usd) // 10_000)
    return f"{sign}${cents // 100}.{cents % 100:02d}"
