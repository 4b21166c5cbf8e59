"""What a job on this machine left in its working folder. Links are not followed, and nothing is opened that could wait."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tools.cards import OutputFile
from tools.jobs.outputs import LISTED, OutputList, checked
from tools.problem import Problem

DEPTH, ENTRIES = 8, 10_000
PIECE = 65_536  # bytes

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class OutputsHere:
    """A Kept. folder: the job's working folder; prefix: what its paths begin with, seen from the session's folder."""

    hide = ()

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder, self._prefix = folder, prefix

    def files(self) -> OutputList:
        files, whole = files_under(self._folder)
        return OutputList(tuple(files), whole=whole)

    def own(self, path: str) -> str:
        return checked(path.removeprefix(self._prefix))

    @contextlib.contextmanager
    def open(self, path: str, seconds: float) -> Iterator[tuple[int, Iterator[bytes]]]:  # noqa: ARG002  # it is here
        *folders, name = self.own(path).split("/")
        with contextlib.ExitStack() as opened:
            try:
                here = opened.enter_context(_opened(self._folder, None))
                for folder in folders:
                    here = opened.enter_context(_opened(folder, here))
                file = opened.enter_context(os.fdopen(os.open(name, _FILE, dir_fd=here), "rb"))
            except OSError:
                raise Problem(f"The job left no file {path[:120]!r}.", "See job_output(job) for its files.") from None
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise Problem(f"{path[:120]!r} is no plain file.", "See job_output(job) for its files.")
            yield found.st_size, iter(lambda: file.read(PIECE), b"")


def files_under(folder: Path) -> tuple[list[OutputFile], bool]:
    """Regular files below, at most LISTED, and whether that is all; hidden names and caches are left out."""
    found: list[OutputFile] = []
    left, whole = ENTRIES, True

    def look(descriptor: int, prefix: str, depth: int) -> None:
        nonlocal left, whole
        with os.scandir(descriptor) as entries:
            for entry in entries:
                left -= 1
                if left < 0 or len(found) >= LISTED:
                    whole = False
                    return
                if entry.name.startswith(".") or entry.name == "__pycache__":
                    continue
                if entry.is_dir(follow_symlinks=False) and depth < DEPTH:
                    with contextlib.suppress(OSError), _opened(entry.name, descriptor) as inner:
                        look(inner, f"{prefix}{entry.name}/", depth + 1)
                elif entry.is_file(follow_symlinks=False) and entry.name.isprintable():
                    with contextlib.suppress(OSError):  # it has just gone
                        size = entry.stat(follow_symlinks=False).st_size
                        found.append(OutputFile(path=prefix + entry.name, bytes=size))

    with contextlib.suppress(OSError), _opened(folder, None) as top:
        look(top, "", 1)
    return sorted(found, key=lambda file: file.path), whole


@contextlib.contextmanager
def _opened(folder: str | Path, parent: int | None) -> Iterator[int]:
    """A folder's descriptor: what is below cannot be exchanged for a link between the look and the step."""
    descriptor = os.open(folder, _FOLDER, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
