"""The fake's jobs against what is known of the real ones: the Hub's published schema, recorded shapes, the library.

The recordings are reconstructed from the documentation; none was taken from the live service. No recording at all is
behind: cancel, bucket and schedule answers, the sandbox server, and how a list is paged.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from huggingface_hub import HfApi, Volume

from tests.contract.test_fake_hub import assert_same_shape, read, recorded
from tests.doubles.hub import FakeHub
from tests.doubles.hub.jobs import HARDWARE
from tools.jobs.prices import Prices
from tools.jobs.remote.client import JobsHub


@pytest.fixture
def api(hub: FakeHub) -> HfApi:
    return HfApi(hub.url, token="hf_ada")


def violations(value: Any, schema: Any, where: str = "job") -> list[str]:
    """What of JSON Schema the published schema uses: type, enum, required, properties, items, additionalProperties."""
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "number": (int, float),
        "boolean": bool,
        "null": type(None),
    }
    wanted = schema.get("type")
    if wanted and not any(isinstance(value, kinds[kind]) for kind in ([wanted] if isinstance(wanted, str) else wanted)):
        return [f"{where} is no {wanted}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where} cannot be {value!r}"]
    found: list[str] = []
    if isinstance(value, dict):
        found += [f"{where} lacks {name}" for name in schema.get("required", []) if name not in value]
        rest = schema.get("additionalProperties")
        for name, inner in value.items():
            known = schema.get("properties", {}).get(name, rest if isinstance(rest, dict) else None)
            if known is not None:
                found += violations(inner, known, f"{where}.{name}")
            elif schema.get("properties"):
                found.append(f"{where}.{name} is unknown to the schema")
    if isinstance(value, list) and "items" in schema:
        for inner in value:
            found += violations(inner, schema["items"], f"{where}[]")
    return found


@recorded
def test_jobs_fulfil_the_hubs_published_schema_at_every_stage(hub: FakeHub, api: HfApi) -> None:
    schema = read("openapi/hub-job.response.schema.json")
    volumes = [Volume(type="dataset", source="ada/pets", mount_path="/data", read_only=True)]
    for end in ("COMPLETED", "CANCELED", "ERROR", "DELETED"):
        id = api.run_job(
            image="python:3.12",
            command=["true"],
            env={"A": "b"},
            secrets={"S": "t"},
            flavor="l4x1",
            volumes=volumes,
            expose=[8000],
            network_group="g",
            network_aliases=["a"],
            namespace="ada",
        ).id
        there = hub.jobs.all[id]
        assert violations(there.as_json(), schema) == []
        assert violations(there.run().as_json(), schema) == []
        assert violations(there.end(end, reason="NO_CREDITS" if end == "CANCELED" else "").as_json(), schema) == []


@recorded
def test_a_job_looks_as_reconstructed_from_the_docs(hub: FakeHub, api: HfApi) -> None:
    real = read("hf-jobs/inspect.wire.reconstructed.json")
    id = api.run_job(image="python:3.12", command=["true"], flavor="l4x1", namespace="ada").id
    fake = hub.jobs.all[id].run().end().as_json()
    assert_same_shape(fake, real, tuple(real))


@recorded
def test_recorded_hardware_is_read_in_full_and_the_fakes_looks_like_it(hub: FakeHub) -> None:
    real = read("hf-jobs/hardware.reconstructed.json")
    assert all(entry.keys() == real[0].keys() for entry in HARDWARE)
    with_gpu = next(entry for entry in real if entry["accelerator"])
    assert (
        next(entry for entry in HARDWARE if entry["accelerator"])["accelerator"].keys()
        == with_gpu["accelerator"].keys()
    )
    hub.jobs.hardware = real
    prices = Prices(JobsHub("", hub.url).hardware)
    assert len(prices.flavors()) == 26
    assert prices.quote("a100x4").flavor.vram == 320
    assert prices.quote("cpu-basic").micro_usd_per_hour == 10_020
    assert all(flavor.price_micro_usd_per_hour for flavor in prices.flavors())


@recorded
def test_the_streams_have_the_recorded_shape(hub: FakeHub, api: HfApi) -> None:
    def shape(name: str) -> set[str]:
        text = read_text(f"hf-jobs/{name}.sse.shape.txt")
        return set(json.loads(text.split("data: ", 1)[1].splitlines()[0]))

    assert shape("logs") == {"timestamp", "data"}
    sample = read_text("hf-jobs/metrics.sse.shape.txt").split("data: ", 1)[1].splitlines()[0]
    hub.jobs.sample = json.loads(sample)
    id = api.run_job(image="python:3.12", command=["true"], flavor="l4x1", namespace="ada").id
    hub.jobs.all[id].run()
    assert next(iter(api.fetch_job_metrics(job_id=id, namespace="ada"))) == json.loads(sample)


def read_text(name: str) -> str:
    from tests.contract.test_fake_hub import FIXTURES

    return (FIXTURES / name).read_text(encoding="utf-8")


def test_the_library_itself_reads_the_fakes_jobs(hub: FakeHub, api: HfApi) -> None:
    """The parts of the library that this app does not use are a further witness that the shapes are right."""
    info = api.run_job(image="python:3.12", command=["true"], labels={"a": "b"}, flavor="l4x1", namespace="ada")
    there = hub.jobs.all[info.id]
    assert info.status.stage == "SCHEDULING"
    there.run().say("one", "two").end()
    assert list(api.fetch_job_logs(job_id=info.id, namespace="ada", follow=True)) == ["one", "two"]
    assert api.wait_for_job(info.id, namespace="ada").status.stage == "COMPLETED"
    assert [job.id for job in api.list_jobs(namespace="ada", labels={"a": "b"})] == [info.id]
    assert [job.id for job in api.list_jobs(namespace="ada", labels={"a": "c"})] == []
    assert api.inspect_job(job_id=info.id, namespace="ada").durations is not None
    assert {hardware.name for hardware in api.list_jobs_hardware()} >= {"cpu-basic", "l4x1"}


def test_the_library_itself_keeps_schedules_on_the_fake(hub: FakeHub, api: HfApi) -> None:
    made = api.create_scheduled_job(
        image="python:3.12", command=["true"], schedule="@daily", labels={"a": "b"}, namespace="ada"
    )
    assert [one.id for one in api.list_scheduled_jobs(namespace="ada", labels={"a": "b"})] == [made.id]
    api.delete_scheduled_job(scheduled_job_id=made.id, namespace="ada")
    assert api.list_scheduled_jobs(namespace="ada") == []
