"""What a model's reply comes to: the right code, the right text, or one clear line to the model."""

from __future__ import annotations

import ast
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.loop.parsing import EMPTY, FIRST_ONLY, INVENTED, NO_CODE, NO_PYTHON, ONLY_THOUGHT, Reply, parse_reply

RUN = "x = 1\nprint(x)"


@pytest.mark.parametrize(
    "text",
    [
        f"<code>\n{RUN}\n</code>",
        f"<code>\n{RUN}",
        f"<code>{RUN}</code>",
        f"<CODE>\n{RUN}\n</CODE>",
        f"```python\n{RUN}\n```",
        f"```py\n{RUN}\n```",
        f"```python\n{RUN}",
        f"```\n{RUN}\n```",
        f"```\n{RUN}",
        f"```python {RUN}```",
        f"<code>\n```python\n{RUN}\n```\n</code>",
        f"```python\n<code>\n{RUN}\n</code>\n```",
        f"```python\n{RUN}\n</code>\nand so on",
        "<code>\n    x = 1\n    print(x)\n</code>",
        f"<code>\n\n{RUN}\n\n\n</code>",
        f"<think>hm</think>\n<code>\n{RUN}\n</code>",
        f"hm, so I think that\n</think>\n<code>\n{RUN}\n</code>",
        f"```json\n{{}}\n```\n<code>\n{RUN}\n</code>",
        f"```\nsome output\n```\n<code>\n{RUN}\n</code>",
    ],
)
def test_code_is_found_in_every_form_that_models_give_it(text: str) -> None:
    reply = parse_reply(text)
    assert reply.code == RUN
    assert reply.hint == ""


def test_the_thought_is_the_prose_before_the_code() -> None:
    assert parse_reply("<think>hm</think>First I look.\n<code>\nlook()\n</code>\nDone.") == Reply(
        "First I look.", "look()", ""
    )


@pytest.mark.parametrize("end", ["Observation: 4\n", "  Observation:\n4", "Calling tools:\n[]"])
def test_an_invented_observation_is_cut_off_and_the_model_told(end: str) -> None:
    assert parse_reply(f"<code>\n{RUN}\n{end}") == Reply("", RUN, INVENTED)
    assert parse_reply(f"<code>\n{RUN}\n</code>\n{end}<code>\nmore()\n</code>") == Reply("", RUN, INVENTED)
    prose = parse_reply(f"I know it.\n{end}")
    assert (prose.thought, prose.code) == ("I know it.", None)
    assert prose.hint.startswith(INVENTED)


@pytest.mark.parametrize(
    "second", ["<code>\nb()\n</code>", "```python\nb()\n```", '<tool_call>{"name": "b"}</tool_call>']
)
def test_of_two_blocks_the_first_runs_and_the_model_is_told(second: str) -> None:
    assert parse_reply(f"one\n<code>\na()\n</code>\ntwo\n{second}") == Reply("one", "a()", FIRST_ONLY)


def test_prose_is_told_apart_from_an_empty_reply_and_from_mere_thinking() -> None:
    assert parse_reply("The answer is 4.") == Reply("The answer is 4.", None, NO_CODE)
    assert parse_reply(" \n") == Reply("", None, EMPTY)
    assert parse_reply("<think>The answer") == Reply("", None, ONLY_THOUGHT)
    assert parse_reply("<code>\n\n</code>") == Reply("", None, NO_PYTHON)


def test_an_answer_keeps_its_blocks_in_other_languages() -> None:
    answer = "Run this:\n```bash\nls\n```\nThat is all."
    assert parse_reply(answer) == Reply(answer, None, NO_PYTHON)


