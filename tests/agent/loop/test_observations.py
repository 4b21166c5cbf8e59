from __future__ import annotations

import os
from pathlib import Path

from agent.loop.observations import FILES, LARGEST, cut, keep

WHOLE = "line\n" * 10_000


def test_head_and_tail_stay_and_what_is_missing_is_said() -> None:
    text = cut("a" * 600 + "b" * 5_000 + "c" * 400, 1_000, "; all of it is in x.txt")
    assert text.startswith("a" * 600)
    assert text.endswith("c" * 400)
    assert "b" not in text
    assert "5,000 characters cut; all of it is in x.txt" in text
    assert cut("short", 1_000) == "short"


def test_the_whole_is_kept_in_the_work_folder(tmp_path: Path) -> None:
    assert keep(tmp_path, 12, WHOLE) == "outputs/step-12.txt"
    assert (tmp_path / "outputs/step-12.txt").read_text() == WHOLE
    assert keep(tmp_path, 12, "again") == "outputs/step-12.txt"
    assert (tmp_path / "outputs/step-12.txt").read_text() == "again"


def test_only_the_newest_are_kept_and_none_is_endless(tmp_path: Path) -> None:
    for step in range(1, FILES + 11):
        keep(tmp_path, step, "x")
    keep(tmp_path, 1_000, "x" * 3 * LARGEST)
    names = {path.name for path in (tmp_path / "outputs").iterdir()}
    assert len(names) == FILES
    assert {"step-1000.txt", "step-50.txt"} <= names
    assert "step-10.txt" not in names
    assert (tmp_path / "outputs/step-1000.txt").stat().st_size < LARGEST + 100


def test_links_that_code_has_planted_lead_nowhere(tmp_path: Path) -> None:
    work, other = tmp_path / "work", tmp_path / "other"
    work.mkdir()
    other.mkdir()
    (other / "precious").write_text("mine")
    (work / "outputs").symlink_to(other)
    assert keep(work, 1, WHOLE) == ""
    assert [path.name for path in other.iterdir()] == ["precious"]

    (work / "outputs").unlink()
    (work / "outputs").mkdir()
    (work / "outputs/step-1.txt").symlink_to(other / "precious")
    (work / "outputs/step-2.txt").hardlink_to(other / "precious")
    os.mkfifo(work / "outputs/step-3.txt")
    for step in (1, 2, 3):
        assert keep(work, step, "whole") == f"outputs/step-{step}.txt"
        assert (work / f"outputs/step-{step}.txt").read_text() == "whole"
    assert (other / "precious").read_text() == "mine"


def test_what_stands_in_the_way_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file")
    assert keep(tmp_path, 1, WHOLE) == ""
    assert keep(tmp_path / "gone", 1, WHOLE) == ""
    (tmp_path / "outputs").unlink()
    (tmp_path / "outputs/step-1.txt").mkdir(parents=True)
    assert keep(tmp_path, 1, WHOLE) == ""
