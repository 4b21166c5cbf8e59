"""Looks into a session's folder with host's rights: no link, race, pipe or depth in it leads astray.

Generated code owns work/ and tmp/ and may be running while the host looks. So the host walks by descriptors, one
folder at a time, follows no link, and opens nothing that could make it wait.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tools.problem import Problem

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_SHOWN = 200  # characters of a path in a message
LONGEST = 4096  # characters of a path
LARGEST = 512 << 20  # bytes


def safe_open(folder: Path, path: str, most: int = LARGEST) -> BinaryIO:
    """Open a plain file beneath folder for reading, by its relative path.

    folder itself is the host's own and may be reached through links. Raises Problem for all that is no file of that
    folder: links anywhere on the way, "..", second names of a file, pipes, devices, more than most bytes.
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path or len(path) > LONGEST:
        raise Problem(f"{path[:_SHOWN]!r} is no path in this session.", "Give it relative to the session's folder.")
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            here, above = os.open(part, _FOLDER, dir_fd=here), here
            os.close(above)
        file = os.open(parts[-1], _FILE, dir_fd=here)
    except (OSError, ValueError):
        raise Problem(f"There is no file {path[:_SHOWN]!r} in this session.", "It may be a link, or removed.") from None
    finally:
        os.close(here)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise Problem(f"{path[:_SHOWN]!r} is no plain file.", "Copy its content into a new file.")
        if found.st_size > most:
            raise Problem(f"{path[:_SHOWN]!r} has {found.st_size:,} bytes; {most:,} is the most.", "Make it smaller.")
        return os.fdopen(file, "rb")
    except BaseException:
        os.close(file)
        raise


@dataclass(frozen=True)
class DiskUsage:
    """What lies in some folders: bytes on disk, entries, and how deep it goes. Cut off where a limit was passed."""

    bytes: int = 0
    entries: int = 0
    depth: int = 0


def usage(folders: list[Path], most: DiskUsage) -> DiskUsage:
    """Count until a limit is passed: hostile trees are neither followed to their depth nor to their end."""
    size = entries = deepest = 0
    for entry, depth, _ in _walk(folders, most.depth + 1):
        size, entries, deepest = size + entry.st_blocks * 512, entries + 1, max(deepest, depth)
        if size > most.bytes or entries > most.entries or deepest > most.depth:
            break
    return DiskUsage(size, entries, deepest)


def remove_since(folders: list[Path], since: float, most: DiskUsage, *, keep: Collection[str]) -> None:
    """Remove the files that were made or changed after since (seconds of the epoch), and all that lies too deep.

    For after a limit was passed, when nobody writes there any more. keep: names of files that stay.
    """
    for entry, depth, (folder, name) in _walk(folders, most.depth):
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(entry.st_mode):
                if depth >= most.depth:
                    _remove_tree(folder, name)
            elif entry.st_ctime >= since and name not in keep:
                os.unlink(name, dir_fd=folder)
    if usage(folders, most).entries > most.entries:  # a heap of folders
        for path in folders:
            for child in set(os.listdir(path)).difference(keep):
                _remove_tree(path, child)


def _remove_tree(folder: int | Path, name: str) -> None:
    """rm climbs to any depth; Python's rmtree gives up at a thousand."""
    place = f"/proc/self/fd/{folder}" if isinstance(folder, int) else str(folder)
    fds = (folder,) if isinstance(folder, int) else ()
    subprocess.run(["rm", "-rf", "--", f"./{name}"], cwd=place, pass_fds=fds, check=False, stderr=subprocess.DEVNULL)


def _walk(folders: list[Path], depth: int) -> Iterator[tuple[os.stat_result, int, tuple[int, str]]]:
    """Entries with their depth and place, no deeper than depth; what vanishes meanwhile is left out."""
    for folder in folders:
        with contextlib.suppress(OSError):
            root = os.open(folder, _FOLDER)
            try:
                yield from _beneath(root, 1, depth)
            finally:
                os.close(root)


def _beneath(folder: int, level: int, depth: int) -> Iterator[tuple[os.stat_result, int, tuple[int, str]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
                yield found, level, (folder, entry.name)
                if level < depth and stat.S_ISDIR(found.st_mode):
                    inner = os.open(entry.name, _FOLDER, dir_fd=folder)
                    try:
                        yield from _beneath(inner, level + 1, depth)
                    finally:
                        os.close(inner)
            except OSError:
                continue
