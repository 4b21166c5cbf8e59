"""Values of generated code -> plain JSON data, or a clear TypeError. Standard library only."""

from __future__ import annotations

import math
from datetime import date, time
from enum import Enum
from pathlib import PurePath
from typing import Any

_DEPTH = 100  # the host's parser takes 200; a value that contains itself ends here


def plain(value: Any, depth: int = 0) -> Any:
    """Lists for tuples and sets, text for dates and paths, and data for numpy, pandas and dataclasses.

    Raises TypeError for all that has no such form: bytes, NaN, functions, too deep or circular values.
    """
    if value is None or type(value) in (bool, int):
        return value
    if depth > _DEPTH:
        raise TypeError(f"a value nested more than {_DEPTH} deep, or in itself, cannot leave the code")
    kind = type(value)
    if isinstance(value, Enum):
        return plain(value.value, depth + 1)
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()  # no lone surrogates
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{value} cannot leave the code: JSON has no such number; use None")
        return float(value)
    if isinstance(value, dict):
        return {_key(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, (set, frozenset)):
        return [plain(item, depth + 1) for item in sorted(value, key=repr)]
    if isinstance(value, (date, time)):  # datetime is a date
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(kind, "__dataclass_fields__"):
        return {name: plain(getattr(value, name), depth + 1) for name in kind.__dataclass_fields__}
    package = kind.__module__.partition(".")[0]
    if package == "pandas" and hasattr(value, "columns"):
        return plain(value.to_dict(orient="records"), depth + 1)
    if package in ("numpy", "pandas") and hasattr(value, "tolist"):
        return plain(value.tolist(), depth + 1)
    hint = "; decode it first" if isinstance(value, (bytes, bytearray, memoryview)) else ""
    raise TypeError(f"a value of type {kind.__name__} cannot leave the code: pass text, numbers, lists or dicts{hint}")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str(plain(key))
    if isinstance(key, (bool, int, float, date)) or key is None or hasattr(key, "tolist"):
        return str(key)
    raise TypeError(f"a dict key of type {type(key).__name__} cannot leave the code: use text")
