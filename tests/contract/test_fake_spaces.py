"""The fake's Spaces and buckets against what the real Hub was recorded to send, and through the parts of the library that
this app does not use. Buckets, volumes, /jwt and a Space's host rest on no recording: on huggingface_hub's own reading."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, Volume, get_session

from tests.contract.test_fake_hub import FIXTURES, read, recorded
from tests.doubles.hub import FakeHub

AUTH = {"authorization": "Bearer hf_ada"}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        fake.people["ada"]["isPro"] = True
        yield fake


@recorded
def test_what_was_asked_of_the_real_hub_is_answered_in_the_same_shape(hub: FakeHub) -> None:
    """Making a Space, a commit and variables, request by request as a recorded session of the library went."""
    compared = 0
    for number in range(11):
        asked = read(f"hf-spaces/space_variables.{number}.request.json")
        if "expand=" in asked["url"] or asked["method"] == "DELETE":
            continue
        url = asked["url"].replace("https://huggingface.co", hub.url).replace("user/", "ada/")
        body: Any = json.loads(json.dumps(asked["body"]).replace('"user"', '"ada"'))
        given = {"content": body.encode()} if isinstance(body, str) else {"json": body}
        answer = get_session().request(asked["method"], url, headers=AUTH, **(given if body else {}))
        real = json.loads((FIXTURES / "hf-spaces" / f"space_variables.{number}.json").read_text("utf-8"))
        assert answer.status_code == asked["status"]
        assert answer.json().keys() == real.keys()
        compared += 1
    assert compared == 9


def test_the_library_itself_reads_the_fakes_spaces_and_buckets(hub: FakeHub) -> None:
    api = HfApi(hub.url, token="hf_ada")
    api.create_bucket("ada/x", private=True)
    info = api.bucket_info("ada/x")
    assert (info.private, info.total_files) == (True, 0)
    hub.buckets.put("ada/x", "trackio/a/b.jsonl", b"{}")
    hub.buckets.put("ada/x", "c.txt", b"c")
    assert [entry.path for entry in api.list_bucket_tree("ada/x")] == ["c.txt", "trackio"]
    volume = Volume(type="bucket", source="ada/x", mount_path="/data")
    api.create_repo("ada/x", repo_type="space", private=True, space_sdk="gradio", space_volumes=[volume])
    api.create_commit(
        "ada/x", [CommitOperationAdd("README.md", b"---\nsdk: gradio\n---\n")], commit_message="m", repo_type="space"
    )
    space = api.space_info("ada/x")
    assert (space.private, [one.rfilename for one in space.siblings or []]) == (True, ["README.md"])
    assert space.runtime is not None
    assert [one.mount_path for one in space.runtime.volumes or []] == ["/data"]
    api.set_space_volumes("ada/x", [])
    runtime = api.space_info("ada/x").runtime
    assert runtime is not None
    assert not runtime.volumes
    assert api.add_space_variable("ada/x", "A", "b")["A"].value == "b"
