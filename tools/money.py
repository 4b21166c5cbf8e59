"""Money as people read it, and the one rule by which time on a machine costs it. Whole micro-dollars; pure."""

from __future__ import annotations


def usd(micro_usd: int) -> str:
    """Dollars for the eye, rounded up to a cent so that no cost looks smaller than it is."""
    sign = "-" if micro_usd < 0 else ""
    cents = -(-abs(micro_usd) // 10_000)
    return f"{sign}${cents // 100}.{cents % 100:02d}"