@pytest.mark.parametrize(
    "thinking",
    [
        "<think>{}</think>", "<THINK>{}</THINK>", "<thinking>{}</thinking>", "[THINK]{}[/THINK]", "◁think▷{}◁/think▷",
        "<|channel|>analysis<|message|>{}<|end|>", "{}</think>", "a\n{}\n</thinking>", "<think>{}",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "leak", ["<code>\nleak()\n</code>", "```python\nleak()\n```", "<code>leak()", "```\nleak()\n```"]
)
def test_code_inside_a_thought_never_runs(thinking: str, leak: str) -> None:
    thought = thinking.format(leak)
    assert parse_reply(thought).code is None
    if thinking != "<think>{}":
        assert parse_reply(f"{thought}\n<code>\nok()\n</code>").code == "ok()"


@pytest.mark.parametrize(
    "code",
    [
        's.split("</think>")[-1]',
        "re.sub(r'<think>.*?</think>', '', s)",
        're.search(r"(?s).*</think>\\s*(.*)", s)',
        'PROMPT = """\n<think>\n...\n</think>\n<answer>"""',
        "card = '''\n```python\nx\n```\n'''",
    ],
)
def test_code_may_speak_of_marks(code: str) -> None:
    assert parse_reply(f"<think>hm</think>\n<code>\n{code}\n</code>").code == code
    assert parse_reply(f"So:\n<code>\n{code}\n").code == code


# --- tool calls -----------------------------------------------------------------------------------


def test_native_tool_calls_become_the_code_that_makes_them() -> None:
    calls = [("papers_search", '{"query": "it\'s", "limit": null, "deep": {"a": [true, 1.5]}}'), ("plan", "")]
    reply = parse_reply("", calls, ["papers_search", "plan"])
    assert reply.code == "print(papers_search(query=\"it's\", limit=None, deep={'a': [True, 1.5]}))\nprint(plan())"


def test_the_call_of_final_answer_is_the_answer() -> None:
    assert parse_reply("", [("final_answer", '{"answer": "four"}')], ["plan"]).code == "final_answer('four')"


def test_text_with_code_wins_over_a_tool_call_beside_it() -> None:
    assert parse_reply("<code>\na()\n</code>", [("b", "{}")]).code == "a()"
    assert parse_reply("Let me see.", [("b", "{}")]) == Reply("Let me see.", "print(b())", "")


@pytest.mark.parametrize("arguments", ['{"q": 1}', '"{\\"q\\": 1}"'])
def test_a_tool_call_written_as_text_counts_too(arguments: str) -> None:
    for end in ("</tool_call>", ""):
        said = f'Looking.\n<tool_call>\n{{"name": "search", "arguments": {arguments}}}\n{end}'
        assert parse_reply(said) == Reply("Looking.", "print(search(q=1))", "")


@pytest.mark.parametrize("arguments", ['{"code": "x = 1\\nprint(x)"}', RUN])
def test_a_call_of_an_interpreter_is_the_code_itself(arguments: str) -> None:
    assert parse_reply("", [("python", arguments)], ["plan"]).code == RUN


def test_a_call_of_a_tool_that_is_not_there_names_those_that_are() -> None:
    reply = parse_reply("", [("serach", "{}")], ["search", "plan"])
    assert reply.code is None
    assert "no tool 'serach'; there are plan, search" in reply.hint


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("f", "{"), ("f", "[1]"), ("f", "3"), ("f", '{"a-b": 1}'), ("f", '{"class": 1}'), ("f", '{"a": NaN}'), ("f", '{"a": 1e999}'),
        ("f", "[" * 100_000), ("", "{}"), ("a.b", "{}"), ("f(); g", "{}"), ("import", "{}"),
    ],
)  # fmt: skip
def test_a_call_that_cannot_be_made_is_a_line_to_the_model(name: str, arguments: str) -> None:
    reply = parse_reply("", [(name, arguments)])
    assert reply.code is None
    assert 0 < len(reply.hint) < 300


@pytest.mark.parametrize("inside", ["", "{", "[]", '"x"', '{"arguments": {}}', "[" * 100_000])
def test_a_written_call_that_is_none_is_a_line_to_the_model(inside: str) -> None:
    assert parse_reply(f"<tool_call>{inside}</tool_call>").code is None


# --- whatever comes -------------------------------------------------------------------------------

MARKS = st.sampled_from(
    ["<code>", "</code>", "```", "```python", "```json", "\n", "<think>", "</think>", "<tool_call>", "</tool_call>", "Observation:",
     "<|channel|>analysis<|message|>", "<|end|>", "final_answer(1)", '{"name": "f"}', " ", "é", "\ud800", "\x00"]
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.lists(MARKS | st.text(max_size=5)).map("".join), st.lists(st.tuples(st.text(), st.text()), max_size=2))
def test_no_reply_is_too_odd_to_be_parsed(text: str, calls: list[tuple[str, str]]) -> None:
    reply = parse_reply(text, calls)
    assert reply.code or reply.hint
    assert "\n" not in reply.hint


FORMS = ("<code>\n{}\n</code>", "```python\n{}\n```", "```\n{}\n```", "{}", '<tool_call>{{"name": "{}"}}</tool_call>')
OUTSIDE = st.sampled_from(FORMS).map(lambda form: form.format("spoken"))
INSIDE = st.sampled_from(FORMS).map(lambda form: f"<think>{form.format('secret')}</think>")


@given(st.lists(OUTSIDE | INSIDE), st.sampled_from(["", "<think>", "<think>\n<code>secret"]), st.booleans())
def test_code_never_comes_from_inside_a_thought(parts: list[str], end: str, opened_by_template: bool) -> None:
    text = "\n".join([*parts, end])
    if opened_by_template:
        text = f"<code>secret</code>\n</think>\n{text}"
    assert "secret" not in (parse_reply(text).code or "")


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), VALUES, max_size=4))
def test_arguments_arrive_as_the_same_values(arguments: dict[str, Any]) -> None:
    code = parse_reply("", [("tool", json.dumps(arguments))]).code
    if code is None:  # a keyword of Python is no argument
        return
    call = ast.parse(code).body[0].value.args[0]  # type: ignore[attr-defined]
    assert {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords} == arguments


@pytest.mark.parametrize("start", ["", "<code>"])
@pytest.mark.parametrize(
    "piece",
    ["<code>", "`", "```\n", "```python\n", "<think>", "</think>", "<tool_call>", "<tool_call></tool_call>", "<code>x</code>", "</code>",
     "Observation:\n", " ", "\n", " \n", "<", "<|channel|>analysis", "[THINK]x[/THINK]", "```json\n```\n"],
)  # fmt: skip
def test_a_hostile_reply_costs_time_in_proportion_to_its_length(start: str, piece: str) -> None:
    text = start + piece * (1_000_000 // len(piece))
    started = time.process_time()
    parse_reply(text)
    assert time.process_time() - started < 5  # it takes about 0.1 s; anything quadratic takes minutes
