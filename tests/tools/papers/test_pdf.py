"""What is read from PDFs, and that no PDF harms the reader."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pypdf
import pytest

from tests.doubles.papers import pdf
from tools.papers.pdf import read_pdf
from tools.papers.pdf_text import mended, sections
from tools.problem import Problem, Stopped


def test_a_paper_is_read_with_its_sections_and_pages() -> None:
    title, parts, pages, note = read_pdf(pdf.paper())
    assert (title, pages) == (pdf.TITLE, 3)
    assert "not reliable" in note
    assert [(part.name, part.first_page) for part in parts[1:]] == [
        ("Abstract", 1),
        ("1 Introduction", 1),
        ("1.1 Related work", 1),
        ("2 Method", 2),
        ("2.1 Bands", 2),
        ("3 Results", 3),
        ("4 Conclusion", 3),
        ("References", 3),
    ]


def test_ligatures_hyphens_headers_and_narrow_blanks_are_mended() -> None:
    text = "\n".join(part.text for part in read_pdf(pdf.paper())[1])
    assert "We find that a small model can tell when a kettle boils. The workflow is simple" in text
    assert "the efficiency is high" in text
    assert "a survey of toast" in text
    assert "well-known" in text
    assert "page 2 of 3" not in text


def test_a_row_of_a_table_stays_on_one_line() -> None:
    assert "middle 200 0.35" in "\n".join(part.text for part in read_pdf(pdf.paper())[1])


def test_the_pdfs_own_outline_is_followed() -> None:
    pages = ["Intro\nSome text.", "Deep End\nMore text."]
    parts = sections(pages, [(1, "1 Intro", 1), (2, "Deep end", 2), (1, "Nowhere", 2)])
    assert [(part.level, part.name, part.text) for part in parts] == [
        (1, "1 Intro", "Some text."),
        (2, "Deep end", "More text."),
    ]


def test_numbers_of_a_list_or_table_are_not_taken_for_sections() -> None:
    page = "1 Introduction\nText.\n3 Apples\n2 Method\nText.\n7 Pears and plums\n3 Results\n1. first item of a list,"
    assert [part.name for part in sections([page], [])] == ["1 Introduction", "2 Method", "3 Results"]


def test_without_any_heading_the_pages_are_the_sections() -> None:
    assert [part.name for part in sections(["just words", "more words"], [])] == ["Page 1", "Page 2"]


def test_a_hyphen_that_belongs_there_stays() -> None:
    assert mended(["a low-rank update and low-rank again, low-\nrank at the end"])[0].count("low-rank") == 3


def test_half_characters_are_dropped() -> None:
    assert mended(["a\ud835b ﬁne\u00adly"]) == ["ab finely"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"%PDF-", b"%PDF-1.5\n" + b"\x00" * 1000])
def test_what_is_no_pdf_is_a_problem(body: bytes) -> None:
    with pytest.raises(Problem):
        read_pdf(body)


def test_a_pdf_cut_off_in_the_middle_is_a_problem() -> None:
    body = pdf.paper()
    with pytest.raises(Problem):
        read_pdf(body[: len(body) // 2])


def test_a_locked_pdf_says_so_and_one_with_an_empty_password_is_read() -> None:
    for password, opens in (("tea", False), ("", True)):
        writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf.paper()))
        writer.encrypt(password, algorithm="AES-256")
        out = io.BytesIO()
        writer.write(out)
        if opens:
            assert read_pdf(out.getvalue())[2] == 3
        else:
            with pytest.raises(Problem, match="password"):
                read_pdf(out.getvalue())


def _bomb() -> bytes:
    return pdf.pdf_of_streams([b" " * 200_000_000])


def _many_operators() -> bytes:
    return pdf.pdf_of_streams([b"BT /F1 10 Tf " + b"(x) Tj " * 600_000 + b"ET"])


def _laughs() -> bytes:
    forms = [
        pdf.stream(
            b"/X Do " * 10 if n < 9 else b"BT /F1 9 Tf (ha) Tj ET",
            f"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X {5 + n} 0 R >> >>",
        )
        for n in range(10)
    ]
    return pdf.pdf_of_streams([b"/X Do"], "/XObject << /X 4 0 R >>", forms)


def _nested() -> bytes:
    return pdf.assemble([b"<< /Type /Catalog /Pages 2 0 R >>", b"[" * 100_000])


def _endless_pages() -> bytes:
    kids = b"3 0 R " * 90_000
    tree = b"<< /Type /Pages /Count 90000 /Kids [" + kids + b"] >>"
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>"
    return pdf.assemble([b"<< /Type /Catalog /Pages 2 0 R >>", tree, page])


def _loop() -> bytes:
    return pdf.assemble([b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 1 /Kids [2 0 R] >>"])


@pytest.mark.parametrize("make", [_bomb, _many_operators, _laughs, _nested, _endless_pages, _loop])
def test_a_hostile_pdf_ends_soon_in_a_problem_or_in_bounded_text(make: Callable[[], bytes]) -> None:
    body = make()
    started = time.monotonic()
    chars = 0
    with contextlib.suppress(Problem):
        chars = sum(len(part.text) for part in read_pdf(body)[1])
    assert time.monotonic() - started < 20
    assert chars < 5_000_000


def test_stop_kills_the_reading_process() -> None:
    body = pdf.pdf_of_streams([b"BT /F1 10 Tf " + b"(x) Tj " * 120_000 + b"ET"] * 30)

    def check() -> None:
        if _readers():
            raise Stopped

    with pytest.raises(Stopped):
        read_pdf(body, check)
    assert not _readers()


def _readers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if _reads_pdf(child)]


def _reads_pdf(process: psutil.Process) -> bool:
    try:
        return "pdf_child" in " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return False


def test_the_reading_process_has_no_secrets_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    seen: list[dict[str, str]] = []

    def check() -> None:
        for child in psutil.Process().children():
            with suppress(psutil.Error):  # it may end while we look
                if "pdf_child" in " ".join(child.cmdline()):
                    seen.append(child.environ())

    read_pdf(pdf.paper(), check)
    assert all("HF_TOKEN" not in environment for environment in seen)
    assert any(seen)


def test_the_child_imports_nothing_of_this_app() -> None:
    text = Path(read_pdf.__code__.co_filename).with_name("pdf_child.py").read_text(encoding="utf-8")
    assert "from tools" not in text
    assert "import tools" not in text
