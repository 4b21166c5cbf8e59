"""What a running job uses, from the Hub's samples, as numbers with units in their names. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def numbers(sample: Mapping[str, Any]) -> dict[str, float]:
    """cpu_percent, memory_gb, memory_percent, gpu_percent, gpu_memory_gb, gpu_memory_percent (mean over GPUs), gpus."""
    found: dict[str, float] = {}
    _put(found, "cpu_percent", _number(sample.get("cpu_usage_pct")))
    _memory(found, "memory", [sample])
    cards = sample.get("gpus")
    gpus = [card for card in cards.values() if isinstance(card, Mapping)] if isinstance(cards, Mapping) else []
    if gpus:
        found["gpus"] = float(len(gpus))
        loads = [load for card in gpus if (load := _number(card.get("utilization"))) is not None]
        _put(found, "gpu_percent", sum(loads) / len(loads) if loads else None)
        _memory(found, "gpu_memory", gpus)
    return found


def _memory(found: dict[str, float], name: str, parts: list[Mapping[str, Any]]) -> None:
    used = [_number(part.get("memory_used_bytes")) for part in parts]
    total = [_number(part.get("memory_total_bytes")) for part in parts]
    if any(value is None for value in used + total):
        return
    amount, most = sum(v or 0.0 for v in used), sum(v or 0.0 for v in total)
    _put(found, f"{name}_gb", amount / 1e9)
    _put(found, f"{name}_percent", 100 * amount / most if most else None)


def _put(found: dict[str, float], name: str, value: float | None) -> None:
    if value is not None:
        found[name] = round(value, 2)


def _number(value: Any) -> float | None:
    ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if ok else None
