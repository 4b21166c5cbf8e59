"""What job_run checks before it asks anybody. What happens after is in test_jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doubles.desk import desk
from tests.doubles.jobs import view_here
from tools.cards import Spend
from tools.jobs import job_run
from tools.jobs.here.jobs import LocalJobs
from tools.problem import Problem, Refused


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"script": " \n"}, "empty"),
        ({"script": "x = 1\nprint("}, "line 2"),
        ({"script": "x = '\0'"}, "Python"),
        ({"script": "(" * 5_000}, "Python"),
        ({"script": "-" * 100_000 + "1"}, "Python"),
        ({"script": "token = 'hf_" + "a" * 34 + "'"}, "looks like a token"),
        ({"timeout": "0"}, "timeout"),
        ({"timeout": "25h"}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"timeout": ""}, "timeout"),
        ({"dependencies": ["torch; rm -rf /"]}, "names no package"),
        ({"dependencies": ["--index-url=http://x"]}, "names no package"),
        ({"dependencies": ["torch"] * 51}, "too many"),
        ({"env": {"A B": "1"}}, "no name"),
        ({"env": {"HF_TOKEN": "x"}}, "token or a password"),
        ({"env": {"A": "sk-" + "a" * 40}}, "token or a password"),
        ({"env": {"A": "x\ny"}}, "cannot be passed"),
    ],
)
def test_wrong_values_are_problems_before_anybody_is_asked(given: dict[str, object], says: str, tmp_path: Path) -> None:
    at = desk(jobs=view_here(LocalJobs(tmp_path)))
    with pytest.raises(Problem, match=says) as raised:
        job_run(at, **{"script": "print(1)", **given})  # type: ignore[arg-type]
    assert not at.asked
    assert "aaaa" not in str(raised.value)


@pytest.mark.parametrize(
    ("timeout", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1h30m", 5400), ("45", 45), ("24h", 86400)]
)
def test_a_timeout_is_read_as_people_write_it(timeout: str, seconds: int, tmp_path: Path) -> None:
    view = view_here(LocalJobs(tmp_path))
    at = desk(answer="no", jobs=view, sign=lambda request: pytest.fail("nobody agreed"))
    with pytest.raises(Refused):
        job_run(at, "print(1)", timeout=timeout, env={"TOKENIZERS_PARALLELISM": "false"})
    assert isinstance(at.asked[0], Spend)
    assert at.asked[0].timeout_seconds == seconds
