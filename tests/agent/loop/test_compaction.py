from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from agent.events import Compacted, DemandsSet, Guarded, StepEnded
from agent.loop.memory import Memory, Summary
from agent.models.faults import TooLong
from tests.agent.living import code, done, living
from tests.agent.loop.coding import DEMANDS, HELD, working
from tests.doubles.model_server import Asked, Reply
from tests.doubles.windowed import SUMMARISE, Windowed

SET = DemandsSet(demands=DEMANDS, by="user")
TASK = "Train a classifier on ada/pets — „gründlich“, please.\nReport the accuracy."
WINDOW = 16_384


def step(number: int, last: int, lines: int = 20) -> Reply:
    if number == last:
        return code("final_answer('Done.')")
    return code(f"for n in range({lines}):\n    print('epoch', {number}, 'batch', n, 'loss', 1 / ({number} + n + 1))")


def task_held(asked: Asked) -> bool:
    return any(line in str(asked.body["messages"]) for line in ["ada/pets — „gründlich“, please."])


def test_a_long_run_stays_within_the_window_and_keeps_what_matters(tmp_path: Path) -> None:
    model = Windowed(WINDOW, lambda n: step(n, 60), holds=[*HELD, *TASK.splitlines()])
    with working(tmp_path, model, window=WINDOW) as work:
        assert work.run(TASK, SET) == "Done."
        compactions = work.events(Compacted)
        assert model.refused == 0
        assert model.lacking == 0
        assert len(compactions) == model.summaries
        assert 2 <= len(compactions) <= 60 / 15
        for made in compactions:
            assert made.tokens_before > 0.75 * WINDOW
            assert made.tokens_after <= 0.4 * WINDOW
        assert compactions[-1].summary == f"Summary {len(compactions)}: all is well so far."
        assert len(work.events(StepEnded)) == 60


def test_the_beginning_of_each_request_is_the_one_before_until_a_compaction(tmp_path: Path) -> None:
    model = Windowed(WINDOW, lambda n: step(n, 40))
    with working(tmp_path, model, window=WINDOW) as work:
        work.run(TASK, SET)
        texts = ["".join(m["content"] for m in asked.body["messages"]) for asked in work.server.requests]
        breaks = [n for n, (one, two) in enumerate(pairwise(texts)) if not two.startswith(one)]
        assert len(breaks) == model.summaries > 0


def test_a_summary_is_asked_for_with_what_was_said_so_that_the_cache_knows_it(tmp_path: Path) -> None:
    model = Windowed(WINDOW, lambda n: step(n, 40))
    with working(tmp_path, model, window=WINDOW) as work:
        work.run(TASK)
        asked = [request.body["messages"] for request in work.server.requests]
        at = next(n for n, messages in enumerate(asked) if SUMMARISE in messages[-1]["content"])
        assert asked[at][: len(asked[at - 1])] == asked[at - 1]


def test_a_new_start_remembers_exactly_the_same(tmp_path: Path) -> None:
    model = Windowed(WINDOW, lambda n: step(n, 40))
    with working(tmp_path, model, window=WINDOW) as work:
        work.run(TASK, SET)
        again = Memory(work.journal.entries).catch_up()
        told = [message for step in work.memory.catch_up().steps for message in step.to_messages()]
        assert [message for step in again.steps for message in step.to_messages()] == told
        assert isinstance(again.steps[0], Summary)


def test_without_a_summary_the_app_puts_one_together_and_says_so(tmp_path: Path) -> None:
    nothing = [Reply(""), Reply("<code>print(1)</code>"), Reply(status=500, body={})]
    for n, _ in enumerate(list(nothing)):
        model = Windowed(WINDOW, lambda n: step(n, 40), summary=lambda _: nothing.pop(0))
        with working(tmp_path / str(n), model, window=WINDOW) as work:
            assert work.run(TASK) == "Done."
            made = work.events(Compacted)[0]
            assert made.summary.startswith("(The model gave no summary")
            assert "Step 1: I do it. -> epoch 1 batch 0 loss 0.5" in made.summary


def test_a_summary_that_is_a_book_is_cut(tmp_path: Path) -> None:
    model = Windowed(WINDOW, lambda n: step(n, 40), summary=lambda _: Reply("word " * 20_000))
    with working(tmp_path, model, window=WINDOW) as work:
        assert work.run(TASK) == "Done."
        assert model.refused == 0
        assert all(len(made.summary) < 5_000 for made in work.events(Compacted))


@pytest.mark.parametrize("told", [None, 131_072])
def test_a_window_smaller_than_thought_is_learned_from_the_refusal(tmp_path: Path, told: int | None) -> None:
    model = Windowed(9_000, lambda n: step(n, 40, lines=30))
    with working(tmp_path, model, window=told) as work:
        assert work.run(TASK, SET) == "Done."
        assert work.known.tokens == 9_000
        assert model.refused == 1
        assert [event.did for event in work.events(Guarded)] == ["retry"]
        assert work.events(Compacted)


