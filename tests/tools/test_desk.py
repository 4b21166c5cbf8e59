"""What a yes gives: by the kind of request, known to the type checker, and to be had in no other way."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import assert_type, get_overloads, get_type_hints

import pytest

from tests import ROOT
from tests.doubles.desk import desk
from tools import desk as desks
from tools.cards import Delete, Spend
from tools.desk import Contract, Desk, Grants, JobEnd
from tools.hub.hub import HubWriter
from tools.jobs.here.words import HERE
from tools.problem import Problem, Refused

SPEND = Spend(
    title="Count", where="here", place=HERE, script="print(1)", timeout_seconds=60, price_micro_usd_per_hour=0
)
DELETE = Delete(repo="ada/x")


class Writer:
    def __init__(self, request: Delete) -> None:
        self.may = request.repo
        self.deleted: list[str] = []

    def delete_repo(self, repo: str) -> None:
        self.deleted.append(repo)


class Paper:
    def __init__(self, request: Spend) -> None:
        self.request = request

    def submit(self) -> str:
        return "job-1"

    def wait(self) -> JobEnd:
        raise NotImplementedError


GRANTS: Grants = {"spend": Paper, "delete": Writer}


def test_a_yes_gives_what_belongs_to_the_kind_of_request() -> None:
    at = desk(grants=GRANTS)
    contract, writer = at.approve(SPEND), at.approve(DELETE)
    assert_type(contract, Contract)
    assert_type(writer, HubWriter)
    assert contract.request == SPEND
    assert isinstance(writer, Writer)
    assert writer.may == "ada/x"


def test_a_no_gives_nothing() -> None:
    with pytest.raises(Refused):
        desk(grants=GRANTS, answer="no").approve(DELETE)


def test_where_nothing_could_do_it_nobody_is_asked() -> None:
    at = desk(grants={"spend": Paper})
    with pytest.raises(Problem, match="no place for a delete request"):
        at.approve(DELETE)
    assert at.asked == []


def test_every_row_of_the_table_has_its_overload_and_no_overload_lacks_its_row() -> None:
    names = {"HubWriter": HubWriter}
    hints = [get_type_hints(overload, vars(desks), names) for overload in get_overloads(Desk.approve)]
    declared = {hint["request"].model_fields["kind"].default: (hint["request"], hint["return"]) for hint in hints}
    rows = {kind: made.__args__ for kind, made in get_type_hints(Grants, vars(desks), names).items()}
    assert declared == rows


CODE = """
from tools.cards import Delete, Question, Spend
from tools.desk import Desk

def use(desk: Desk, spend: Spend) -> None:
    desk.approve(Delete(repo="ada/x")).delete_repo("ada/x")
    desk.approve(spend).submit()
    desk.hub.delete_repo("ada/x")  # wrong: nobody was asked
    desk.approve(spend).delete_repo("ada/x")  # wrong: something else was agreed to
    desk.approve(Delete(repo="ada/x")).submit()  # wrong
    desk.approve(Question(question="May I?"))  # wrong: an answer is no power
"""


@pytest.mark.timeout(300)  # without what the checker remembers it reads everything anew
def test_a_write_without_a_yes_is_a_type_error(tmp_path: Path) -> None:
    file = tmp_path / "use.py"
    file.write_text(CODE)
    checked = subprocess.run([sys.executable, "-m", "mypy", file], cwd=ROOT, capture_output=True, text=True)
    found = {int(line) for line in re.findall(r"use\.py:(\d+): error", checked.stdout)}
    assert found == {n for n, line in enumerate(CODE.splitlines(), start=1) if "# wrong" in line}, checked.stdout
