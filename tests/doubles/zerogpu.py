"""ZeroGPU without its GPU: the device service that spaces asks, as a real server, and a program that is a Space there.

spaces schedules, forks, pickles, queues and releases as on the Space; only moving weights to a GPU is left out, which
it leaves out by itself where it finds no torch. python -m tests.doubles.zerogpu FOLDER FOLDER: what happened, as JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

IDLE = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": "allowed"}


class DeviceService(ThreadingHTTPServer):
    """Grants the one GPU, or says that the quota is used up. Keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.quota_left = True
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def all_of(self, path: str) -> list[dict[str, str]]:
        return [query for asked, query in self.asked if asked == path]


class _Answers(BaseHTTPRequestHandler):
    server: DeviceService

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        self.server.asked.append((url.path, {name: values[0] for name, values in parse_qs(url.query).items()}))
        granted = url.path != "/schedule" or self.server.quota_left
        body = json.dumps(IDLE if granted else {"left": 7, "wait": 3600}).encode()
        self.send_response(200 if granted else 429)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


def main(finite: str, endless: str) -> dict[str, Any]:
    service = DeviceService()
    os.environ |= {
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{service.server_port}",
        "OMP_NUM_THREADS": "1",
    }
    sys.modules["torch"] = None  # type: ignore[assignment]  # spaces looks for it once, at its import
    import spaces.zero.wrappers

    del sys.modules["torch"]
    assert spaces.zero.wrappers.torch.size() == 0

    from gradio import Request
    from gradio.context import LocalContext
    from starlette.datastructures import Headers

    from agent.models import embedded, weights
    from agent.models.deltas import Cancel, Done, Text
    from tools.problem import Problem, Stopped

    for folder in (finite, endless):
        weights.load(folder, "cpu")
    forwards = multiprocessing.get_context("fork").Value("q", 0)  # counted in the forks, too

    def count(*_: Any) -> None:
        with forwards.get_lock():
            forwards.value += 1

    for folder in (finite, endless):
        weights.load(folder).model.register_forward_hook(count)
    hi = [{"role": "user", "content": "Hi"}]

    def ask(folder: str, *stop_words: str, limit: int | None = None) -> dict[str, Any]:
        deltas = list(embedded.EmbeddedModel(folder, limit=limit).stream(hi, stop_words=stop_words, cancel=Cancel()))
        done = deltas[-1]
        assert isinstance(done, Done)
        said = "".join(delta.text for delta in deltas if isinstance(delta, Text))
        return {"said": said, "finish": done.finish_reason, "tokens": done.usage.output_tokens}

    def problem(folder: str) -> str:
        try:
            ask(folder)
        except Problem as found:
            return str(found)
        return "no problem"

    def quiet() -> None:
        for thread in threading.enumerate():
            if thread.name.startswith("embedded"):
                thread.join()

    happened: dict[str, Any] = {"device": getattr(embedded.offer({"EMBEDDED_MODEL": finite}), "device", "")}
    visitor = Request(username=None)
    visitor.__dict__["headers"] = Headers({"x-ip-token": "of.the.visitor"})
    LocalContext.request.set(visitor)
    happened["whole"] = ask(finite)
    LocalContext.request.set(None)
    happened["cut"] = ask(finite, "</x>")
    happened["here"] = weights.load(finite).model.device.type

    before, cancel = forwards.value, Cancel()
    stream = embedded.EmbeddedModel(endless, limit=30_000, seconds=600.0).stream(hi, cancel=cancel)
    next(delta for delta in stream if isinstance(delta, Text))
    cancel.set()
    try:
        list(stream)
    except Stopped:
        happened["stopped"] = True
    quiet()
    happened["stopped_after"] = forwards.value - before
    happened["after_stop"] = ask(finite)
    quiet()
    happened["workers"] = len(service.all_of("/allow"))  # a worker that is used again does not ask again

    stream = embedded.EmbeddedModel(endless, limit=30_000, seconds=600.0).stream(hi, cancel=Cancel())
    next(delta for delta in stream if isinstance(delta, Text))
    os.kill(int(service.all_of("/allow")[-1]["pid"]), signal.SIGKILL)  # what ZeroGPU does with who overstays
    try:
        list(stream)
    except Problem as found:
        happened["aborted"] = str(found)
    quiet()
    happened["after_abort"] = ask(finite)
    service.quota_left = False
    happened["no_quota"] = problem(finite)
    happened["scheduled"] = service.all_of("/schedule")
    happened["released"] = len(service.all_of("/release"))
    return happened


if __name__ == "__main__":
    try:
        print("\nHAPPENED " + json.dumps(main(*sys.argv[1:])))
    finally:
        for worker in multiprocessing.active_children():
            worker.kill()
