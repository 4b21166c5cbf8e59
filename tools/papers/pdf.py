"""Read a paper from a PDF, in a process of its own with limits on memory, time and output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tools.papers.paper import Section
from tools.papers.pdf_text import mended, sections
from tools.problem import Problem

_SECONDS = 45.0
_CHILD = Path(__file__).with_name("pdf_child.py")
_WORDS = {
    "encrypted": ("This PDF is locked with a password.", "Upload a copy without one."),
    "broken": ("This PDF is damaged and cannot be read.", "Try another copy of it."),
    "too big": ("This PDF needs too much memory to read.", "Try another copy, or the HTML version."),
}


def read_pdf(pdf: bytes, check: Callable[[], None] = lambda: None) -> tuple[str, tuple[Section, ...], int, str]:
    """(title, sections, pages, note). The title is the first line of the first page; note says what could not be read.

    check: called often; when it raises, the process is killed. Raises Problem for what is no readable PDF.
    """
    if b"%PDF-" not in pdf[:1024]:
        raise Problem("This is no PDF.", "Give the address or name of a PDF file.")
    found = _in_a_process(pdf, check)
    if word := found.get("problem"):
        raise Problem(*_WORDS[word])
    pages = mended(found["pages"])
    if not any(pages) and found["unread"]:
        raise Problem("No page of this PDF could be read within its limits.", "Try another copy, or the HTML version.")
    if not any(pages):
        raise Problem("This PDF has no text in it, perhaps only scanned pictures.", "Find another copy with text.")
    lines = (line.strip() for line in pages[0].splitlines())
    title = next((line for line in lines if len(line) > 3 and not line.startswith("arXiv:")), "")
    outline = [(int(level), str(name), int(page)) for level, name, page in found["outline"]]
    return title[:200], sections(pages, outline), int(found["count"]), _note(found)


def _in_a_process(pdf: bytes, check: Callable[[], None]) -> dict[str, Any]:
    """Files instead of pipes: nothing blocks, and the child's own limit on file size bounds its answer."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as answer:
        given.write(pdf)
        given.seek(0)
        child = subprocess.Popen(
            [sys.executable, "-I", str(_CHILD)],
            stdin=given,
            stdout=answer,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            cwd=tempfile.gettempdir(),
            start_new_session=True,
        )
        deadline = time.monotonic() + _SECONDS
        try:
            while child.poll() is None:
                check()
                if time.monotonic() > deadline:
                    raise Problem(f"This PDF took longer than {_SECONDS:.0f} s to read.", "Try the HTML version.")
                with suppress(subprocess.TimeoutExpired):
                    child.wait(0.02)
        finally:
            _end(child)
        answer.seek(0)
        try:
            found = json.loads(answer.read())
        except ValueError:  # killed by one of its limits
            raise Problem(*_WORDS["too big"]) from None
    return found if isinstance(found, dict) else {"problem": "broken"}


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _note(found: dict[str, Any]) -> str:
    said = ["Formulas in a PDF's text are not reliable."]
    if len(found["pages"]) < found["count"]:
        said.append(f"Only the first {len(found['pages'])} of {found['count']} pages were read.")
    if found["unread"]:
        said.append(f"Pages that could not be read: {', '.join(map(str, found['unread'][:20]))}.")
    return " ".join(said)
