"""Runs by itself in a limited process: PDF on standard input, JSON on standard output. Imports nothing of this app.

Output: {"pages": [str, ...], "outline": [[level, title, page], ...], "count": int, "unread": [page, ...]}, pages from 1,
or {"problem": "encrypted" | "broken" | "too big"}.
"""

from __future__ import annotations

import io
import json
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

PAGES = 300
SECONDS_A_PAGE = 2.0
SECONDS_IN_ALL = 40.0  # less than the parent's patience, so that what was read is handed over
MEMORY = 1_000_000_000
CHARS_A_PAGE = 100_000
CHARS_IN_ALL = 4_000_000
OUTLINE = 500
WIDEST_BLANK = 300  # thousandths of the font size

LIMITS = {
    "zlib_maximum_output_length": 20_000_000,
    "stream_decoding_work_maximum_length": 60_000_000,
    "stream_parsing_work_maximum_count": 1_000_000,
    "page_tree_maximum_entries": 2_000,
    "xform_maximum_invocations_per_extraction": 300,
}


class TooSlow(BaseException):
    """The alarm for one page rang. Not an Exception, so that pypdf does not take it for a flaw of the file."""


def confine() -> None:
    """Bound this process before it sees a byte of the PDF. Where the system has no such limits, the parent's stay."""
    try:
        import resource
    except ImportError:
        return
    for what, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, int(SECONDS_IN_ALL) + 4),
        (resource.RLIMIT_FSIZE, 8 * CHARS_IN_ALL),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(what, (most, most))
        except (ValueError, OSError):  # macOS has no limit on address space
            continue


def narrow_the_blanks() -> None:
    """Cap the width that pypdf takes for a blank.

    TeX's fonts have no blank: code 32 is a wide "visible space", so in tightly set lines pypdf takes the gaps between
    words for gaps between letters. The name is private, so where it is gone the text is only a little worse.
    """
    try:
        from pypdf.generic._font import Font

        read = Font.from_font_resource.__func__
    except (ImportError, AttributeError):
        return

    def from_font_resource(cls: Any, *args: Any, **named: Any) -> Any:
        font = read(cls, *args, **named)
        if not font.font_descriptor.flags & 1:  # not of fixed pitch
            font.space_width = min(font.space_width, WIDEST_BLANK)
        return font

    Font.from_font_resource = classmethod(from_font_resource)


def extract(pdf: bytes) -> dict[str, Any]:
    """Read all that can be read. One bad page does not lose the others."""
    import pypdf
    from pypdf.errors import FileNotDecryptedError, PyPdfError

    broken = (PyPdfError, RecursionError, ValueError, KeyError, TypeError, AttributeError, IndexError, MemoryError)
    with pypdf.apply_configuration(**LIMITS):
        try:
            reader = pypdf.PdfReader(io.BytesIO(pdf))
            count = len(reader.pages)
        except FileNotDecryptedError:
            return {"problem": "encrypted"}
        except MemoryError:
            return {"problem": "too big"}
        except (*broken, TooSlow):
            return {"problem": "broken"}
        pages: list[str] = []
        unread: list[int] = []
        started = time.monotonic()
        for index in range(min(count, PAGES)):
            if time.monotonic() - started > SECONDS_IN_ALL or sum(map(len, pages)) > CHARS_IN_ALL:
                break
            try:
                with_alarm(SECONDS_A_PAGE)
                pages.append(reader.pages[index].extract_text()[:CHARS_A_PAGE])
            except (*broken, TooSlow):
                pages.append("")
                unread.append(index + 1)
            finally:
                with_alarm(0)
        try:
            with_alarm(SECONDS_A_PAGE)
            outline = list(flat(reader, reader.outline, 1))[:OUTLINE]
        except (*broken, TooSlow):
            outline = []
        finally:
            with_alarm(0)
    return {"pages": pages, "outline": outline, "count": count, "unread": unread}


def flat(reader: Any, entries: list[Any], level: int) -> Iterator[list[Any]]:
    for entry in entries:
        if isinstance(entry, list):
            if level < 6:
                yield from flat(reader, entry, level + 1)
            continue
        page = reader.get_destination_page_number(entry)
        if page is not None and page >= 0 and isinstance(entry.title, str):
            yield [level, entry.title[:200], page + 1]


def with_alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def ring(*_: object) -> None:
    raise TooSlow


def main() -> None:
    confine()
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, ring)
    narrow_the_blanks()
    with_alarm(SECONDS_A_PAGE * 5)  # for opening the file
    found = extract(sys.stdin.buffer.read())
    text = json.dumps(found, ensure_ascii=True)  # lone surrogates, which PDFs contain, survive as escapes
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
