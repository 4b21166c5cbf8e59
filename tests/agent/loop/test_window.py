from __future__ import annotations

import pytest

from agent.loop.window import ASSUMED, Window, estimate
from tests.doubles.windowed import counted

CODE = "def loss(model, batch):\n    return model(**batch).loss.mean()  # nats per token\n" * 20
PROSE = "The quick brown fox jumps over the lazy dog while the model learns its weights. " * 20


def said(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text} for text in texts]


@pytest.mark.parametrize("text", [CODE, PROSE, "0.12345, 678.9 " * 100, "训练一个小的分类器。" * 50, "🧪é" * 50])
def test_the_estimate_is_rather_too_high(text: str) -> None:
    characters_per_token = len(text) / estimate(text)
    assert characters_per_token <= 4.0  # of English prose a token holds more
    assert estimate(text) >= 0.75 * counted(text)


def test_an_unknown_window_is_assumed_to_be_small() -> None:
    assert Window().tokens == ASSUMED
    assert Window(told=131_072).tokens == 131_072


def test_the_providers_count_corrects_the_estimate() -> None:
    window = Window()
    ours = window.reckon(said(CODE))
    window.count(said(CODE), int(ours * 1.5))
    assert window.reckon(said(CODE)) == int(ours * 1.5)
    more = window.reckon(said(CODE, PROSE)) - int(ours * 1.5)
    assert more == pytest.approx(1.5 * estimate(PROSE), rel=0.05)


def test_a_shorter_request_is_reckoned_by_what_was_learned() -> None:
    window = Window()
    window.count(said(CODE, CODE), int(window.reckon(said(CODE, CODE)) * 0.7))
    assert window.reckon(said(CODE)) == pytest.approx(0.7 * Window().reckon(said(CODE)), rel=0.1)


@pytest.mark.parametrize("count", [None, 0, 1, 10**9])
def test_a_count_that_cannot_be_is_not_believed(count: int | None) -> None:
    window = Window()
    window.count(said(CODE), count)
    assert window.reckon(said(CODE)) == Window().reckon(said(CODE))


def test_a_refusal_teaches_the_window() -> None:
    window = Window(told=131_072)
    window.refuse(said(CODE), 32_768, None)
    assert window.tokens == 32_768


@pytest.mark.parametrize("limit", [None, 0, 12, 10**12])
def test_a_refusal_without_a_number_that_can_be_makes_it_smaller_than_the_request(limit: int | None) -> None:
    window = Window(told=131_072)
    long = said(*[CODE] * 40)
    window.refuse(long, limit, None)
    assert window.tokens < window.reckon(long)


def test_what_was_learned_of_one_model_is_not_held_against_another() -> None:
    window = Window()
    window.belong_to("one", 131_072)
    window.refuse(said(CODE), 4_096, None)
    window.belong_to("one", 131_072)
    assert window.tokens == 4_096
    window.belong_to("other", 131_072)
    assert window.tokens == 131_072
