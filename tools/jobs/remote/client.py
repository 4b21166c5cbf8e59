"""The Hub with the power to spend: HF Jobs as one user starts, watches and cancels them.

Like tools.hub.hub, through huggingface_hub's session, headers and error types. What is read is read as it was sent: the
library's JobInfo drops the reason of a cancellation, and its log drops the time stamps that tell a line from its echo.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import httpx2
from huggingface_hub import HfApi, Volume, get_session
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import hf_raise_for_status

from tools.hub.hub import Hub, problem_of
from tools.hub.values import moment
from tools.jobs.checks import OUTPUTS, TRACKED
from tools.problem import MaybeStarted, NotThere, Problem

TERMINAL = frozenset({"COMPLETED", "CANCELED", "ERROR", "DELETED"})
LINE = 64 * 1024  # bytes of one event; the rest of a longer one is dropped
LISTED_PAGES = 10

_JOB_ID = re.compile(r"[\w-]{1,64}")

NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)


@dataclass(frozen=True)
class JobFacts:
    """A job as the Hub tells it. All times are the Hub's own; told: when it said this. None: it did not say."""

    id: str
    stage: str
    message: str
    cancel_reason: str
    labels: Mapping[str, str]
    secrets: tuple[str, ...]
    timeout: float | None  # seconds
    created: float | None
    started: float | None
    finished: float | None
    running_seconds: float | None
    told: float | None
    flavor: str
    outputs: str = ""  # the bucket's folder that it may write to
    tracked: str = ""  # the bucket that it leaves its measurements in
    expose_url: str = ""

    @property
    def over(self) -> bool:
        return self.stage in TERMINAL


@dataclass(frozen=True)
class Submission:
    """All that the Hub is told of a job. secrets: values by name; they are nowhere else."""

    namespace: str
    image: str
    command: Sequence[str]
    env: Mapping[str, str]
    secrets: Mapping[str, str]
    flavor: str
    timeout_seconds: int
    labels: Mapping[str, str]
    volumes: Sequence[Mapping[str, Any]] = ()  # as huggingface_hub.Volume takes them
    network_group: str = ""
    network_alias: str = ""
    expose: int = 0

    def __repr__(self) -> str:
        return f"Submission({self.namespace!r}, {self.flavor!r}, {dict(self.labels)!r})"


