"""Frames between host and worker: a 4-byte big-endian length, then that much ASCII JSON. Standard library only.

To the worker: prepare, start, run, result. From the worker: hello, ready, call, done. What code prints travels on its own pipe.
"""

from __future__ import annotations

import json
import struct
from typing import Any

HEADER = struct.Struct(">I")
FROM_WORKER = 8 << 20  # bytes in one frame, at most
TO_WORKER = 4 << 20  # more travels as a file


def pack(message: dict[str, Any], limit: int) -> bytes:
    """Raises TypeError when something in it has no JSON form, ValueError when the frame is over limit bytes."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    if len(body) > limit:
        raise ValueError(f"{len(body):,} bytes in one message, and {limit:,} is the most")
    return HEADER.pack(len(body)) + body
