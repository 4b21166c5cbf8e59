"""Lines of journals that earlier versions wrote, as this one writes them. A file itself is never rewritten."""

from __future__ import annotations

import json

from tools.cards import PlaceWords
from tools.jobs.here.words import HERE
from tools.jobs.remote.words import JOBS, SANDBOX, SCHEDULE

_PLACES: dict[str, PlaceWords] = {words.name: words for words in (HERE, JOBS, SANDBOX)}
"""Those that a request named by its where alone, before their words went along."""


def migrated(line: bytes) -> bytes:
    """The line with its place's words in each request for hardware; most lines are returned as they are, unread."""
    if b'"kind":"spend"' not in line or b'"place":{' in line:
        return line
    entry = json.loads(line)
    request = entry["event"].get("request")
    if not isinstance(request, dict) or request.get("where") not in _PLACES:
        return line
    words = SCHEDULE if request.get("schedule") else _PLACES[request["where"]]
    request["place"] = words.model_dump()
    return json.dumps(entry, separators=(",", ":")).encode()
