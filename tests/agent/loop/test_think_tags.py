from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.loop.think_tags import Thinking

PIECES = st.lists(st.sampled_from(["<think>", "</think>", "<th", "ink>", "</", "think>", "<", "a", "b\n"]), max_size=20)


def told(pieces: list[str]) -> tuple[str, str]:
    thinking = Thinking()
    parts = [part for piece in pieces for part in thinking.feed(piece)] + list(thinking.end())
    return "".join(t for inside, t in parts if inside), "".join(t for inside, t in parts if not inside)


def test_thought_and_speech_are_told_apart() -> None:
    assert told(["<think>why", "</think>", "so"]) == ("why", "so")


@given(PIECES)
def test_where_a_reply_is_cut_into_pieces_does_not_matter(pieces: list[str]) -> None:
    whole = "".join(pieces)
    assert told(pieces) == told([whole]) == told(list(whole))


@given(PIECES)
def test_nothing_but_tags_is_lost(pieces: list[str]) -> None:
    thought, speech = told(pieces)
    whole = "".join(pieces)
    assert (speech + thought).count("a") == whole.count("a")
    assert len(thought) + len(speech) >= len(whole) - 8 * whole.count("think>")
