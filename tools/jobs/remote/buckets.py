"""A folder of a bucket on the Hub, read as one user: which files lie in it, and what is in one. Nothing is changed.

A file's address leads on to a storage host, where the user's token does not go: see Hub.reading.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tools.cards import OutputFile
from tools.hub.hub import Hub, whole
from tools.jobs.outputs import LISTED, OutputList, checked, is_plain
from tools.problem import NotThere, Problem

LISTING_SECONDS = 10.0
PAGES = 10


@dataclass(frozen=True)
class BucketFolder:
    """A Kept. bucket: "ada/ml-intern"; folder: a job's own, whatever else lies beside it."""

    hub: Hub
    bucket: str
    folder: str
    hide: tuple[str, ...] = field(default=(), repr=False)

    def files(self) -> OutputList:
        """What can be known of them within 10 seconds. A bucket that is not there holds nothing.

        Raises Problem if not even its first page can be had.
        """
        deadline = time.monotonic() + LISTING_SECONDS
        where = f"{quote(self.bucket)}/tree/{quote(self.folder, safe='')}?recursive=true"
        more: str | None = f"{self.hub.endpoint}/api/buckets/{where}"
        found: list[OutputFile] = []
        rest = 0
        for number in range(PAGES):
            try:
                page, more = self._page(more, deadline)
            except NotThere:
                page, more = [], None
            except Problem:
                if number == 0:
                    raise
                break
            for item in page:
                file = self._file(item)
                if file and len(found) < LISTED:
                    found.append(file)
                rest += self._is_ours(item)
            if more is None:
                break
        at = f"{self.hub.endpoint}/buckets/{quote(self.bucket)}"
        return OutputList(tuple(found), rest - len(found), more is None, self.bucket, self.folder, at)

    def own(self, path: str) -> str:
        return checked(path)

    @contextlib.contextmanager
    def open(self, path: str, seconds: float) -> Iterator[tuple[int | None, Iterator[bytes]]]:
        full = quote(f"{self.folder}/{self.own(path)}", safe="")
        url = f"{self.hub.endpoint}/buckets/{quote(self.bucket)}/resolve/{full}"
        as_it_is = {"accept-encoding": "identity"}  # so that the size that is told is the file's
        with self.hub.reading(f"file {path!r} of the job", url, (), seconds=seconds, headers=as_it_is) as (
            response,
            pieces,
        ):
            told = response.headers.get("content-length", "")
            yield int(told) if told.isdigit() and "content-encoding" not in response.headers else None, pieces

    def _page(self, url: str | None, deadline: float) -> tuple[list[Any], str | None]:
        what = f"the files in {self.bucket}/{self.folder}"
        if url is None or not url.startswith(f"{self.hub.endpoint}/"):
            raise Problem(f"The Hub's answer about {what} leads elsewhere.", "Try again in a minute.")
        with self.hub.reading(what, url, (), seconds=deadline - time.monotonic()) as (response, pieces):
            body = whole(what, pieces)
        try:
            page = json.loads(body)
        except (ValueError, RecursionError):
            page = None
        if not isinstance(page, list):
            raise Problem(f"The Hub's answer about {what} makes no sense.", "Try again in a minute.")
        return page, response.links.get("next", {}).get("url")

    def _is_ours(self, item: Any) -> bool:
        """Whether it is a file of this folder: the Hub takes the folder's name for the beginning of a path."""
        path = item.get("path") if isinstance(item, dict) else None
        return isinstance(path, str) and path.startswith(f"{self.folder}/") and item.get("type") == "file"

    def _file(self, item: Any) -> OutputFile | None:
        """None for what is no file of this folder, or one whose name could lead astray."""
        if not self._is_ours(item):
            return None
        path, size = item["path"].removeprefix(f"{self.folder}/"), item.get("size")
        known = isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 1 << 60
        return OutputFile(path=path, bytes=size) if known and is_plain(path) else None
