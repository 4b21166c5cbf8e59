"""The tree of errors that tools/problem.py opens with, held against the errors that there are."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from typing import NamedTuple, get_args

from agent.events import Why
from tests import ROOT
from tools import problem

HERE = "tools/problem.py"
LINE = re.compile(r"(?P<indent> *)(?P<name>\w+)(?:: (?P<phrase>.+?)(?: \((?P<where>[\w/]+\.py)\))?)?")


class Row(NamedTuple):
    name: str
    parent: str
    where: str


def drawn() -> Iterator[Row]:
    """The rows of the docstring's tree, Python's own errors left out."""
    above: list[str] = []
    _, _, tree = (problem.__doc__ or "").partition("\n\nBaseException\n")
    for line in ["BaseException", *tree.splitlines()]:
        row = LINE.fullmatch(line)
        assert row, line
        depth = len(row["indent"]) // 4
        name, parent = row["name"], above[depth - 1] if depth else ""
        above[depth:] = [name]
        if hasattr(builtins, name):
            assert not parent or getattr(builtins, name).__base__.__name__ == parent, line
        else:
            assert row["phrase"], f"{name} has no phrase"
            yield Row(name, parent, row["where"] or HERE)


def is_error(name: str) -> bool:
    """Of Python, or by its name of a library."""
    known = getattr(builtins, name, None)
    return (isinstance(known, type) and issubclass(known, BaseException)) or name.endswith(("Error", "Exception"))


def defined() -> list[Row]:
    """Every class of an error in the packages. They are read and not imported: no two classes have the same name."""
    classes: dict[str, Row] = {}
    for path in (file for package in ("agent", "tools", "ui") for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and node.bases:
                parent = ast.unparse(node.bases[0]).rpartition(".")[2]
                classes[node.name] = Row(node.name, parent, path.relative_to(ROOT).as_posix())

    def ends_in_an_error(row: Row) -> bool:
        above = classes.get(row.parent)
        return is_error(row.parent) if above in (None, row) else ends_in_an_error(above)

    return [row for row in classes.values() if ends_in_an_error(row)]


def test_the_tree_of_errors_names_each_once_below_its_parent() -> None:
    assert sorted(drawn()) == sorted(defined())


def test_what_ends_a_run_is_swallowed_by_no_tool_and_no_library() -> None:
    ends = [row.name for row in drawn() if row.parent == "RunEnd"]
    assert not issubclass(problem.RunEnd, Exception)
    assert len(ends) + 1 == len(get_args(Why)), "an answer, and one class for each other way to end"
