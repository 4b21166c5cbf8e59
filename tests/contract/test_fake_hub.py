"""The fake Hub against what the real services were recorded to send, and through the real clients.

The recordings are not part of this repository: ML_INTERN_FIXTURES names their folder, else ../shared/fixtures is tried.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx2
import pytest
from authlib.integrations.starlette_client import OAuth  # type: ignore[import-untyped]
from huggingface_hub import HfApi
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from agent.models.listing import read_listing
from tests import ROOT
from tests.doubles import router_list
from tests.doubles.hub import FakeHub, Fault, content
from tools.hub.hub import Hub, PaperFacts
from tools.papers import arxiv
from tools.papers.html import read_html
from tools.papers.reference import Arxiv
from tools.web import Web

FIXTURES = Path(os.environ.get("ML_INTERN_FIXTURES") or ROOT.parent / "shared" / "fixtures")
recorded = pytest.mark.skipif(not FIXTURES.is_dir(), reason=f"no recordings at {FIXTURES}")

RESTS_ON_NO_RECORDING = (
    "GET /api/models (list)",
    "GET /api/datasets (list)",
    "GET /api/datasets/{id}",
    "GET /api/spaces/{id}",
    "GET /api/whoami-v2 (only the value that a live test asserts)",
    "GET /api/papers/{id}",
    "GET /papers/{id}.md",
    "DELETE /api/repos/delete",
    "GET /.well-known/openid-configuration, /oauth/authorize, /oauth/userinfo, /oauth/jwks; POST /oauth/token",
    "GET router/v1/models (only the example of its documentation)",
    "GET arxiv.org/html when there is none, arxiv.org/pdf, ar5iv",
)


def read(name: str) -> Any:
    return json.loads((FIXTURES / name).read_text(encoding="utf-8"))


def kind(value: Any) -> str:
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def assert_same_shape(fake: dict[str, Any], real: dict[str, Any], names: tuple[str, ...]) -> None:
    """Each named field is in both, with the same type."""
    for name in names:
        assert kind(fake[name]) == kind(real[name]), name


MODEL = [
    "_id",
    "id",
    "modelId",
    "author",
    "sha",
    "createdAt",
    "lastModified",
    "private",
    "gated",
    "disabled",
    "downloads",
    "likes",
    "library_name",
    "pipeline_tag",
    "tags",
    "config",
    "cardData",
    "safetensors",
    "siblings",
    "spaces",
    "usedStorage",
]


@recorded
def test_a_model_looks_as_recorded() -> None:
    real = read("hf-hub/model_info_st.0.json")
    fake = content.model("ada/x")
    assert_same_shape(fake, real, tuple(MODEL))
    assert fake["safetensors"].keys() == real["safetensors"].keys()
    assert fake["siblings"][0].keys() == real["siblings"][0].keys()
    assert set(fake) <= set(real), "a field that only the fake has"


@recorded
def test_a_recorded_model_is_read_in_full() -> None:
    with FakeHub() as hub:
        hub.repos["model"]["sentence-transformers/paraphrase-albert-small-v2"] = read("hf-hub/model_info_st.0.json")
        repo = Hub("", hub.url).repo("model", "sentence-transformers/paraphrase-albert-small-v2")
    assert (repo.licence, repo.tasks, repo.parameters) == ("apache-2.0", ("sentence-similarity",), 11_684_096)
    assert (repo.downloads, repo.last_modified, len(repo.files)) == (285_986, "2024-11-05", 28)
    assert len(repo.trained_on) == 13


@recorded
def test_the_routers_list_looks_as_documented_and_is_read_in_full() -> None:
    real = read("inference-router/v1-models.docs.json")
    fake = router_list.listing(*router_list.MODELS)
    assert fake.keys() == real.keys()
    [entry] = real["data"]
    for model in fake["data"]:
        assert_same_shape(model, entry, tuple(entry))
        assert model.keys() == entry.keys()
    fullest = max(entry["providers"], key=len)
    for told in (told for model in fake["data"] for told in model["providers"] if "pricing" in told):
        assert_same_shape(told, fullest, tuple(fullest))
        assert told.keys() == fullest.keys()
    [listed] = read_listing(json.dumps(real).encode(), 0.0).models
    assert [(one.name, one.live, one.window) for one in listed.providers] == [
        (told["provider"], told["status"] == "live", told.get("context_length")) for told in entry["providers"]
    ]
    assert [one.price_out and one.price_out / 1e6 for one in listed.providers] == [
        told.get("pricing", {}).get("output") for told in entry["providers"]
    ]


@recorded
def test_a_renamed_model_is_redirected_as_recorded() -> None:
    real = read("hf-hub/model_info_redirect.0.request.json")
    with FakeHub() as hub:
        fake = httpx2.get(f"{hub.url}/api/models/tiny-bert", follow_redirects=False)
    assert fake.status_code == real["status"]
    assert fake.headers["location"].startswith("/api/models/")
    assert real["response_headers"]["location"].startswith("/api/models/")


@recorded
def test_a_found_space_looks_as_recorded_and_recorded_ones_are_read() -> None:
    real = read("hf-spaces/semantic_search.json")
    fake = content.found_space(content.space("ada/x"))
    names = ("id", "author", "title", "sdk", "likes", "lastModified", "runtime", "ai_short_description", "private")
    assert_same_shape(fake, real[0], names)
    assert_same_shape(fake["runtime"], real[0]["runtime"], ("stage", "hardware"))
    with FakeHub() as hub:
        hub.faults.append(Fault("/api/spaces/semantic-search", status=200, body=json.dumps(real).encode()))
        found = Hub("", hub.url).search("space", "image", 10)
    assert [space.id for space in found] == [item["id"] for item in real]
    assert found[0].stage == "RUNNING"
    assert found[0].hardware == "zero-a10g"
    assert found[0].summary == "Generate images using text prompts"


@recorded
def test_a_found_paper_looks_as_recorded_and_recorded_ones_are_read() -> None:
    fake = content.found_paper(content.PAPERS[0])
    with FakeHub() as hub:
        for name in ("papers_search_kazakh", "papers_search_2407.21783"):
            real = read(f"hf-papers/{name}.json")
            assert_same_shape(fake, real[0], ("paper", "publishedAt", "title", "summary", "numComments", "thumbnail"))
            names = ("id", "authors", "publishedAt", "title", "summary", "upvotes", "discussionId")
            assert_same_shape(fake["paper"], real[0]["paper"], names)
            assert set(fake) <= set(real[0]), "a field that only the fake has"
            hub.faults[:] = [Fault("/api/papers/search", status=200, body=json.dumps(real).encode())]
            found = Hub("", hub.url).papers_search("x", 50)
            assert [paper.id for paper in found] == [item["paper"]["id"] for item in real][:50]
            assert all(paper.title and paper.summary and paper.date and paper.authors for paper in found)
            assert any(paper.keywords for paper in found)


@recorded
def test_papers_fulfil_the_hubs_published_schema() -> None:
    schema = read("openapi/hub-daily-papers.response.schema.json")["items"]["properties"]["paper"]
    for paper in content.PAPERS:
        assert set(schema["required"]) <= set(paper)
        assert set(paper) <= set(schema["properties"])


@recorded
def test_an_account_looks_as_a_live_test_asserts() -> None:
    real = read("hf-auth/whoami-v2.live-test-expectation.json")
    fake = content.person("ada")
    assert fake.keys() == real.keys()
    assert_same_shape(fake, real, tuple(real))


@recorded
def test_recorded_atom_feeds_are_read() -> None:
    def facts(body: bytes, status: int = 200) -> list[PaperFacts]:
        with FakeHub() as hub:
            hub.faults.append(Fault("/arxiv/api", status=status, body=body))
            return arxiv.search(Web(hub.places()), "x", 10, check=lambda: None)

    feeds = {path.name.split("_s0")[0].split("_s10")[0]: path for path in (FIXTURES / "arxiv-api").glob("*.xml")}
    (paper,) = facts(feeds["id_1605.08386"].read_bytes())
    assert (paper.id, paper.date) == ("1605.08386", "2016-05-26")
    assert paper.authors == ("Caprice Stanley", "Tobias Windisch")
    assert paper.summary.startswith("Graphs on lattice points")
    assert facts(feeds["id_0000.0000"].read_bytes()) == []
    assert facts(feeds["id_abc"].read_bytes(), 400) == []
    assert len(facts(feeds["q_testing"].read_bytes())) == 10
    (old,) = facts(feeds["id_astro-ph_0601001"].read_bytes())
    assert old.id == "astro-ph/0601001"


def test_the_fakes_atom_feed_is_read_too() -> None:
    with FakeHub() as hub:
        paper = arxiv.facts(Web(hub.places()), Arxiv("2602.01717"), lambda: None)
    assert paper.title == "Warm Tea: Small Models for Kettles"
    assert paper.authors[0] == "Ada Field"


@recorded
def test_a_recorded_arxiv_page_is_read() -> None:
    (page,) = (FIXTURES / "arxiv-html").glob("*.html")
    paper = read_html(page.read_text(encoding="utf-8"))
    assert paper.title.startswith("What’s in Your Agent’s Context?")
    assert paper.watermark.startswith("arXiv:2609.01222v2")
    assert [section.name for section in paper.sections] == ["Abstract", "I Introduction"]
    assert "(1) Message-Role Context Privilege Escalation (M-CPE), which" in paper.sections[0].text
    assert "the harness [1], where" in paper.sections[1].text
    assert "instructions. [footnote: Similar to OpenAI [7], each segment" in paper.sections[1].text


def test_the_library_itself_reads_the_fakes_answers() -> None:
    """The parts of the library that this app does not use are a further witness that the shapes are right."""
    with FakeHub() as hub:
        api = HfApi(hub.url, token="hf_ada")
        assert api.whoami()["name"] == "ada"
        assert [model.id for model in api.list_models(search="tiny")] == ["ada/tiny-bert"]
        assert [item.id for item in api.list_datasets(search="pets")] == ["ada/pets"]
        assert [item.id for item in api.search_spaces("names")] == ["ada/pet-namer"]
        assert api.model_info("tiny-bert").id == "ada/tiny-bert"
        assert api.dataset_info("ada/pets").downloads == 340
        runtime = api.space_info("ada/pet-namer").runtime
        assert runtime is not None
        assert runtime.stage == "RUNNING"
        assert api.paper_info("2601.04242").title == content.PAPERS[0]["title"]
        assert api.read_paper("2601.04242").startswith("# Easy First")


def test_an_unknown_route_fails_the_test() -> None:
    hub = FakeHub()
    with pytest.raises(AssertionError, match="GET /api/unheard-of"), hub:
        httpx2.get(f"{hub.url}/api/unheard-of")


@pytest.mark.parametrize("who", ["ada", "bo"])
def test_a_browser_signs_in_the_way_gradio_does_it(who: str) -> None:
    """The same library, registered with the same words as gradio.oauth registers it."""
    with FakeHub() as hub:
        oauth = OAuth()
        oauth.register(
            name="huggingface",
            client_id="client",
            client_secret="secret",
            client_kwargs={"scope": "openid profile jobs"},
            server_metadata_url=hub.url + "/.well-known/openid-configuration",
        )

        async def login(request: Request) -> Response:
            answer: Response = await oauth.huggingface.authorize_redirect(
                request, "http://testserver/login/callback?_target_url=%2F"
            )
            return answer

        async def callback(request: Request) -> Response:
            return JSONResponse(await oauth.huggingface.authorize_access_token(request))

        app = Starlette(
            routes=[Route("/login", login), Route("/login/callback", callback)],
            middleware=[Middleware(SessionMiddleware, secret_key="x")],
        )
        browser = TestClient(app, follow_redirects=False)
        to_hub = browser.get("/login").headers["location"]
        back = httpx2.get(to_hub, cookies={"as": who}, follow_redirects=False).headers["location"]
        info = browser.get(back).json()
        assert info["userinfo"]["preferred_username"] == who
        assert set(info["userinfo"]) >= {"name", "profile", "picture"}
        assert info["expires_at"] > 0
        assert Hub(info["access_token"], hub.url).whoami() == who
