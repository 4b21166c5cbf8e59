"""Large observations: what the model reads is cut head and tail, the whole lies in a file that its code can read on."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

FOLDER = "outputs"  # in the session's work folder
FILES = 40  # that are kept, the newest
LARGEST = 1_000_000  # characters of one file
_NAME = re.compile(r"step-(\d{1,9})\.txt")
_BELOW = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def cut(text: str, limit: int, note: str = "") -> str:
    """Head and tail of a text; between them how much is missing, and where it is."""
    if len(text) <= limit:
        return text
    head = limit * 3 // 5
    tail = limit - head
    return f"{text[:head]}\n… {len(text) - limit:,} characters cut{note} …\n{text[-tail:]}"


def keep(work: Path, step: int, text: str) -> str:
    """Write the whole of a step's observation into the work folder; returns its path there, "" if that is not possible.

    The folder is generated code's own, which may be running: no link in it is followed, and nothing that stands there
    is opened, only replaced.
    """
    name = f"step-{step}.txt"
    data = cut(text, LARGEST).encode("utf-8", "replace")
    try:
        with contextlib.ExitStack() as opened:
            root = os.open(work, _BELOW)
            opened.callback(os.close, root)
            with contextlib.suppress(FileExistsError):
                os.mkdir(FOLDER, 0o700, dir_fd=root)
            folder = os.open(FOLDER, _BELOW, dir_fd=root)
            opened.callback(os.close, folder)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            file = os.open(name, _NEW, 0o600, dir_fd=folder)
            with os.fdopen(file, "wb") as new:
                new.write(data)
            _drop_oldest(folder)
    except OSError:
        return ""
    return f"{FOLDER}/{name}"


def _drop_oldest(folder: int) -> None:
    ours = sorted(int(found[1]) for name in os.listdir(folder) if (found := _NAME.fullmatch(name)))
    for step in ours[:-FILES]:
        with contextlib.suppress(OSError):
            os.unlink(f"step-{step}.txt", dir_fd=folder)
