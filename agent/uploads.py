"""The files of one session that its user may put there and take away."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import BinaryIO

from agent.sandbox.files import safe_open
from tools.problem import Problem


class Uploads:
    """uploads/ holds the user's files and what was fetched for generated code, jobs/ what jobs left; work/ belongs to generated code."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("uploads", "work"):
            (folder / name).mkdir(exist_ok=True)
        if not os.path.lexists(seen := folder / "work" / "uploads"):
            seen.symlink_to("../uploads")  # code finds a file under the name that the tools know it by

    def has(self, name: str) -> bool:
        """Whether there is an upload of that name."""
        return (self._folder / "uploads" / Path(name).name).is_file()

    def upload(self, name: str, source: Path) -> str:
        """Copy a file to the uploads; returns the name it has there."""
        plain = re.sub(r"[^\w.\- ]", "_", Path(name).name).lstrip(".")[-100:] or "file"
        stem, suffix = Path(plain).stem, Path(plain).suffix
        folder = self._folder / "uploads"
        folder.mkdir(parents=True, exist_ok=True)
        for n in range(1, 1000):
            target = folder / (f"{stem}{suffix}" if n == 1 else f"{stem}-{n}{suffix}")
            try:
                with source.open("rb") as data, target.open("xb") as copy:
                    shutil.copyfileobj(data, copy)
            except FileExistsError:
                continue
            return target.name
        raise Problem(f"There are too many files called {name!r}.", "Rename it.")

    def open(self, path: str) -> BinaryIO:
        """Open a file of a job or an upload. Raises Problem for anything else, links included."""
        if path.partition("/")[0] not in ("jobs", "uploads"):
            raise Problem(f"There is no file {path!r} to be had from this session.", "Ask for what a job left.")
        return safe_open(self._folder, path)
