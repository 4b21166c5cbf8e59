"""Variables outlive the child that holds them: it is killed, it crashes, the server starts again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import AT_ONCE
from tests.agent.sandbox.sessions_of_code import Code, until_dead


@pytest.fixture
def code(tmp_path: Path) -> Iterator[Code]:
    with Code(tmp_path) as session:
        yield session


def reopened(code: Code, folder: Path) -> Code:
    """As after a restart of the server: another Executor on the same folder."""
    code.close()
    return Code(folder)


def test_a_new_server_finds_the_variables_again(code: Code, tmp_path: Path) -> None:
    code("import json, numpy as np\nfrom math import sqrt\nx = {'a': [1, 2]}\narray = np.arange(3)\nname = 'é'")
    with reopened(code, tmp_path) as again:
        assert (
            again.value("json.dumps(x), array.sum(), sqrt(4), name") == """('{"a": [1, 2]}', np.int64(3), 2.0, 'é')"""
        )


def test_functions_and_classes_are_there_again_with_decorators_and_source(code: Code, tmp_path: Path) -> None:
    code("from dataclasses import dataclass\nfrom functools import lru_cache\nSTEP = 2")
    code("@dataclass\nclass Config:\n    lr: float = 0.1\n    step: int = STEP\nconfig = Config(lr=0.5)\nSTEP = 3")
    code("@lru_cache\ndef double(n, by=STEP): return n * by\nhalf = lambda n: n / 2\nalias = double")
    code("from collections import namedtuple\nPoint = namedtuple('Point', 'x y')\np = Point(1, 2)")
    code("try:\n    import no_such_module\nexcept ImportError:\n    def fallback(): return 'own'")
    with reopened(code, tmp_path) as again:
        assert again.value("config, double(4), half(4), alias is double, p") == (
            "(Config(lr=0.5, step=2), 12, 2.0, True, Point(x=1, y=2))"
        )
        assert again.value("fallback()") == "'own'"
        assert again.value("import inspect\ninspect.getsource(half)") == repr("half = lambda n: n / 2\n")
        assert 'File "<step 3>", line 2, in double' in again("double('a', by='b')").error


def test_the_last_definition_of_a_name_counts(code: Code, tmp_path: Path) -> None:
    code("def f(): return 1\nclass A: pass")
    code("def f(): return 2\nA = 5")
    with reopened(code, tmp_path) as again:
        assert again.value("f(), A") == "(2, 5)"


def test_a_value_that_cannot_be_loaded_takes_no_other_along(code: Code, tmp_path: Path) -> None:
    code(
        "first = [1]\nclass Trap:\n    def __reduce__(self): return divmod, (len(shared), 0)\nshared = ['s']\ntrap = Trap()"
    )
    code("pair = [first, first]\nholder = [1, Trap(), first]\nlast = {'first': first, 'shared': shared}")
    with reopened(code, tmp_path) as again:
        result = again("first, shared, pair[0] is pair[1] is first is last['first'], last['shared'] is shared")
        assert result.value == "([1], ['s'], True, True)"
        assert {lost.name for lost in result.lost} == {"trap", "holder"}


def test_a_value_that_shares_with_a_lost_one_is_lost_with_it_and_nothing_else_is(code: Code, tmp_path: Path) -> None:
    code("class Trap:\n    def __reduce__(self): return divmod, (1, 0)\ninner = [1]\nbad = [inner, Trap()]\ndel inner")
    code("same = bad[0]\nother = [same, 2]\nfine = ['fine']\nfine_too = [fine]")
    with reopened(code, tmp_path) as again:
        result = again("fine_too[0] is fine, fine")
        assert result.value == "(True, ['fine'])"
        assert {lost.name: lost.why[-45:] for lost in result.lost} == {
            "bad": "ZeroDivisionError('integer division or modulo by zero')"[-45:],
            "same": "LookupError('it shares something with bad, which is lost')"[-45:],
            "other": "LookupError('it shares something with bad, which is lost')"[-45:],
        }


def test_a_value_whose_loading_ends_the_process_is_lost_alone(code: Code, tmp_path: Path) -> None:
    code(
        "class Trap:\n    def __reduce__(self): return __import__('os')._exit, (7,)\nkept = [1]\ntrap = Trap()\ntoo = [kept]"
    )
    with reopened(code, tmp_path) as again:
        result = again("kept, too[0] is kept")
        assert result.value == "([1], True)"
        assert [lost.name for lost in result.lost] == ["trap"]
        again("del kept")
    with Code(tmp_path) as third:
        assert third("too").value == "[[1]]"


def test_shared_references_stay_shared(code: Code, tmp_path: Path) -> None:
    code("class Model: pass\nrows = [1]\nmodel = Model()\nmodel.rows = rows\nbroken = (i for i in rows)")
    with reopened(code, tmp_path) as again:
        assert again.value("rows.append(2)\nmodel.rows") == "[1, 2]"


def test_what_code_has_set_on_its_own_classes_is_kept(code: Code, tmp_path: Path) -> None:
    code("import threading\nclass Counter:\n    made = 0\n    lock = threading.Lock()\nCounter.made += 2")
    with reopened(code, tmp_path) as again:
        result = again("Counter.made, Counter.lock.locked()")
        assert (result.value, result.lost) == ("(2, False)", ())


def test_what_cannot_be_kept_is_named_with_the_reason_once(code: Code, tmp_path: Path) -> None:
    code("import threading\ng = (i for i in range(3))\nlock = threading.Lock()\nfile = open('f', 'w')\nok = [1]")
    code("def make():\n    n = 1\n    return lambda: n\nclosure = make()")
    code("exec('def dynamic(): return 1')")
    with reopened(code, tmp_path) as again:
        lost = {gone.name: gone.why for gone in again("ok").lost}
        assert lost.keys() == {"g", "lock", "file", "closure", "dynamic"}
        assert "generator" in lost["g"]
        assert again("ok").lost == ()
        assert again.value("ok") == "[1]"


def test_what_is_too_large_is_lost_and_the_rest_is_not(code: Code, tmp_path: Path) -> None:
    code("big = b'x' * (80 << 20)\nsmall = 1")
    with reopened(code, tmp_path) as again:
        result = again("small")
        assert (result.value, [gone.name for gone in result.lost]) == ("1", ["big"])


def test_many_variables_that_are_too_much_together_are_kept_one_by_one(code: Code, tmp_path: Path) -> None:
    code("a, b, c = (bytes([n]) * (22 << 20) for n in range(3))\nsmall = 1")
    with reopened(code, tmp_path) as again:
        assert again.value("a[0], b[0], c[0], len(c), small") == f"(0, 1, 2, {22 << 20}, 1)"


def test_an_object_that_pickles_for_ever_is_lost_and_holds_nothing_up(code: Code, tmp_path: Path) -> None:
    code("class Slow:\n    def __reduce__(self):\n        while True: pass\ns = Slow()\nx = 1")
    assert code("x").seconds < AT_ONCE
    with reopened(code, tmp_path) as again:
        result = again("x")
        assert (result.value, [gone.name for gone in result.lost]) == ("1", ["s"])


def test_a_deleted_variable_stays_deleted(code: Code, tmp_path: Path) -> None:
    code("x = 1\ny = 2")
    code("del x")
    with reopened(code, tmp_path) as again:
        assert "NameError" in again("x").error
        assert again.value("y") == "2"


def test_a_variable_with_a_tools_name_wins_over_the_tool(code: Code, tmp_path: Path) -> None:
    code("tools = [add]\nslow = 'mine'")
    with reopened(code, tmp_path) as again:
        assert again.value("slow, tools[0](1)") == "('mine', 2)"


@pytest.mark.parametrize(
    "end", ["import os; os._exit(7)", "import ctypes; ctypes.string_at(0)", "import os; os.kill(os.getpid(), 9)"]
)
def test_after_a_crash_the_variables_are_as_before_the_step(code: Code, end: str) -> None:
    code("x = 1\ng = (i for i in ())")
    result = code(f"x = 2\nprint('so far')\n{end}")
    assert "as they were before this step" in result.error
    assert result.restarted
    assert result.output == "so far\n"
    assert [gone.name for gone in result.lost] == ["g"]
    after = code("x")
    assert (after.value, after.restarted, after.lost) == ("1", "", ())


def test_a_child_that_dies_between_steps_is_replaced_and_said_so(code: Code) -> None:
    code("x = 1")
    assert code.pid
    os.kill(code.pid, signal.SIGKILL)
    until_dead(code.pid)
    result = code("x")
    assert (result.value, result.error) == ("1", "")
    assert "between two steps" in result.restarted


@pytest.mark.parametrize("content", [b"", b"\x00" * 8, b"\xff" * 4096, b"{}" + (2).to_bytes(8, "big")])
def test_a_spoilt_state_file_costs_the_variables_and_nothing_else(code: Code, tmp_path: Path, content: bytes) -> None:
    code("x = 1")
    code.close()
    for file in (tmp_path / "state").iterdir():
        file.write_bytes(content)
    with Code(tmp_path) as again:
        result = again("y = 2\ny")
        assert (result.value, [gone.name for gone in result.lost]) == ("2", ["all variables"])


def test_the_host_never_loads_what_the_child_has_saved(code: Code, tmp_path: Path) -> None:
    code(
        'import os\nclass Trap:\n    def __reduce__(self): return exec, (\'import os; open(f"by-{os.getpid()}", "w")\',)\nt = Trap()'
    )
    with reopened(code, tmp_path) as again:
        again("1")
        assert [path.name for path in (tmp_path / "work").glob("by-*")] == [f"by-{again.pid}"]
