"""A place for jobs that no line of the app has heard of, defined here alone: asked for, told, run and settled as any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.demands.rules import violations
from agent.events import ApprovalAsked, Entry, Event, MoneySettled
from agent.job_events import JobSubmitted
from agent.jobs.jobs import Jobs
from agent.money.books import Books
from agent.terminal import Terminal
from tests.doubles.desk import RecordingDesk, desk
from tools.cards import Answer, Demand, PlaceWords, Spend
from tools.jobs import job_run, job_status, jobs_list
from tools.jobs.here.jobs import LocalJobs
from tools.jobs.here.outputs import OutputsHere
from tools.jobs.place import JobState
from tools.problem import Problem, Refused

MOON = PlaceWords(
    name="moon",
    where="moon",
    title="the Moon",
    takes=("flavor", "nodes", "secrets"),
    danger="where nobody can help it",
    payer="your account on the Moon",
    tag="in low gravity",
    stop="Bring it back",
)


class Moon:
    """A JobPlace over a dict: what is started there has ended at once."""

    words = MOON
    settles_seconds = 0.0
    measures_seconds = 0.0

    def __init__(self) -> None:
        self.jobs: dict[str, Spend] = {}  # by label

    def quote(self, flavor: str) -> int:
        if flavor != "rover":
            raise Problem(f"There is no hardware {flavor!r} on the Moon.", "There is rover.")
        return 1_200_000

    def start(self, label: str, spec: Spend) -> str:
        self.jobs[label] = spec
        return f"moon-{label}"

    def find(self, label: str, spec: Spend) -> str | None:
        return f"moon-{label}" if label in self.jobs else None

    def read(self, job: str, offset: int) -> tuple[str, int]:
        said = "One small step.\n"
        return (said, len(said)) if offset == 0 else ("", offset)

    def state(self, job: str) -> JobState:
        return JobState("completed", 0, 90.0)

    def cancel(self, job: str) -> None: ...

    def url(self, job: str) -> str:
        return ""

    def metrics(self, job: str) -> dict[str, float]:
        return {}

    def tracker(self, job: str, label: str, spec: Spend) -> None: ...

    def outputs(self, job: str, label: str, spec: Spend) -> OutputsHere:
        raise Problem("Nothing comes back from the Moon.", "Print it.")

    def bill(self, job: str) -> None: ...

    def close(self) -> None: ...


class There:
    """One session's jobs, on this machine and on the Moon."""

    def __init__(self, folder: Path) -> None:
        self.events: list[Event] = []
        self.moon, self.books = Moon(), Books(self.events.append, [])
        self.books.set_budget(5_000_000)
        places = {place.words.name: place for place in (LocalJobs(folder), self.moon)}
        self.jobs = Jobs("s1", places, self.books.emit, reserve=self.books.reserve, secrets=lambda: ("KEY",))

    def desk(self, answer: Answer | None = None) -> RecordingDesk:
        at = desk(
            jobs=self.jobs, answer=answer or "yes", sign=lambda request: self.jobs.contract("c1", request, at.stop)
        )
        return at


@pytest.fixture
def there(tmp_path: Path) -> Iterator[There]:
    made = There(tmp_path)
    yield made
    made.jobs.close()


def asked_for(there: There) -> Spend:
    at = there.desk(Answer(verdict="no"))
    with pytest.raises(Refused):
        job_run(at, "print(1)", title="Dig", where="moon", flavor="rover", timeout="30m", nodes=2, secrets=["KEY"])
    (request,) = at.asked
    assert isinstance(request, Spend)
    return request


def test_it_is_asked_for_by_the_name_that_it_gives_itself_at_the_price_that_it_quotes(there: There) -> None:
    request = asked_for(there)
    assert (request.where, request.place, request.machines) == ("moon", MOON, "2 × rover")
    assert (request.hold_micro_usd, request.namespace, request.outputs, request.secrets) == (
        1_200_000,
        "",
        "",
        ("KEY",),
    )


def test_what_it_does_not_take_is_said_in_its_words(there: There) -> None:
    for given, says in (
        ({"volumes": ["ada/pets:/data"]}, "A job on the Moon takes no volumes. Leave it out."),
        ({"flavor": ""}, "What runs on the Moon needs a flavor."),
        ({"flavor": "boat"}, "no hardware 'boat' on the Moon"),
        ({"where": "mars"}, """'mars' by this app. Use where="here" or where="moon"."""),
        ({"where": "here"}, """on this machine takes no flavor. Leave it out, or ask for where="moon"."""),
    ):
        with pytest.raises(Problem) as raised:
            job_run(there.desk(), "print(1)", **{"where": "moon", "flavor": "rover"} | given)
        assert says in str(raised.value)
    assert there.events == there.events[:1]  # the budget
    assert not there.moon.jobs


def test_a_flavor_alone_means_the_place_that_has_flavors(there: There) -> None:
    at = there.desk()
    job_run(at, "print(1)", flavor="rover")
    assert isinstance(at.asked[0], Spend)
    assert at.asked[0].place == MOON


def test_it_runs_is_listed_and_settled_there(there: There) -> None:
    ended = job_run(there.desk(), "print(1)", where="moon", flavor="rover")
    assert (ended["status"], ended["log"]) == ("completed", "One small step.\n")
    assert [row["where"] for row in jobs_list(there.desk())] == ["moon"]
    assert job_status(there.desk(), ended["job"])["cost_usd"] == 0.04  # two whole minutes
    assert [event.where for event in there.events if isinstance(event, JobSubmitted)] == ["moon"]
    assert [event.source for event in there.events if isinstance(event, MoneySettled)] == ["run time and price"]


def test_a_demand_to_stay_on_this_machine_keeps_work_away_from_it(there: There) -> None:
    local = Demand(about="privacy", rule="must", text="keep it local", value="local")
    assert violations([local], asked_for(there)) == [
        "It would run on moon, away from this machine, and the user said “keep it local”."
    ]


def test_a_terminal_says_where_it_would_run(there: There, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ApprovalAsked(approval="a", call="c", request=asked_for(there))
    Terminal(as_json=False).show(Entry(seq=1, at=1.0, event=asked))
    assert "Runs on moon (rover) for at most 1800 s; costs at most $1.20." in " ".join(capsys.readouterr().out.split())
