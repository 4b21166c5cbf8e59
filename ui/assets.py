"""The page's own files, read once and served under a path that names their content, so browsers keep them for good."""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2"}


def _read() -> dict[str, bytes]:
    paths = sorted(path for path in FOLDER.rglob("*") if path.suffix in TYPES)
    return {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in paths}


FILES = _read()
HASH = hashlib.sha256(b"".join(name.encode() + b"\0" + data for name, data in FILES.items())).hexdigest()[:16]


def asset(version: str, name: str) -> Response:
    """One file of the page; 404 for another version's, which would mix with ours."""
    if version != HASH or name not in FILES:
        return Response("There is no such file in this version of the page.", 404, media_type="text/plain")
    headers = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}
    return Response(FILES[name], media_type=TYPES[Path(name).suffix], headers=headers)
