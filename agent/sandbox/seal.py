"""Marks on what workers save, by which the host knows it again: nobody else's, and nothing older or forged.

The host never looks into it. A worker leaves its draft; the host marks it and puts it in the place of the one before.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import threading
from pathlib import Path
from typing import BinaryIO

DRAFT, STATE = "draft", "variables"  # in state/, which the worker may change
_MARKS = "variables.marks"  # beside it: only the host can
_KEY_BYTES = 32
_KEPT = 2  # marks of before: a crash may have kept the state of one of them

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
    """For the variables of one session in folder."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self._marks, self._key = folder / _MARKS, key
        self._draft, self._state = folder / "state" / DRAFT, folder / "state" / STATE

    def commit(self) -> None:
        """Take up the draft, if there is one. No worker may be running. A crash at any point leaves the old or the new."""
        try:
            with self._open(self._draft) as draft:
                mark = self._mark(draft)
        except OSError:  # none, or something that is no file
            return
        marks = self._marks.with_suffix(".new")
        marks.write_text("\n".join([*self._known()[-_KEPT:], mark]))
        os.replace(marks, self._marks)
        os.replace(self._draft, self._state)

    def is_ours(self) -> bool:
        """Whether what is saved may be loaded; True also when there is nothing."""
        try:
            with self._open(self._state) as state:
                mark = self._mark(state)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return any(hmac.compare_digest(mark, known) for known in self._known())

    def _known(self) -> list[str]:
        try:
            return self._marks.read_text().split()
        except (FileNotFoundError, UnicodeDecodeError):
            return []

    def _mark(self, file: BinaryIO) -> str:
        mark = hmac.new(self._key, digestmod="sha256")
        while piece := file.read(1 << 20):
            mark.update(piece)
        return mark.hexdigest()

    @staticmethod
    def _open(path: Path) -> BinaryIO:
        """Only a plain file: the code may have put anything there."""
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError("no plain file")
        return os.fdopen(file, "rb")
