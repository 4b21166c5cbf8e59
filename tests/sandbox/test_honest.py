"""What an ML engineer writes works in the sandbox as in plain CPython, to the character."""

from __future__ import annotations

import functools

import pytest

from agent.sandbox import levels
from tests.sandbox import WHOLE, corpus, harness

# At "brokered" C libraries open files through the broker like everything else; what it cannot give is named here.
EXCEPTIONS: dict[str, set[str]] = {"full": set(), "brokered": set()}

HONEST = {case.name: case for case in corpus.honest()}
LIBRARIES = [
    name for name, case in HONEST.items() if any(word in "".join(case.steps) for word in ("parquet", "pyplot"))
]
CHOSEN = list(HONEST) if WHOLE else list(dict.fromkeys([*LIBRARIES, *list(HONEST)[::4]]))

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(not HONEST, reason=corpus.MISSING)]


@functools.cache
def found(level: str) -> dict[str, list[str]]:
    if level == "full" and not levels.kernel()["landlock_abi"]:
        pytest.skip("this kernel has no Landlock")
    try:
        return harness.work([HONEST[name] for name in CHOSEN], level)
    except harness.Impossible as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize(("level", "name"), [(level, name) for level in ("full", "brokered") for name in CHOSEN])
def test_honest_code_gives_what_plain_python_gives(level: str, name: str) -> None:
    differences = found(level)[name]
    if name in EXCEPTIONS[level]:
        assert differences, f"{name} works at {level}: take it out of the exceptions"
    else:
        assert differences == []
