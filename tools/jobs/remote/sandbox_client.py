"""huggingface_hub's Sandbox on an endpoint of our choice: a Job that serves commands and files.

Sandbox.create fixes the lifetime at a day, takes the endpoint from the environment and submits without a label that a
second try would find. So the job is submitted like any other here, with the library's own start command, and its
handle is put together from the same parts as Sandbox.connect does. These parts are private to the library: its version
is pinned, and tests drive them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import HfApi, Sandbox
from huggingface_hub._sandbox import (
    MODE_DEDICATED,
    MODE_LABEL,
    NONCE_LABEL,
    SANDBOX_LABEL,
    SANDBOX_SERVER_PORT,
    _bootstrap_job_spec,
    _derive_sandbox_token,
    _SandboxServer,
)
from huggingface_hub.errors import HfHubHTTPError, SandboxError

from tools.cards import Spend
from tools.jobs.place import Ran
from tools.jobs.remote.client import JobsHub, Submission
from tools.jobs.remote.launch import labels
from tools.problem import MachineEnded, Problem

IMAGE = "python:3.12"
SILENCE = httpx2.Timeout(
    60.0, connect=10.0, read=45.0
)  # of a server in it, which gives a sign of life every ten seconds
KEPT = 100_000  # characters of each stream of a command, its end
READ = 200_000  # bytes of a file that is read as text


def submission(hub: JobsHub, label: str, spec: Spend) -> Submission:
    """The job that serves. Raises Problem without a token: the sandbox is opened with a key made from it."""
    if not hub.token:
        raise Problem("Nobody is signed in.", "Sign in with Hugging Face, or set HF_TOKEN.")
    nonce = token_hex(16)
    command, env, secrets, volumes = _bootstrap_job_spec(
        HfApi(hub.endpoint, token=hub.token),
        hub.token,
        env=dict(spec.env),
        secrets=None,
        volumes=None,
        idle_timeout=spec.idle_seconds,
        forward_hf_token=False,
        sandbox_token=_derive_sandbox_token(hub.token, nonce),
    )
    marks = {SANDBOX_LABEL: "1", MODE_LABEL: MODE_DEDICATED, NONCE_LABEL: nonce}
    return Submission(
        namespace=spec.namespace,
        image=spec.image or IMAGE,
        command=command,
        env=env,
        secrets=secrets,
        flavor=spec.flavor,
        timeout_seconds=spec.timeout_seconds,
        labels={**labels(label, spec), **marks},
        volumes=[_as_arguments(volume) for volume in volumes],
        expose=SANDBOX_SERVER_PORT,
    )


@dataclass(frozen=True)
class HubSandbox:
    """A running sandbox. Its user is root in there, and nothing of this machine is in reach."""

    hub: JobsHub
    namespace: str
    job: str

    def ready(self) -> bool:
        """Whether it answers. Raises MachineEnded when it never will."""
        facts = self.hub.inspect(self.namespace, self.job)
        if facts.over:
            raise MachineEnded(f"Sandbox {self.job} has ended: {facts.message or facts.stage}.", "Start another.")
        if facts.stage != "RUNNING" or not facts.expose_url:
            return False
        with self._open() as sandbox, contextlib.suppress(SandboxError, httpx2.HTTPError):
            sandbox._server.request("GET", "/health", timeout=httpx2.Timeout(5.0))
            return True
        return False

    def run(self, command: str, seconds: float, going: Callable[[], None]) -> Ran:
        """Run a shell command for at most so long. going is called with each piece of output; it may raise."""
        out, err = _Tail(going), _Tail(going)
        with self._open() as sandbox:
            done = self._spoken(
                lambda: sandbox.run(
                    command, timeout=seconds, on_stdout=out, on_stderr=err, check=False, capture_output=False
                )
            )
        return Ran(done.exit_code, out.text, err.text, bool(done.timed_out), out.cut or err.cut)

    def read(self, path: str) -> str:
        with self._open() as sandbox:
            size = self._spoken(lambda: sandbox.files.stat(path)).size
            if size > READ:
                raise Problem(
                    f"{path} has {size:,} bytes.", f"At most {READ:,} can be read; look at it with a command."
                )
            data: bytes = self._spoken(lambda: sandbox.files.read(path))
        return data.decode("utf-8", "replace")

    def write(self, path: str, text: str) -> None:
        with self._open() as sandbox:
            self._spoken(lambda: sandbox.files.write(path, text))

    def list(self, path: str) -> list[tuple[str, str, int]]:
        """(name, "file", "dir" or "symlink", bytes)."""
        with self._open() as sandbox:
            return [(one.name, one.type, one.size) for one in self._spoken(lambda: sandbox.files.list(path))]

    def fetch(self, path: str, to: Path, most: int) -> int:
        """Copy a file here, whole or not at all; returns its size."""
        with self._open() as sandbox:
            size = int(self._spoken(lambda: sandbox.files.stat(path)).size)
            if size > most:
                raise Problem(f"{path} has {size:,} bytes.", f"At most {most:,} are fetched.")
            to.parent.mkdir(parents=True, exist_ok=True)
            self._spoken(lambda: sandbox.files.download(path, to))
        return size

    def connect(self) -> SandboxConnection:
        """For who talks with a server in it all the time. When it is ready."""
        return SandboxConnection(self)

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        api = HfApi(self.hub.endpoint, token=self.hub.token or False)
        job = self._spoken(lambda: api.inspect_job(job_id=self.job, namespace=self.namespace))
        nonce = (job.labels or {}).get(NONCE_LABEL)
        url = next(iter(job.status.expose_urls or []), "")
        host = urlsplit(url).hostname or ""
        ours = url.startswith("https://") and host.startswith(f"{self.job}--{SANDBOX_SERVER_PORT}.")
        if nonce is None or not (ours or url.startswith(f"{self.hub.endpoint}/")):
            raise Problem(
                f"Job {self.job} is no sandbox that can be reached now.", "Wait for its start, or start another."
            )
        token = _derive_sandbox_token(self.hub.token, nonce)
        server = self._spoken(lambda: _SandboxServer.from_job(job=job, nonce=nonce, sandbox_token=token, api=api))
        sandbox = Sandbox(id=self.job, server=server, local_id=None, owns_sandbox=False, owns_server=True)
        try:
            yield sandbox
        finally:
            sandbox.close()

    def _spoken(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except SandboxError as error:
            said = " ".join(str(error).split())[:300]
            raise Problem(f"Sandbox {self.job}: {said}", "Check the path and the command.") from None
        except HfHubHTTPError as error:
            raise self.hub.in_words(f"sandbox {self.job}", error) from None
        except (httpx2.HTTPError, httpx2.StreamError):
            raise Problem(f"Sandbox {self.job} does not answer.", "See job_status; it may have ended.") from None
        except (ValueError, KeyError, TypeError, AttributeError, UnicodeError):
            raise Problem(f"Sandbox {self.job} answers what makes no sense.", "Start another.") from None


class SandboxConnection:
    """A connection that stays open. Every method raises Problem."""

    def __init__(self, sandbox: HubSandbox) -> None:
        self._sandbox, self._opened = sandbox, contextlib.ExitStack()
        self._there = self._opened.enter_context(sandbox._open())
        self._scheme = f"{self._there._server.base_url.partition('://')[0]}://"
        self._client = self._opened.enter_context(
            httpx2.Client(timeout=SILENCE, follow_redirects=False, trust_env=False)
        )

    def put(self, path: str, data: bytes) -> None:
        self._sandbox._spoken(lambda: self._there.files.write(path, data))

    def begin(self, command: str) -> None:
        """Start a shell command and let it run. While it does, the sandbox is not idle."""
        self._sandbox._spoken(lambda: self._there.run(command, background=True))

    @contextlib.contextmanager
    def get(self, port: int, path: str) -> Iterator[Iterator[bytes]]:
        """What a server on that port of its loopback interface answers, as it comes."""
        try:
            with self._client.stream("GET", self._url(port, path), headers=self._there.proxy_headers) as response:
                if response.status_code != 200:
                    raise _unfit(response)
                yield self._pieces(response)
        except (httpx2.HTTPError, httpx2.StreamError, RuntimeError):  # the last: it has been closed
            raise _unreachable() from None

    def post(self, port: int, path: str, data: bytes) -> bytes:
        try:
            response = self._client.post(self._url(port, path), content=data, headers=self._there.proxy_headers)
        except (httpx2.HTTPError, RuntimeError):
            raise _unreachable() from None
        if response.status_code != 200:
            raise _unfit(response)
        return bytes(response.content)

    def close(self) -> None:
        self._opened.close()

    def _url(self, port: int, path: str) -> str:
        url: str = self._there.proxy_url_for(port, path, scheme=self._scheme)
        return url

    @staticmethod
    def _pieces(response: httpx2.Response) -> Iterator[bytes]:
        try:
            yield from response.iter_bytes()
        except (httpx2.HTTPError, httpx2.StreamError):
            raise _unreachable() from None


def _unfit(response: httpx2.Response) -> Problem:
    return Problem(f"The rented machine answered {response.status_code}.", "Try again in a minute.")


def _unreachable() -> Problem:
    return Problem("The rented machine cannot be reached.", "Try again in a minute; what was saved is kept.")


class _Tail:
    """The end of what a stream said."""

    def __init__(self, going: Callable[[], None]) -> None:
        self._going = going
        self.text, self.cut = "", False

    def __call__(self, piece: str) -> None:
        self._going()
        self.text += piece
        if len(self.text) > 2 * KEPT:
            self.text, self.cut = self.text[-KEPT:], True


def _as_arguments(volume: Any) -> dict[str, Any]:
    told = {"type": volume.type, "source": volume.source, "mount_path": volume.mount_path}
    return told | {"read_only": volume.read_only, "path": volume.path}
