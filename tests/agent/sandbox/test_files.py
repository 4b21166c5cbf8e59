"""What the host reads of a session's folder is a plain file of that folder, whatever the code has built there."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from agent.sandbox.files import DiskUsage, remove_since, safe_open, usage
from agent.sandbox.seal import Seal, owner_key
from tools.problem import Problem


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "session"
    (inside / "work" / "deep").mkdir(parents=True)
    (inside / "work" / "deep" / "file").write_text("fine")
    (tmp_path / "secret").write_text("CANARY")
    return inside


def test_a_plain_file_is_opened(folder: Path) -> None:
    with safe_open(folder, "work/deep/file") as file:
        assert file.read() == b"fine"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        ".",
        "..",
        "../secret",
        "/etc/passwd",
        "work/../../secret",
        "a\0b",
        "x" * 5000,
        "work/none",
        "work/deep",
        "work/deep/file/x",
    ],
)
def test_what_is_no_path_to_a_file_is_a_problem(folder: Path, path: str) -> None:
    with pytest.raises(Problem):
        safe_open(folder, path)


def test_links_pipes_second_names_and_large_files_are_refused(folder: Path) -> None:
    work = folder / "work"
    (work / "link").symlink_to(folder.parent / "secret")
    (work / "folder").symlink_to(folder.parent)
    os.mkfifo(work / "pipe")
    (work / "second").hardlink_to(folder.parent / "secret")
    (work / "large").write_bytes(bytes(2000))
    for path in ("link", "folder/secret", "pipe", "second", "large"):
        with pytest.raises(Problem):
            safe_open(folder, f"work/{path}", most=1000)


def test_a_folder_that_becomes_a_link_at_the_worst_moment_gives_nothing_away(folder: Path) -> None:
    work = folder / "work"
    (folder.parent / "deep").mkdir()
    (folder.parent / "deep" / "file").write_text("CANARY")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            (work / "deep").rename(work / "real")
            (work / "deep").symlink_to(folder.parent / "deep")
            (work / "deep").unlink()
            (work / "real").rename(work / "deep")

    thread = threading.Thread(target=swap)
    thread.start()
    read = set()
    for _ in range(2000):
        try:
            with safe_open(folder, "work/deep/file") as file:
                read.add(file.read())
        except Problem:
            continue
    done.set()
    thread.join()
    assert read <= {b"fine"}


def test_a_tree_is_counted_to_its_limits_and_cleared_of_what_is_new(folder: Path) -> None:
    work, most = folder / "work", DiskUsage(bytes=1 << 20, entries=1000, depth=10)
    assert usage([work], most).entries == 2
    since = (work / "deep" / "file").stat().st_ctime + 0.001
    here = os.open(work, os.O_RDONLY)
    for _ in range(1200):  # deeper than Python's own rmtree goes
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    (work / "new").write_text("x")
    assert usage([work], most).depth == 11
    remove_since([work], since, most, keep=())
    left = usage([work], most)
    assert left.depth <= 10
    assert (work / "deep" / "file").read_text() == "fine"
    assert not (work / "new").exists()


# --- seals ----------------------------------------------------------------------------------------


def _save(folder: Path, slot: int, content: bytes) -> None:
    (folder / "state").mkdir(exist_ok=True)
    (folder / "state" / f"variables.{slot}").write_bytes(content)


def test_the_last_save_counts_and_a_torn_one_brings_back_the_one_before(tmp_path: Path) -> None:
    seal = Seal(tmp_path, b"k")
    assert seal.last() is None
    _save(tmp_path, 0, b"one")
    seal.mark(0)
    _save(tmp_path, 1, b"two")
    assert seal.last() == 0
    seal.mark(1)
    assert seal.last() == 1
    _save(tmp_path, 1, b"tw")
    assert seal.last() == 0


def test_variables_of_another_user_are_not_taken(tmp_path: Path) -> None:
    ada, bob = (owner_key(tmp_path / "keys", owner) for owner in ("ada", "bob"))
    assert ada == owner_key(tmp_path / "keys", "ada") != bob
    _save(tmp_path, 0, b"ada's")
    Seal(tmp_path, ada).mark(0)
    assert Seal(tmp_path, ada).last() == 0
    assert Seal(tmp_path, bob).last() is None
    assert Seal(tmp_path, bob).has_any()


def test_the_secret_of_the_seals_is_for_its_owners_eyes(tmp_path: Path) -> None:
    owner_key(tmp_path, "ada")
    [path] = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_or_pipe_in_place_of_a_save_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "state" / "variables.0").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "state" / "variables.1")
    seal = Seal(tmp_path, b"k")
    seal.mark(0)
    seal.mark(1)
    assert seal.last() is None
