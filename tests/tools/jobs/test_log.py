"""What the supervisor makes of a script's output before it is the job's log."""

from __future__ import annotations

from pathlib import Path

from tools.jobs.here.jobs import READ_BYTES
from tools.jobs.here.supervise import Log


def logged(tmp_path: Path, *pieces: bytes, cap: int = 1_000_000) -> str:
    log = Log(tmp_path / "log.txt", cap)
    for piece in pieces:
        log.feed(piece)
    log.close()
    return (tmp_path / "log.txt").read_text()


def test_bars_are_folded_and_colours_stripped(tmp_path: Path) -> None:
    assert logged(tmp_path, b"\x1b[1;31mred\x1b[0m\r\n", b" 10%|#\r 20%|##\r\x1b[K 30%|###\n", b"bar\r   \r") == (
        "red\n 30%|###\n"
    )


def test_a_character_cut_between_two_pieces_is_whole(tmp_path: Path) -> None:
    bytes_ = "größer 🤗\n".encode()
    assert logged(tmp_path, *(bytes_[i : i + 1] for i in range(len(bytes_)))) == "größer 🤗\n"


def test_a_full_log_keeps_its_end(tmp_path: Path) -> None:
    text = logged(tmp_path, *(f"line {n}\n".encode() * 100 for n in range(3_000)), b"Error: last\n", cap=10_000)
    assert text.startswith("line 0\n")
    assert "are left out here" in text
    assert text.endswith("Error: last\n")
    assert len(text) < 200_000


def test_a_line_without_an_end_is_cut(tmp_path: Path) -> None:
    text = logged(tmp_path, *[b"x" * 50_000] * 10)
    assert text.count("x") == 500_000
    assert max(map(len, text.splitlines())) < READ_BYTES