class JobsHub(Hub):
    """Made for a JobPlace, which starts nothing without the user's word."""

    def __init__(self, token: str = "", endpoint: str = "https://huggingface.co", instead: str = "") -> None:
        """instead: what to do when an account may not run jobs, for the hint: 'run it with where="here"'."""
        super().__init__(token, endpoint)
        self._instead = instead

    @property
    def token(self) -> str:
        return self._token

    def payers(self) -> tuple[str, ...]:
        """The user, then the organisations, in whose name jobs may be asked for. Raises Problem when nobody is signed in."""
        self.whoami()
        said = self._json("your account", "/api/whoami-v2")
        orgs = said.get("orgs") if isinstance(said.get("orgs"), list) else []
        names = [said["name"], *(org.get("name") for org in orgs if isinstance(org, dict))]
        return tuple(name for name in names if isinstance(name, str) and name)

    def submit(self, what: Submission) -> str:
        """Start a job; returns its id. Raises MaybeStarted when the answer was lost, another Problem when it was no."""
        named = f"a job in the namespace {what.namespace!r}"
        try:
            job = self.api().run_job(**arguments(what))
        except HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if status == 408 or status >= 500:
                raise MaybeStarted(
                    f"The Hub has trouble (status {status}); whether the job was started is not known."
                ) from None
            raise self.in_words(named, error) from None
        except NEVER_SENT:
            raise Problem(f"{self.endpoint} cannot be reached.", "Check the network, then try again.") from None
        except (httpx2.HTTPError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise MaybeStarted("The Hub's answer was lost; whether the job was started is not known.") from None
        if not _JOB_ID.fullmatch(str(job.id)):
            raise MaybeStarted("The Hub's answer makes no sense; whether the job was started is not known.")
        return job.id

    def inspect(self, namespace: str, job: str) -> JobFacts:
        """Raises NotThere for a job that the Hub does not know, or does not show with this token."""
        found, told = self._asked(f"job {job}", f"/api/jobs/{quote(namespace)}/{quote(job, safe='')}")
        facts = _facts(found, told)
        if facts is None:
            raise Problem(f"The Hub's answer about job {job} makes no sense.", "Try again in a minute.")
        return facts

    def labelled(self, namespace: str, label: str, value: str) -> list[JobFacts]:
        """All jobs of the namespace that carry the label, whatever their stage."""
        url: str | None = f"/api/jobs/{quote(namespace)}?label={quote(f'{label}={value}', safe='')}"
        found: list[JobFacts] = []
        for _ in range(LISTED_PAGES):
            page, told, url = self._page(f"the jobs of {namespace!r}", url)
            facts = (_facts(item, told) for item in page)
            found += [job for job in facts if job and job.labels.get(label) == value]
            if url is None:
                return found
        raise Problem(f"{namespace!r} has too many jobs to look through.", "Delete old ones, then try again.")

    def now(self, namespace: str) -> float | None:
        """Unix time by the Hub's clock; None if it does not say."""
        return self._page(f"the jobs of {namespace!r}", f"/api/jobs/{quote(namespace)}")[1]

    def visible(self, namespace: str) -> bool:
        """Whether this token sees the namespace's jobs at all. Raises Problem."""
        self._page(f"the jobs of {namespace!r}", f"/api/jobs/{quote(namespace)}")
        return True

    def cancel(self, namespace: str, job: str) -> None:
        api = self.api()
        self.spelled(f"job {job}", lambda: api.cancel_job(job_id=job, namespace=namespace))

    def make_bucket(self, bucket: str) -> None:
        """A private bucket of that name, unless it is there."""
        api = self.api()

        def made() -> None:
            with contextlib.suppress(KeyError):  # of an address, which the library expects where one is there already
                api.create_bucket(bucket, private=True, exist_ok=True)

        self.spelled(f"bucket {bucket!r}", made)

    def log(
        self, namespace: str, job: str, silence: float, *, stop: threading.Event
    ) -> Iterator[tuple[str, str] | None]:
        """Lines as (time stamp, text) from the first on, then as they come; None now and then: nothing new.

        Ends when the Hub ends the stream, which is not the end of the job. Raises Problem when it broke off, or was
        silent for so many seconds: not even the sign of life came that the Hub sends every 30 seconds.
        """
        for event in self._events(namespace, job, "logs", silence=silence, stop=stop):
            if event is None:
                yield None
                continue
            text = event.get("data")
            if isinstance(text, str) and not text.startswith("===== Job started"):
                yield str(event.get("timestamp") or ""), text

    def metrics(self, namespace: str, job: str, stop: threading.Event) -> Mapping[str, Any] | None:
        """One sample of what a running job uses now; None when it runs no more or said nothing for 10 seconds."""
        try:
            for event in self._events(namespace, job, "metrics", silence=10.0, stop=stop):
                if event is not None:
                    return event
        except NotThere:
            raise
        except Problem:
            return None
        return None

    def _events(
        self, namespace: str, job: str, route: str, *, silence: float, stop: threading.Event
    ) -> Iterator[Mapping[str, Any] | None]:
        url = f"{self.endpoint}/api/jobs/{quote(namespace)}/{quote(job, safe='')}/{route}"
        timeout = httpx2.Timeout(10.0, read=silence)
        headers = build_hf_headers(token=self._token or False)
        what = f"the {route} of job {job}"
        try:
            with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
                if response.status_code != 200:
                    response.read()
                    hf_raise_for_status(response)
                for line in _lines(response):
                    if stop.is_set():
                        return
                    yield _event(line)
        except HfHubHTTPError as error:
            raise self.in_words(what, error) from None
        except httpx2.TimeoutException:
            raise Problem(f"{what} has been silent for {silence:.0f} s.", "It is asked for again.") from None
        except (httpx2.HTTPError, httpx2.StreamError):
            raise Problem(f"{what} broke off.", "It is asked for again.") from None

    def _asked(self, what: str, path: str) -> tuple[Any, float | None]:
        """The JSON answer, and when the Hub says it gave it."""
        url = path if path.startswith(("http://", "https://")) else f"{self.endpoint}{path}"
        response = self.spelled(what, lambda: self._answered(url))
        try:
            return response.json(), _date(response)
        except (ValueError, RecursionError):
            raise Problem(f"The Hub's answer about {what} makes no sense.", "Try again in a minute.") from None

    def _answered(self, url: str) -> httpx2.Response:
        response = get_session().get(url, headers=build_hf_headers(token=self._token or False))
        hf_raise_for_status(response)
        return response

    def _page(self, what: str, url: str | None) -> tuple[list[Any], float | None, str | None]:
        full = url or ""
        full = full if full.startswith(("http://", "https://")) else f"{self.endpoint}{full}"
        if not full.startswith(f"{self.endpoint}/"):
            raise Problem(f"The Hub's answer about {what} leads elsewhere.", "Try again in a minute.")
        response = self.spelled(what, lambda: self._answered(full))
        try:
            page = response.json()
        except (ValueError, RecursionError):
            page = None
        if not isinstance(page, list):
            raise Problem(f"The Hub's answer about {what} makes no sense.", "Try again in a minute.")
        return page, _date(response), response.links.get("next", {}).get("url")

    def spelled(self, what: str, work: Any) -> Any:
        try:
            return self._call(what, lambda: self._worked(what, work))
        except (
            AttributeError,
            TypeError,
            KeyError,
            ValueError,
            RecursionError,
        ):  # what the library makes of an answer of another shape
            raise Problem(f"The Hub's answer about {what} makes no sense.", "Try again in a minute.") from None

    def _worked(self, what: str, work: Any) -> Any:
        try:
            return work()
        except HfHubHTTPError as error:
            raise self.in_words(what, error) from None

    def in_words(self, what: str, error: HfHubHTTPError) -> Problem:
        """By status: what the account lacks, and what would work instead. Nothing is switched by itself."""
        status = error.response.status_code if error.response is not None else 0
        said = " ".join((error.server_message or "").split())[:300].rstrip(".") or "it gives no reason"
        instead = f", or {self._instead}" if self._instead else ""
        match status:
            case 402:
                return Problem(
                    f"The Hub wants credits for {what}: {said}.",
                    f"Add credits at {self.endpoint}/settings/billing, let another namespace pay{instead}.",
                )
            case 403:
                return Problem(
                    f"Your token may not do this with {what}: {said}.",
                    "Sign in with the right to start and manage Jobs (scope jobs, or job.write of a fine-grained "
                    f"token), let another namespace pay{instead}.",
                )
        return problem_of(what, error, signed_in=bool(self._token))

    def api(self) -> HfApi:
        return HfApi(self.endpoint, token=self._token or False)


def arguments(what: Submission) -> dict[str, Any]:
    network = {"network_group": what.network_group, "network_aliases": [what.network_alias]}
    return {
        "image": what.image,
        "command": list(what.command),
        "env": dict(what.env),
        "secrets": dict(what.secrets) or None,
        "flavor": what.flavor,
        "timeout": what.timeout_seconds,
        "labels": dict(what.labels),
        "volumes": [Volume(**volume) for volume in what.volumes] or None,
        "expose": [what.expose] if what.expose else None,
        "namespace": what.namespace,
        **(network if what.network_group else {}),
    }


def _facts(item: Any, told: float | None) -> JobFacts | None:
    """None for what is no job. An odd field is as good as none; an unknown stage is taken as told."""
    item = item if isinstance(item, dict) else {}
    status = item.get("status")
    if not isinstance(item.get("id"), str) or not isinstance(status, dict) or not isinstance(status.get("stage"), str):
        return None
    durations = item.get("durations")
    labels = item.get("labels")
    secrets = item.get("secrets")
    urls = status.get("exposeUrls")
    return JobFacts(
        id=item["id"],
        stage=status["stage"],
        message=_text(status.get("message")),
        cancel_reason=_text(status.get("cancelReason")),
        labels={str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else {},
        secrets=tuple(str(name) for name in secrets) if isinstance(secrets, list | dict) else (),
        timeout=_seconds(item.get("timeout")),
        created=moment(item.get("createdAt")),
        started=moment(item.get("startedAt")),
        finished=moment(item.get("finishedAt")),
        running_seconds=_seconds(durations.get("runningSecs")) if isinstance(durations, dict) else None,
        told=told,
        flavor=_text(item.get("flavor")),
        outputs=_outputs(item.get("volumes")),
        tracked=_bucket_at(TRACKED, item.get("volumes")).get("source") or "",
        expose_url=str(urls[0]) if isinstance(urls, list) and urls else "",
    )


def _outputs(volumes: Any) -> str:
    volume = _bucket_at(OUTPUTS, volumes)
    return f"hf://buckets/{volume.get('source')}/{volume.get('path') or ''}" if volume else ""


def _bucket_at(path: str, volumes: Any) -> Mapping[str, Any]:
    for volume in volumes if isinstance(volumes, list) else ():
        if isinstance(volume, dict) and volume.get("mountPath") == path and volume.get("type") == "bucket":
            return volume
    return {}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    return " ".join(value.encode("utf-8", "replace").decode().split())[:500]  # half a surrogate pair cannot be kept


def _seconds(value: Any) -> float | None:
    ok = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return float(value) if ok else None


def _date(response: httpx2.Response) -> float | None:
    try:
        return parsedate_to_datetime(response.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return None


def _lines(response: httpx2.Response) -> Iterator[bytes]:
    """Lines of a stream, none of them longer than LINE; b"" at least every quarter of a second while data comes."""
    kept, too_long, yielded = bytearray(), False, time.monotonic()
    for chunk in response.iter_raw() if not response.headers.get("content-encoding") else response.iter_bytes():
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            kept += piece[: LINE - len(kept)]
            yield b"" if too_long else bytes(kept).rstrip(b"\r")
            kept.clear()
            too_long = False
        too_long = too_long or len(kept) + len(rest) > LINE
        kept += rest[: LINE - len(kept)]
        if not whole and time.monotonic() - yielded > 0.25:
            yield b""
        yielded = time.monotonic()


def _event(line: bytes) -> Mapping[str, Any] | None:
    if not line.startswith(b"data:"):
        return None
    try:
        event = json.loads(line[5:])
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None
