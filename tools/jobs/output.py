"""job_output: the files that a job left, listed, read, or brought to where code can read them."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tools.cards import FileMade
from tools.desk import Desk, view_of
from tools.jobs.outputs import Outputs
from tools.jobs.remote.log import hidden
from tools.problem import Problem

SHOWN = 20_000  # characters of a text
TAIL = 8_192  # characters before the place where reading ended: a secret that is cut there is not known any more
READ = 4 * (SHOWN + TAIL)  # bytes
READ_SECONDS = 30.0
SAVED = 200_000_000  # bytes
SAVE_SECONDS = 300.0


def job_output(desk: Desk, job: str, path: str = "", *, save: bool = False) -> Any:
    """Files that a job of this conversation left: list them, read a text (20,000 characters), or save one for your code.

    Args:
        path: As it is listed; "" lists all.
        save: Bring the file (up to 200 MB) to uploads/ instead.

    Returns: Listing: a dict, files (list of dicts: path, bytes), more (int), whole (bool: all were counted).
        Reading: str. save: a dict, path, bytes.
    """
    kept = view_of(desk).outputs(job)
    if not path:
        left = kept.files()
        files = [{"path": file.path, "bytes": file.bytes} for file in left.files]
        return {"files": files, "more": left.rest, "whole": left.whole}
    return _saved(desk, kept, job, path=path) if save else _text(desk, kept, path)


def _text(desk: Desk, kept: Outputs, path: str) -> str:
    data, ended = bytearray(), True
    with kept.open(path, READ_SECONDS) as (size, pieces):
        for piece in pieces:
            desk.check()
            data += piece
            if len(data) > READ:
                ended = False
                break
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(bytes(data[:READ]), final=ended)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise Problem(f"{path!r} is no text.", "Use save=True, then open it in your code.")
    shown = hidden(text, kept.hide)
    shown = shown if ended else shown[:-TAIL]
    if ended and len(shown) <= SHOWN:
        return shown
    of = f" of {size:,} bytes" if size is not None else ""
    return f"{shown[:SHOWN]}\n[Only the beginning{of} is shown; save=True fetches the whole file.]"


def _saved(desk: Desk, kept: Outputs, job: str, *, path: str) -> dict[str, Any]:
    """Whole or not at all. uploads/ is what generated code may read and not change, and what the user can download."""
    target = Path("uploads") / re.sub(r"[^\w.-]+", "-", job)[:60] / kept.own(path)
    with kept.open(path, SAVE_SECONDS) as (size, pieces):
        _check_size(path, size or 0)
        if size and size > shutil.disk_usage(desk.folder).free // 2:
            raise Problem(f"{path!r} has {size:,} bytes: too many for this disk.", "Read it in another job.")
        with _made(desk.folder / target) as file:
            for piece in pieces:
                desk.check()
                file.write(piece)
                _check_size(path, file.tell())
            fetched = file.tell()
    desk.show(FileMade(path=target.as_posix(), bytes=fetched, job=job))
    return {"path": target.as_posix(), "bytes": fetched}


def _check_size(path: str, size: int) -> None:
    if size > SAVED:
        raise Problem(
            f"{path!r} has {size:,} bytes or more.", f"At most {SAVED:,} are fetched. Read it in another job."
        )


@contextlib.contextmanager
def _made(target: Path) -> Iterator[BinaryIO]:
    """A new file that gets its name when all of it is there."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, new = tempfile.mkstemp(dir=target.parent, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
            os.replace(new, target)
        finally:
            Path(new).unlink(missing_ok=True)
    except OSError as error:
        raise Problem(f"The file cannot be kept: {error.strerror}.", "Is the disk full? Then make room.") from None
