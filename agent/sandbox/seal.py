"""Marks on what workers save, by which the host knows it again: not another user's, and not forged.

A worker saves into two files by turns, so that one is always whole. The host never looks into them: it marks the one
that a finished step names, and hands a new worker the last one whose mark is right.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import struct
import threading
from pathlib import Path
from typing import BinaryIO, Literal

Slot = Literal[0, 1]
SLOTS: tuple[Slot, ...] = (0, 1)

_MARK = struct.Struct(">Q32s")  # when: a count; what: of the content, with the owner's key
_KEY_BYTES = 32

_making = threading.Lock()


def owner_key(folder: Path, owner: str) -> bytes:
    """The key of one user. The secret behind all of them is made once and lies in folder, for its owner's eyes only."""
    path = folder / "sandbox.key"
    folder.mkdir(parents=True, exist_ok=True)
    with _making:
        if not path.is_file() or path.stat().st_size != _KEY_BYTES:
            draft = path.with_suffix(".new")
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as out:
                out.write(secrets.token_bytes(_KEY_BYTES))
            os.replace(draft, path)
        return hmac.digest(path.read_bytes(), owner.encode(), "sha256")


class Seal:
    """For the variables of one session in folder. state/ is the worker's to change, the marks beside it are not."""

    names = tuple(f"variables.{slot}" for slot in SLOTS)  # of the files, in state/

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder, self._key = folder, key
        self._marks = folder / "variables.marks"
        self._count = 0  # of the newest mark; 0: not looked at yet

    def mark(self, slot: Slot) -> None:
        """Take up what a worker, now stopped, has saved there. Something that is no file is not taken up."""
        if content := self._content(slot):
            self._count = (self._count or max(count for count, _ in self._read())) + 1
            file = os.open(self._marks, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:  # in place: a rename costs a millisecond, and a torn mark costs one step's variables
                os.pwrite(file, _MARK.pack(self._count, content), slot * _MARK.size)
            finally:
                os.close(file)

    def last(self) -> Slot | None:
        """Where the newest variables are; None when there are none, or none of ours."""
        marks = self._read()
        for slot in sorted(SLOTS, key=lambda slot: -marks[slot][0]):
            if (content := self._content(slot)) and hmac.compare_digest(content, marks[slot][1]):
                return slot
        return None

    def has_any(self) -> bool:
        """Whether anything was ever saved, ours or not."""
        return any((self._folder / "state" / name).exists() for name in self.names)

    def _read(self) -> list[tuple[int, bytes]]:
        try:
            data = self._marks.read_bytes()
        except FileNotFoundError:
            data = b""
        data = data[: 2 * _MARK.size].ljust(2 * _MARK.size, b"\0")
        return [_MARK.unpack_from(data, slot * _MARK.size) for slot in SLOTS]

    def _content(self, slot: Slot) -> bytes:
        try:
            with _open(self._folder / "state" / self.names[slot]) as file:
                mark = hmac.new(self._key, digestmod="sha256")
                while piece := file.read(1 << 20):
                    mark.update(piece)
        except OSError:
            return b""
        return mark.digest()


def _open(path: Path) -> BinaryIO:
    """Only a plain file: the code may have put anything there."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError("no plain file")
    return os.fdopen(file, "rb")
