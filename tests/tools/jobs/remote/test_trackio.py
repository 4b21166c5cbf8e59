"""A project's dashboard is made once, private, and nothing that is not ours is touched. The real client over the fake Hub."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from tests import ROOT
from tests.doubles.hub import FakeHub, FakeTrackio, Fault
from tests.doubles.hub.content import space
from tools.jobs.remote.trackio import MARK, DashboardHub, Lacking
from tools.jobs.tracking import REQUIREMENT
from tools.problem import Problem

SPACE = "ada/ml-intern-trackio-pets"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        fake.people["ada"]["isPro"] = True
        yield fake


@pytest.fixture
def dashboards(hub: FakeHub) -> DashboardHub:
    return DashboardHub("hf_ada", hub.url)


def posts(hub: FakeHub) -> list[str]:
    return [asked.path for asked in hub.asked if asked.method != "GET"]


def test_a_dashboard_is_a_private_space_over_a_private_bucket_with_no_secret(
    hub: FakeHub, dashboards: DashboardHub
) -> None:
    dashboards.keep_bucket(SPACE)
    dashboards.keep_space(SPACE, "pets")
    (asked,) = hub.spaces.created
    assert hub.buckets.made[SPACE]["visibility"] == asked["visibility"] == "private"
    assert asked["volumes"] == [{"type": "bucket", "source": SPACE, "mountPath": "/data"}]
    assert {one["key"]: one["value"] for one in asked["variables"]} == {MARK: "pets", "TRACKIO_DIR": "/data/trackio"}
    assert "secrets" not in asked
    assert "hardware" not in asked
    files = {name: text.decode() for name, text in hub.spaces.files[SPACE].items()}
    assert files["app.py"] == "import trackio\n\ntrackio.show()\n"
    assert files["requirements.txt"] == "trackio[spaces]==0.43.0\n"
    assert "sdk: gradio" in files["README.md"]
    assert len(hub.spaces.commits) == 1


def test_the_dashboard_has_the_version_that_is_tested() -> None:
    pins = ROOT / "requirements-trackio.txt"
    assert REQUIREMENT in pins.read_text("utf-8").split()


def test_the_second_job_of_a_project_finds_it(hub: FakeHub, dashboards: DashboardHub) -> None:
    for _ in range(2):
        dashboards.keep_bucket(SPACE)
        dashboards.keep_space(SPACE, "pets")
    assert len(hub.spaces.created) == len(hub.spaces.commits) == 1


def test_two_at_once_make_one(hub: FakeHub, dashboards: DashboardHub) -> None:
    both = threading.Barrier(2)
    faults: list[Exception] = []

    def make() -> None:
        both.wait()
        try:
            dashboards.keep_bucket(SPACE)
            dashboards.keep_space(SPACE, "pets")
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(hub.spaces.created) == len(hub.spaces.commits) == 1


STEPS = (
    "/api/repos/create",
    f"/api/spaces/{SPACE}$",
    f"/api/spaces/{SPACE}/variables",
    "/api/validate-yaml",
    f"/api/spaces/{SPACE}/commit/main",
)


@pytest.mark.parametrize("path", STEPS)
@pytest.mark.parametrize(
    "fault",
    [Fault("", status=500), Fault("", status=429), Fault("", status=200, cut=True), Fault("", status=500, after=True)],
    ids=["500", "429", "cut", "done, but the answer was lost"],
)
def test_whatever_is_cut_off_is_finished_the_next_time(
    hub: FakeHub, dashboards: DashboardHub, path: str, fault: Fault
) -> None:
    hub.faults.append(Fault(path, fault.status, cut=fault.cut, after=fault.after, times=1))
    for _ in range(3):
        try:
            dashboards.keep_space(SPACE, "pets")
            break
        except Lacking:
            raise
        except Problem:
            continue
    assert (len(hub.spaces.created), len(hub.spaces.commits)) == (1, 1)
    assert set(hub.spaces.files[SPACE]) == {"README.md", "app.py", "requirements.txt"}
    assert hub.spaces.variables[SPACE][MARK]["value"] == "pets"


def test_a_variable_or_volume_that_did_not_arrive_is_set(hub: FakeHub, dashboards: DashboardHub) -> None:
    dashboards.keep_space(SPACE, "pets")
    hub.repos["space"][SPACE]["runtime"]["volumes"] = []
    del hub.spaces.variables[SPACE]["TRACKIO_DIR"]
    dashboards.keep_space(SPACE, "pets")
    assert hub.repos["space"][SPACE]["runtime"]["volumes"][0]["mountPath"] == "/data"
    assert hub.spaces.variables[SPACE]["TRACKIO_DIR"]["value"] == "/data/trackio"


def test_who_has_no_plan_for_it_is_told_so_and_nothing_is_made(hub: FakeHub, dashboards: DashboardHub) -> None:
    hub.people["ada"]["isPro"] = False
    with pytest.raises(Lacking, match="no plan or credits for the Space 'ada/ml-intern-trackio-pets'"):
        dashboards.keep_space(SPACE, "pets")
    assert SPACE not in hub.repos["space"]


def test_a_right_that_is_missing_is_named(hub: FakeHub, dashboards: DashboardHub) -> None:
    with pytest.raises(Lacking, match="scope manage-repos"):
        dashboards.keep_space("bo/ml-intern-trackio-pets", "pets")
    assert hub.spaces.created == []


def test_an_organisation_that_pays_has_its_own(hub: FakeHub, dashboards: DashboardHub) -> None:
    hub.people["ada"]["orgs"].append({"name": "acme"})
    dashboards.keep_bucket("acme/ml-intern-trackio-pets")
    dashboards.keep_space("acme/ml-intern-trackio-pets", "pets")
    assert hub.spaces.created[0]["organization"] == "acme"


@pytest.mark.parametrize(
    ("private", "mark"), [(True, ""), (True, "kettles"), (False, "pets")], ids=["no mark", "another's", "public"]
)
def test_a_space_that_is_not_ours_is_left_alone(
    hub: FakeHub, dashboards: DashboardHub, private: bool, mark: str
) -> None:
    hub.repos["space"][SPACE] = space(SPACE, private=private)
    hub.spaces.variables[SPACE] = {MARK: {"value": mark}} if mark else {}
    with pytest.raises(Lacking, match="It was left alone"):
        dashboards.keep_space(SPACE, "pets")
    assert posts(hub) == []


@pytest.mark.parametrize(
    ("visibility", "files"), [("public", []), ("private", ["trackio/x.db", "thesis.tex"])], ids=["public", "another's"]
)
def test_a_bucket_that_is_not_ours_is_left_alone(
    hub: FakeHub, dashboards: DashboardHub, visibility: str, files: list[str]
) -> None:
    hub.buckets.made[SPACE] = {"visibility": visibility}
    for path in files:
        hub.buckets.put(SPACE, path, b"")
    with pytest.raises(Lacking, match="It was left alone"):
        dashboards.keep_bucket(SPACE)


def test_a_bucket_of_earlier_jobs_is_used_again(hub: FakeHub, dashboards: DashboardHub) -> None:
    hub.buckets.made[SPACE] = {"visibility": "private"}
    for path in ("trackio/inbox/s1-c1/a/00000000.jsonl", "trackio/pets.db"):
        hub.buckets.put(SPACE, path, b"")
    dashboards.keep_bucket(SPACE)


def test_a_space_is_asked_with_a_signature_and_never_with_the_token(
    hub: FakeHub, dashboards: DashboardHub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    dashboards.keep_space(SPACE, "pets")
    hub.spaces.run(SPACE, FakeTrackio())
    facts = dashboards.look(SPACE)
    assert facts is not None
    sign = dashboards.signature(SPACE)
    assert dashboards.ask(facts.host, sign, "get_alerts", project="pets", run="r") == []
    (asked,) = [asked for asked in hub.asked if asked.path.startswith("/space-host")]
    assert "authorization" not in asked.headers
    assert sign in asked.query
    assert sign not in caplog.text
    with pytest.raises(Problem, match="answered 401") as refused:
        dashboards.ask(facts.host, "wrong", "get_alerts", project="pets", run="r")
    assert "wrong" not in str(refused.value)


@pytest.mark.parametrize(
    "host",
    [
        "https://evil.example",
        "http://x.hf.space",
        "https://x.hf.space.evil.example",
        "https://evil.example/x.hf.space",
        "https://me:pw@x.hf.space",
        "https://x.hf.space:8443",
        "http://127.0.0.1:1",
        "http://[::1",
        "",
    ],
)
def test_no_signature_goes_to_an_address_that_is_no_space(dashboards: DashboardHub, host: str) -> None:
    with pytest.raises(Problem, match="none of Hugging Face's"):
        dashboards.ask(host, "eyJ.sign", "get_alerts", project="pets", run="r")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("/space-host", status=200, body=b"<html>building</html>"),
        Fault("/space-host", status=200, body=b"[]"),
        Fault("/space-host", status=200, body=b" " * 9_000_000),
        Fault("/space-host", status=302, location="http://127.0.0.1:9/"),
        Fault("/space-host", status=200, cut=True),
    ],
    ids=["html", "list", "too long", "elsewhere", "cut"],
)
def test_an_odd_answer_of_the_space_is_a_problem(hub: FakeHub, dashboards: DashboardHub, fault: Fault) -> None:
    dashboards.keep_space(SPACE, "pets")
    facts = dashboards.look(SPACE)
    assert facts is not None
    hub.faults.append(fault)
    with pytest.raises(Problem, match=r"dashboard"):
        dashboards.ask(facts.host, dashboards.signature(SPACE), "get_alerts", project="pets", run="r")
