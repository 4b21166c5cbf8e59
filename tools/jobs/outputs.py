"""What a job left, wherever it ran: files below a folder of its own, listed and read within bounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from tools.cards import OutputFile
from tools.problem import Problem

LISTED = 200  # files
TOLD = 50  # of them to the model unasked
LONGEST = 500  # characters of a path


@dataclass(frozen=True)
class OutputList:
    """files: the first LISTED. rest: how many more were seen. whole: whether all were seen. url: the bucket's page."""

    files: tuple[OutputFile, ...]
    rest: int = 0
    whole: bool = True
    bucket: str = ""  # "ada/ml-intern"; "": it is kept on this machine
    folder: str = ""  # in the bucket, the job's own
    url: str = ""


class Outputs(Protocol):
    """Paths are relative to the job's own folder. Every method raises Problem in words."""

    @property
    def hide(self) -> tuple[str, ...]: ...  # values that nobody may read in a file

    def files(self) -> OutputList: ...

    def own(self, path: str) -> str: ...  # a path as the model may write it, within the folder

    def open(self, path: str, seconds: float) -> AbstractContextManager[tuple[int | None, Iterator[bytes]]]:
        """Its size, if that is told, and its bytes as they come, all within so many seconds. The end is the real one."""
        ...


def is_plain(path: str) -> bool:
    """Whether a path names something below a folder, and in characters that can be shown."""
    parts = path.split("/")
    return path.isprintable() and len(path) <= LONGEST and "\\" not in path and not {"", ".", ".."} & set(parts)


def checked(path: str) -> str:
    if not is_plain(path):
        raise Problem(f"{path[:120]!r} is no path of a job's file.", "Write it as job_output(job) lists it.")
    return path


def listed(files: Iterable[OutputFile]) -> list[dict[str, str | int]]:
    """As the model reads them: the first 50."""
    return [{"path": file.path, "bytes": file.bytes} for file in islice(files, TOLD)]
