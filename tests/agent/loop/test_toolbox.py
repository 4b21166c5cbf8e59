from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from agent.events import Event, ToolEnded, ToolStarted
from agent.loop.slash_commands import parse_typed
from agent.loop.toolbox import DeskTool, Toolbox
from tests.doubles.desk import desk
from tools.desk import Desk
from tools.problem import Problem, Refused, Stopped


def train(
    desk: Desk, model: str, epochs: int = 3, rates: list[float] | None = None, fast: bool = False
) -> dict[str, Any]:
    """Train a model.

    Args:
        model: Its id.
        epochs: Rounds over the data.

    Returns: A dict with what was given.
    """
    return {"model": model, "epochs": epochs, "rates": rates, "fast": fast}


def choose(desk: Desk, kind: Literal["model", "dataset"], query: str) -> str:
    """Choose."""
    return f"{kind}:{query}"


def refuse(desk: Desk) -> None:
    """Refuse."""
    raise Refused("The user said no.", "Do not ask again.")


def stop(desk: Desk) -> None:
    """Stop."""
    raise Stopped


def crash(desk: Desk) -> None:
    """Crash."""
    raise ZeroDivisionError("secret detail")


class Box:
    def __init__(self, folder: Path) -> None:
        self.said: list[Event] = []
        self.box = Toolbox([train, choose, refuse, stop, crash], self.said.append, lambda _: desk(folder=folder))

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self.box.call(name, args, kwargs, by="agent", step=1)

    @property
    def ended(self) -> ToolEnded:
        assert isinstance(self.said[-1], ToolEnded)
        return self.said[-1]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_number_like_strings_become_numbers_and_numbers_become_names(box: Box) -> None:
    assert box.call("train", 7, epochs="5", rates=["0.1", 2], fast="true") == {
        "model": "7",
        "epochs": 5,
        "rates": [0.1, 2.0],
        "fast": True,
    }


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "model is missing"),
        (("m",), {"epoch": 3}, "no argument epoch"),
        (("m",), {"epochs": "many"}, "epochs cannot be 'many'"),
        (("m", 1, None, False, 5), {}, "takes 4 arguments, 5 were given"),
        (("m",), {"model": "n"}, "got model twice"),
        (("m",), {"rates": "fast"}, "rates cannot be 'fast'"),
    ],
)
def test_wrong_arguments_are_a_problem_that_shows_the_right_call(
    box: Box, args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    with pytest.raises(Problem, match=words) as caught:
        box.call("train", *args, **kwargs)
    assert "train(model: str, epochs: int = 3" in caught.value.hint
    assert box.ended.why == "problem"


def test_a_wrong_choice_names_the_choices(box: Box) -> None:
    with pytest.raises(Problem, match="'model' or 'dataset'"):
        box.call("choose", "space", "x")


def test_an_unknown_tool_names_those_there_are(box: Box) -> None:
    with pytest.raises(Problem, match="no tool 'fly'") as caught:
        box.call("fly")
    assert "train, choose" in caught.value.hint


def test_each_call_starts_once_and_ends_once(box: Box) -> None:
    box.call("train", "m")
    for name, why in (("refuse", "refused"), ("crash", "problem")):
        with pytest.raises(Problem):
            box.call(name)
        assert box.ended.why == why
    with pytest.raises(Stopped):
        box.call("stop")
    assert box.ended.why == "stopped"
    started = [event.call for event in box.said if isinstance(event, ToolStarted)]
    ended = [event.call for event in box.said if isinstance(event, ToolEnded)]
    assert started == ended == ["c1", "c2", "c3", "c4"]


def test_what_nobody_foresaw_does_not_show_its_inside(box: Box) -> None:
    with pytest.raises(Problem) as caught:
        box.call("crash")
    assert "secret detail" not in str(caught.value)


def test_the_prompt_shows_defaults_args_and_returns() -> None:
    shown = DeskTool(train).to_code_prompt()
    assert (
        "def train(model: str, epochs: int = 3, rates: list[float] | None = None, fast: bool = False) -> dict" in shown
    )
    assert "Returns: A dict with what was given." in shown
    assert "desk" not in shown


def test_long_arguments_and_results_are_cut_in_the_journal_only(box: Box) -> None:
    assert box.call("train", "m" * 10_000)["model"] == "m" * 10_000
    started = box.said[-2]
    assert isinstance(started, ToolStarted)
    assert len(str(started.args["model"])) < 5_000
    assert len(box.ended.result) < 5_000


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ("/train bert", {"model": "bert"}),
        ("/train bert base epochs=2", {"model": "bert base", "epochs": "2"}),
        ('/train model="bert base" rates=[1,2]', {"model": "bert base", "rates": [1, 2]}),
        ("/choose dataset it's french", {"kind": "dataset", "query": "it's french"}),
        ("/choose", {}),
    ],
)
def test_tools_are_called_by_hand_with_words_or_names(box: Box, said: str, arguments: dict[str, Any]) -> None:
    typed = parse_typed(said, box.box.tools)
    assert typed is not None
    assert typed.arguments == arguments


def test_a_slash_that_is_no_call_is_a_message(box: Box) -> None:
    assert parse_typed("/data/x.csv is missing", box.box.tools) is None


def test_a_mistyped_tool_names_the_tools(box: Box) -> None:
    with pytest.raises(Problem, match="no tool /trian") as caught:
        parse_typed("/trian bert", box.box.tools)
    assert "/train" in caught.value.hint