def test_a_refusal_without_numbers_is_enough(tmp_path: Path) -> None:
    model = Windowed(9_000, lambda n: step(n, 30, lines=30), refusal="prompt is too long")
    with working(tmp_path, model) as work:
        assert work.run(TASK) == "Done."
        assert 1 <= model.refused <= 3


def test_room_for_the_reply_is_no_reason_to_forget(tmp_path: Path) -> None:
    def script(asked: Asked) -> Reply:
        if asked.body.get("max_tokens", 0) > 4_096:
            words = "`max_tokens` must be less than or equal to `4096`"
            return Reply(status=400, body={"error": {"message": words}})
        return code("final_answer('Done.')")

    with working(tmp_path, script, window=WINDOW) as work:
        assert work.run(TASK) == "Done."
        assert work.events(Compacted) == []
        assert [event.did for event in work.events(Guarded)] == ["retry"]


def test_a_server_that_refuses_everything_ends_the_run_once_and_says_what_to_do(tmp_path: Path) -> None:
    replies = [step(1, 9), step(2, 9), step(3, 9)]

    def script(asked: Asked) -> Reply:
        if SUMMARISE in asked.body["messages"][-1]["content"]:
            return Reply("Short.")
        return replies.pop(0) if replies else Reply(status=400, body={"error": {"message": "prompt is too long"}})

    with working(tmp_path, script, window=WINDOW) as work:
        with pytest.raises(TooLong, match="pick a model with a larger window"):
            work.run(TASK)
        assert [event.did for event in work.events(Guarded)] == ["retry", "end"]
        assert len(work.events(Compacted)) == 1


def test_words_of_the_user_that_fill_the_window_are_not_cut_but_said(tmp_path: Path) -> None:
    with working(tmp_path, Windowed(8_000, lambda n: step(n, 5)), window=8_000) as work:
        with pytest.raises(TooLong, match="Your own messages take about"):
            work.run("many words " * 3_000)
        assert len(work.server.requests) == 0
        assert [event.did for event in work.events(Guarded)] == ["end"]


def test_one_huge_step_gives_way_whole(tmp_path: Path) -> None:
    script = f"data = '''{'x = 1; ' * 5_000}'''\nprint(len(data))"
    model = Windowed(WINDOW, lambda n: code(script) if n == 1 else step(n, 3))
    with working(tmp_path, model, window=WINDOW) as work:
        assert work.run(TASK) == "Done."
        assert work.events(Compacted)[0].step == 1
        assert model.refused == 0


@pytest.mark.parametrize(
    "said",
    [
        "I write `<code>` blocks. What counts: the id is ada/pets, and the loss was 0.3 after two epochs of three.",
        "<code>\nWhat counts: the id is ada/pets, and the loss was 0.3 after two epochs of three.\n</code>",
        "Let me think. A secret thought.\n</think>\nWhat counts: the id is ada/pets, and the loss was 0.3.",
    ],
)
def test_a_summary_in_an_odd_form_is_kept_whole_and_without_thought(tmp_path: Path, said: str) -> None:
    model = Windowed(WINDOW, lambda n: step(n, 40), summary=lambda _: Reply(said))
    with working(tmp_path, model, window=WINDOW) as work:
        work.run(TASK)
        summary = work.events(Compacted)[0].summary
        assert "the id is ada/pets, and the loss was 0.3" in summary
        assert "secret thought" not in summary
        assert "<code>" not in summary


def test_half_a_reply_that_ran_out_of_window_is_not_sent_back(tmp_path: Path) -> None:
    refusal = {"message": "maximum context length is 9000 tokens, your messages resulted in 10500 tokens", "code": 400}
    broken = Reply("I was about to say", break_after=3, breaks="error", error=refusal)
    steps = [code(f"print({n}, 'Abc1 def ' * 1_000)") for n in range(4)]
    with working(tmp_path, [*steps, broken, Reply("One to four."), code("final_answer('Done.')")]) as work:
        assert work.run("Go") == "Done."
        assert len(work.events(Compacted)) == 1
        assert all("was about" not in str(asked.body["messages"]) for asked in work.server.requests)


def test_a_window_that_the_instructions_fill_is_said_to_be_too_small(tmp_path: Path) -> None:
    with living(tmp_path, [Reply("Hi")]) as (session, server):
        server.models[0] = {"id": "scripted", "owned_by": "vllm", "max_model_len": 2_048}
        end = done(session, "Go")
        assert end.why == "failed"
        assert "own instructions" in end.message
        assert "2,048" in end.message
        assert not server.requests
