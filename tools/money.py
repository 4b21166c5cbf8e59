"""Money as people read it, and the one rule by which time on a machine costs it. Whole micro-dollars; pure."""

from __future__ import annotations

import math


def cost(price_micro_usd_per_hour: int, seconds: float, *, machines: int = 1, runs: int = 1) -> int:
    """What time on machines costs, rounded up. seconds: of each machine in each run. The page's copy is in spend.js."""
    return -(-price_micro_usd_per_hour * billed_minutes(seconds) * machines * runs // 60)


def billed_minutes(seconds: float) -> int:
    """A minute that has begun is billed whole. Times are of whole milliseconds: the noise of a clock begins no minute."""
    return -(-math.floor(seconds * 1000 + 0.5) // 60_000)


# What is asked for or was spent is rounded up, what is free is rounded down: so a sum that does not fit never reads as
# if it did. The page writes the same, in words.js.


def usd(micro_usd: int) -> str:
    """What something costs or may cost: never less than it is. Cents; below ten of them two digits: "$0.0042"."""
    step = _step(micro_usd)
    return _written(-(-micro_usd // step) * step)


def usd_free(micro_usd: int) -> str:
    """What may still be spent: never more than it is."""
    step = _step(micro_usd)
    return _written(micro_usd // step * step)


def usd_exact(micro_usd: int) -> str:
    """What is no estimate, to its last digit: a price from a list, a limit that somebody set, sums that are compared."""
    return _written(micro_usd)


def usd_range(low: int, high: int) -> str:
    """An interval of costs; one sum where both read alike."""
    return usd(low) if usd(low) == usd(high) else f"{usd(low)} to {usd(high)}"


def _step(micro_usd: int) -> int:
    return int(10 ** min(4, max(0, len(str(abs(micro_usd))) - 2)))


def _written(micro_usd: int) -> str:
    dollars, rest = divmod(abs(micro_usd), 1_000_000)
    digits = f"{rest:06d}"
    return f"{'-' if micro_usd < 0 else ''}${dollars}.{digits[:2]}{digits[2:].rstrip('0')}"
