"""The Hub's own API, as far as this app calls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.doubles.hub.content import RENAMED, Json, found_paper, found_space
from tests.doubles.router_list import listing

if TYPE_CHECKING:
    from tests.doubles.hub.server import FakeHub


def routes(hub: FakeHub) -> list[Route]:
    return [
        Route("/api/whoami-v2", _whoami(hub)),
        # The client asks for it once a day, to name the coding agent it runs under.
        Route("/api/agent-harnesses", lambda _: JSONResponse({"standardEnvVars": [], "harnesses": {}})),
        Route("/api/settings/billing/usage-by-inference-session", _bill(hub)),
        Route("/api/models", _listing(hub, "model")),
        Route("/api/datasets", _listing(hub, "dataset")),
        Route("/api/spaces/semantic-search", _spaces(hub)),
        *(Route(f"/api/{kind}s/{{id:path}}", _info(hub, kind)) for kind in ("model", "dataset", "space")),
        Route("/api/repos/delete", _delete(hub), methods=["DELETE"]),
        Route("/api/papers/search", _papers(hub)),
        Route("/api/papers/{id:path}", _paper(hub)),
        Route("/papers/{id:path}.md", _markdown(hub)),
        # Not the Hub's, but found in the same settings: the list of the router.
        Route("/router/v1/models", lambda _: JSONResponse(listing(*hub.router_models))),
    ]


def not_found(what: str, code: str) -> Response:
    return JSONResponse({"error": f"{what} not found"}, 404, {"X-Error-Code": code, "X-Error-Message": "not found"})


def _whoami(hub: FakeHub) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        who = hub.who(request)
        if who is None:
            return JSONResponse({"error": "Invalid username or password."}, 401)
        return JSONResponse(hub.people[who])

    return answer


def _bill(hub: FakeHub) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        if hub.who(request) is None:
            return JSONResponse({"error": "Invalid username or password."}, 401)
        return JSONResponse({"periods": [{"sessions": hub.billed}]})

    return answer


def _listing(hub: FakeHub, kind: str) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        words = request.query_params.get("search", "").lower().split()
        limit = int(request.query_params.get("limit", "1000"))
        wanted = request.query_params.getlist("expand")
        found = [info for info in hub.repos[kind].values() if all(word in info["id"].lower() for word in words)]
        found = [info for info in found if hub.may_see(request, info)]
        brief = [_expanded(info, wanted) for info in found[:limit]]
        return JSONResponse(brief)

    return answer


def _expanded(info: Json, wanted: list[str]) -> Json:
    """With expand only the named fields and the ids; without it what lists show by default."""
    default = ["likes", "downloads", "tags", "private", "createdAt", "pipeline_tag", "library_name", "modelId"]
    kept = {"_id", "id", *(wanted or default)}
    return {name: value for name, value in info.items() if name in kept}


def _spaces(hub: FakeHub) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        words = request.query_params["q"].lower().split()
        found = [found_space(info) for info in hub.repos["space"].values() if hub.may_see(request, info)]
        return JSONResponse([item for item in found if any(word in str(item).lower() for word in words)])

    return answer


def _info(hub: FakeHub, kind: str) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        id = request.path_params["id"]
        if kind == "model" and id in RENAMED:
            return RedirectResponse(f"/api/models/{RENAMED[id]}", 307)
        info = hub.repos[kind].get(id)
        if info is None or not hub.may_see(request, info):
            if hub.who(request) is None:  # the Hub does not tell strangers what is private and what is not there
                return JSONResponse({"error": "Invalid username or password."}, 401)
            return not_found("Repository", "RepoNotFound")
        return JSONResponse(info)

    return answer


def _delete(hub: FakeHub) -> Callable[[Request], object]:
    async def answer(request: Request) -> Response:
        asked = await request.json()
        kind = asked.get("type", "model")
        who = hub.who(request)
        id = f"{asked.get('organization') or who}/{asked['name']}"
        if who is None:
            return JSONResponse({"error": "Invalid username or password."}, 401)
        if id not in hub.repos[kind]:
            return not_found("Repository", "RepoNotFound")
        if not id.startswith(f"{who}/"):
            message = "You do not have the rights to delete this repository"
            return JSONResponse({"error": message}, 403, {"X-Error-Message": message})
        del hub.repos[kind][id]
        return JSONResponse({})

    return answer


def _papers(hub: FakeHub) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        words = request.query_params["q"].lower().split()
        limit = int(request.query_params.get("limit", "120"))
        found = [info for info in hub.papers.values() if any(word in str(info).lower() for word in words)]
        return JSONResponse([found_paper(info) for info in found[:limit]])

    return answer


def _paper(hub: FakeHub) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        info = hub.papers.get(request.path_params["id"])
        return JSONResponse(info) if info else JSONResponse({"error": "Paper not found"}, 404)

    return answer


def _markdown(hub: FakeHub) -> Callable[[Request], Response]:
    """The paper as Markdown where there is a text, else its abstract page: the Hub does not tell which it sends."""

    def answer(request: Request) -> Response:
        id = request.path_params["id"]
        if id not in hub.papers:
            return PlainTextResponse("Not found", 404)
        info = hub.papers[id]
        text = hub.markdown.get(id) or f"# {info['title']}\n\n## Abstract\n\n{info['summary']}\n"
        return PlainTextResponse(text, media_type="text/markdown")

    return answer
