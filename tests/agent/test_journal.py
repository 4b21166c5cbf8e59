from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.events import Noticed, OutputPrinted, TextSaid, UserSaid
from agent.journal import Header, Journal, read_header
from tools.problem import Problem


def new(folder: Path, owner: str = "ada") -> Journal:
    return Journal(folder / "s1.jsonl", Header(session="s1", owner=owner, created=1.0))


def texts(journal: Journal, after: int = 0) -> list[str]:
    return [entry.event.text for entry in journal.entries(after)]  # type: ignore[union-attr]


def test_what_was_appended_is_read_back_after_a_restart(tmp_path: Path) -> None:
    journal = new(tmp_path)
    journal.append(UserSaid(run="r1", text="train – “ünïcödé”\u2028"))
    journal.append(Noticed(level="info", text="two"))
    journal.close()
    again = Journal(tmp_path / "s1.jsonl")
    assert [(e.seq, e.event.kind) for e in again.entries()] == [(1, "user_said"), (2, "noticed")]
    assert texts(again) == ["train – “ünïcödé”\u2028", "two"]
    assert again.append(Noticed(level="info", text="three")).seq == 3


@pytest.mark.parametrize("torn", [b"{", b'{"seq":3,"at":1.0,"event":{"kind":"noti', b"\xff\xfe", b"\x00" * 100])
def test_a_torn_last_line_is_cut_off_and_the_rest_kept(tmp_path: Path, torn: bytes) -> None:
    journal = new(tmp_path)
    journal.append(Noticed(level="info", text="one"))
    journal.append(Noticed(level="info", text="two"))
    journal.close()
    with (tmp_path / "s1.jsonl").open("ab") as file:
        file.write(torn)
    again = Journal(tmp_path / "s1.jsonl")
    assert texts(again) == ["one", "two"]
    assert again.append(Noticed(level="info", text="three")).seq == 3
    again.close()
    assert texts(Journal(tmp_path / "s1.jsonl")) == ["one", "two", "three"]


def test_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "s1.jsonl"
    path.write_text('{"version":99,"session":"s1","owner":"ada","created":1.0,"colour":"blue"}\n{"odd":1}\n')
    before = path.read_bytes()
    with pytest.raises(Problem, match="newer version of this app"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    journal = new(tmp_path)
    journal.append(Noticed(level="info", text="one"))
    journal.append(Noticed(level="info", text="two"))
    journal.close()
    path = tmp_path / "s1.jsonl"
    path.write_bytes(path.read_bytes().replace(b'{"seq":1', b"garbage!"))
    with pytest.raises(Problem, match=r"Line 2 of s1\.jsonl is damaged"):
        Journal(path)


@pytest.mark.parametrize("content", ["", "\n", "no json\n", "[]\n", '{"version":1}\n'])
def test_a_file_that_is_no_journal_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "s1.jsonl").write_text(content)
    with pytest.raises(Problem, match="no journal"):
        Journal(tmp_path / "s1.jsonl")


def test_a_second_process_cannot_open_the_same_session(tmp_path: Path) -> None:
    new(tmp_path)
    code = "import sys; from pathlib import Path; from agent.journal import Journal; Journal(Path(sys.argv[1]))"
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s1.jsonl")], capture_output=True, text=True, check=False
    )
    assert "open in another process" in result.stderr


def test_neighbouring_deltas_of_one_step_come_as_one_under_the_last_seq(tmp_path: Path) -> None:
    journal = new(tmp_path)
    for event in (
        TextSaid(step=1, text="a"),
        TextSaid(step=1, text="b"),
        TextSaid(step=2, text="c"),
        OutputPrinted(step=2, text="d"),
        Noticed(level="info", text="e"),
        OutputPrinted(step=2, text="f"),
    ):
        journal.append(event)
    told = [(seq, json.loads(line)["event"]["text"]) for seq, line in journal.read(0)]
    assert told == [(2, "ab"), (3, "c"), (4, "d"), (5, "e"), (6, "f")]
    assert journal.read(5)[0][0] == 6
    assert journal.read(6) == []
    assert journal.read(-5)[0][0] == 2


@settings(max_examples=60, deadline=None)
@given(
    deltas=st.lists(st.tuples(st.integers(1, 3), st.text(max_size=8), st.booleans()), max_size=30),
    limit=st.integers(1, 7),
)
def test_reading_in_any_batches_gives_the_same_text(
    tmp_path_factory: pytest.TempPathFactory, deltas: list[tuple[int, str, bool]], limit: int
) -> None:
    journal = new(tmp_path_factory.mktemp("j"))
    for step, text, printed in deltas:
        journal.append(OutputPrinted(step=step, text=text) if printed else TextSaid(step=step, text=text))
    pieces: list[str] = []
    after = 0
    while batch := journal.read(after, limit):
        pieces += [json.loads(line)["event"]["text"] for _, line in batch]
        after = batch[-1][0]
    assert "".join(pieces) == "".join(text for _, text, _ in deltas)
    assert after == len(deltas)
    journal.close()


def test_half_a_surrogate_pair_is_replaced_and_a_whole_one_joined(tmp_path: Path) -> None:
    journal = new(tmp_path)
    journal.append(TextSaid(step=1, text="a\ud83db \ud83d\ude00"))
    journal.append(Noticed(level="info", text="\udfff"))
    assert texts(journal) == ["a\ufffdb 😀", "\ufffd"]


def test_many_writers_and_readers_see_one_order_without_gaps(tmp_path: Path) -> None:
    journal = new(tmp_path)
    done = threading.Event()
    seen: list[list[int]] = [[], [], []]

    def read(into: list[int]) -> None:
        into += [entry.seq for entry in journal.follow(0, until=done.is_set)]

    def write(name: int) -> None:
        for n in range(200):
            journal.append(Noticed(level="info", text=f"{name}.{n}"))

    readers = [threading.Thread(target=read, args=(into,)) for into in seen]
    writers = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    journal.append(Noticed(level="info", text="the last"))
    for thread in readers:
        thread.join()
    assert all(into == list(range(1, 802)) or into == list(range(1, 801)) for into in seen)


def test_no_entry_that_a_reader_had_seen_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from agent.events import Noticed
from agent.journal import Header, Journal
journal = Journal(Path(sys.argv[1]), Header(session="s1", owner="ada", created=1.0))
for n in range(100000):
    print(journal.append(Noticed(level="info", text="x" * (n % 3000))).seq, flush=True)
"""
    path = tmp_path / "s1.jsonl"
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    seen = 0
    for line in writer.stdout:
        seen = int(line)
        if seen >= 500:
            os.kill(writer.pid, signal.SIGKILL)
            break
    seen = max([seen, *(int(line) for line in writer.stdout.read().split("\n")[:-1])])
    writer.wait()
    writer.stdout.close()
    assert Journal(path).last_seq >= seen


def test_a_full_disk_is_a_clear_problem_and_damages_nothing(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from agent.events import Noticed
from agent.journal import Header, Journal
from tools.desk import Problem
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
journal = Journal(path, Header(session="s1", owner="ada", created=1.0))
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    for n in range(100):
        journal.append(Noticed(level="info", text="x" * 100))
except Problem as problem:
    print(problem)
"""
    path = tmp_path / "s1.jsonl"
    result = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "cannot be saved" in result.stdout
    again = Journal(path)
    assert again.last_seq > 5
    assert all(text == "x" * 100 for text in texts(again))


def test_the_header_tells_whose_session_it_is(tmp_path: Path) -> None:
    new(tmp_path, owner="hf:ada").close()
    assert read_header(tmp_path / "s1.jsonl").owner == "hf:ada"
