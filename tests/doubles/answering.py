"""A server that gives each path one answer: what model servers on one's own machine say of themselves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Any  # a JSON value; bytes for a body that is none; an int for a status; or a function of the posted form


class Answering:
    """Serves answers on 127.0.0.1 within a with block; whatever is not there is a 404.

    asked: (method, path, headers) of every request. location: where every request is sent on to.
    """

    def __init__(self, answers: Mapping[str, Answer], location: str = "") -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def _answer(self, form: Any) -> None:
                outer.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
                answer = answers.get(self.path, 404)
                answer = answer(form) if isinstance(answer, Callable) else answer  # type: ignore[arg-type]
                status = answer if isinstance(answer, int) else 302 if location else 200
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                with suppress(OSError):  # who asked may have gone
                    self.send_response(status)
                    if location:
                        self.send_header("location", location)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.base_url = f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Answering:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def models(*ids: str, **more: Any) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": id, "object": "model", "created": 1, **more} for id in ids]}


def ollama(loaded: Mapping[str, int], shown: Mapping[str, Mapping[str, Any]]) -> dict[str, Answer]:
    """loaded: window by model in memory. shown: what /api/show says, by model."""
    return {
        "/v1/models": models(*shown, owned_by="library"),
        "/api/version": {"version": "0.13.2"},
        "/api/ps": {"models": [{"name": id, "model": id, "context_length": n} for id, n in loaded.items()]},
        "/api/show": lambda form: shown.get(form["model"], 404),
    }


LM_STUDIO: dict[str, Answer] = {
    "/v1/models": models("qwen3-4b", "gemma-4", "nomic-embed", owned_by="organization_owner"),
    "/api/v0/models": {
        "object": "list",
        "data": [
            {
                "id": "qwen3-4b",
                "object": "model",
                "type": "llm",
                "state": "loaded",
                "max_context_length": 262_144,
                "loaded_context_length": 32_768,
            },
            {
                "id": "gemma-4",
                "object": "model",
                "type": "vlm",
                "state": "not-loaded",
                "max_context_length": 131_072,
            },
            {"id": "nomic-embed", "object": "model", "type": "embeddings", "state": "loaded"},
        ],
    },
}
LLAMA_CPP: dict[str, Answer] = {
    "/v1/models": models("qwen.gguf", owned_by="llamacpp", meta={"n_ctx_train": 40_960}),
    "/props": {"default_generation_settings": {"n_ctx": 16_384}, "total_slots": 4},
}
VLLM: dict[str, Answer] = {"/v1/models": models("Qwen/Qwen3-8B", owned_by="vllm", max_model_len=40_960)}
