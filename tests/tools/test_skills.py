from __future__ import annotations

import ast
import re

import pytest

from tests.doubles.desk import desk
from tests.tokens import count
from tools.cards import Demand
from tools.demand import demand
from tools.problem import Problem
from tools.skill import FOLDER, skill

NAMES = sorted(path.stem for path in FOLDER.glob("*.md"))


def test_the_tool_names_every_skill_there_is() -> None:
    told = re.findall(r"[a-z]+(?:-[a-z]+)+|evaluation", (skill.__doc__ or "").split("name:")[1].split(";")[0])
    assert sorted(told) == NAMES
    assert [line.split(":")[0] for line in skill(desk()).splitlines()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_skill_is_short_enough_to_be_read_whole(name: str) -> None:
    text = skill(desk(), name)
    assert text.startswith("# ")
    assert 200 < count(text) < 1_500
    assert len(text) < 9_000  # what a step's output shows uncut


@pytest.mark.parametrize("name", NAMES)
def test_the_python_in_a_skill_is_python(name: str) -> None:
    for block in re.findall(r"```python\n(.*?)```", skill(desk(), name), re.DOTALL):
        ast.parse(block)


@pytest.mark.parametrize("name", ["", *NAMES])
def test_a_skill_does_not_name_an_argument_that_the_installed_transformers_has_not(name: str) -> None:
    from transformers import TrainingArguments

    text = skill(desk(), name)
    said = set(
        re.findall(
            r"\b(warmup_steps|eval_strategy|disable_tqdm|report_to|save_total_limit|fp16|bf16|gradient_checkpointing|run_name|trackio_\w+_id)\b",
            text,
        )
    )
    assert [word for word in said if word not in TrainingArguments.__dataclass_fields__] == []
    gone = {"warmup_ratio", "evaluation_strategy", "max_seq_length"} & set(re.findall(r"\b(\w+)=(?!,)", text))
    assert not [word for word in gone if word in TrainingArguments.__dataclass_fields__]


@pytest.mark.parametrize("name", ["../plan", "nothing", "evaluation.md", "/etc/passwd", "x" * 10_000])
def test_a_skill_that_is_not_there_is_a_problem_that_names_those_that_are(name: str) -> None:
    with pytest.raises(Problem, match="training-with-trl"):
        skill(desk(), name)


def test_a_demand_needs_a_kind_a_rule_and_a_place_to_be_pinned() -> None:
    pinned: list[Demand] = []
    where = desk(pin=pinned.append)
    assert demand(where, "budget", "must", text=" under $3 ", value="3000000") == "Pinned."
    assert pinned == [Demand(about="budget", rule="must", text="under $3", value="3000000")]
    for about, rule in (("colour", "must"), ("budget", "may")):
        with pytest.raises(Problem, match="about is one of"):
            demand(where, about, rule, text="x")
    with pytest.raises(Problem, match="Nothing can be pinned"):
        demand(desk(), "budget", "must", text="under $3")
