"""A project's dashboard on the Hub: a private Space that runs Trackio over a private bucket, made once and then found.

The Space gets no secret and no token: its bucket is mounted, and that is all it needs. It is asked for what it knows
with a signature that the Hub gives for this one Space; the user's token goes to the Hub alone.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx2
from huggingface_hub import CommitOperationAdd, Volume
from huggingface_hub.errors import HfHubHTTPError

from tools.jobs.remote.client import JobsHub
from tools.jobs.tracking import REQUIREMENT
from tools.problem import NotThere, Problem
from tools.services import origin

MARK = "ML_INTERN_PROJECT"  # the variable by which a Space is known as ours
TURNS = 8  # looks at a Space that is being made
ANSWER = 8_000_000  # bytes
SECONDS = 20.0  # for one answer of the Space, in all

_DATA = "/data"
_FILES = {
    "README.md": "---\ntitle: {project}\nemoji: 📈\ncolorFrom: yellow\ncolorTo: indigo\nsdk: gradio\napp_file: app.py\n"
    "tags:\n  - trackio\n---\n\nWhat the jobs of the project {project} measured. Made by ML Intern; private.\n",
    "requirements.txt": REQUIREMENT.replace("==", "[spaces]==") + "\n",
    "app.py": "import trackio\n\ntrackio.show()\n",
}


class Lacking(Problem):
    """It cannot be had, and to ask again would not change that."""


@dataclass(frozen=True)
class SpaceFacts:
    """mounted: whether the bucket is there; None: the Hub does not say."""

    private: bool
    sha: str
    files: frozenset[str]
    stage: str
    host: str
    mounted: bool | None


class DashboardHub(JobsHub):
    """Made for a JobPlace, for a dashboard that the user agreed to."""

    def keep_bucket(self, bucket: str) -> None:
        """A private bucket of that name with nothing in it but Trackio's; made if it is not there. Raises Problem."""
        what = f"bucket {bucket!r}"
        self.make_bucket(bucket)
        facts = self._json(what, f"/api/buckets/{quote(bucket)}")
        if not isinstance(facts, dict) or facts.get("private") is not True:
            raise _not_ours(f"There is a bucket {bucket!r}, and it is not private.")
        tree = self._json(what, f"/api/buckets/{quote(bucket)}/tree")
        if not isinstance(tree, list):
            raise Problem(f"The Hub's answer about {what} makes no sense.", "Try again in a minute.")
        names = {str(entry.get("path")).split("/")[0] for entry in tree if isinstance(entry, dict)}
        if names - {"trackio"}:
            raise _not_ours(f"There is a bucket {bucket!r} with other files in it.")

    def keep_space(self, space: str, project: str) -> None:
        """A private Space of that name over the bucket of that name; made if it is not there, finished if it is not whole.

        Whatever was cut off before is found half made and finished. Raises Lacking for what the account lacks or for a
        Space that is not ours, another Problem for what may go better later.
        """
        made = mounted = False
        for _ in range(TURNS):
            facts = self.look(space)
            if facts is None:
                made = self._create(space, project) or made
                continue
            variables = self._variables(space)
            if not facts.private or (not made and variables.get(MARK) != project):
                raise _not_ours(f"There is a Space {space!r} that is not this project's private dashboard.")
            if lacking := [name for name in _variables(project) if name not in variables]:
                api, name = self.api(), lacking[0]
                value = _variables(project)[name]
                self.spelled(f"Space {space!r}", lambda: api.add_space_variable(space, name, value))  # noqa: B023
            elif facts.mounted is False and not mounted:
                api, mounted = self.api(), True
                self.spelled(f"Space {space!r}", lambda: api.set_space_volumes(space, [_volume(space)]))  # noqa: B023
            elif not facts.files >= {"app.py", "requirements.txt"}:
                self._fill(space, project, facts.sha)
            else:
                return
        raise Problem(f"The Space {space!r} is not whole, whatever is done.", f"Look at {self.page(space)}.")

    def page(self, space: str) -> str:
        return f"{self.endpoint}/spaces/{space}"

    def look(self, space: str) -> SpaceFacts | None:
        """How it stands; None: it is not there."""
        try:
            told = self._json(f"Space {space!r}", f"/api/spaces/{quote(space)}")
        except NotThere:
            return None
        told = _object(told)
        runtime = _object(told.get("runtime"))
        volumes = runtime.get("volumes")
        there = [(one.get("source"), one.get("mountPath")) for one in _objects(volumes)]
        return SpaceFacts(
            private=told.get("private") is True,
            sha=str(told.get("sha") or ""),
            files=frozenset(str(one.get("rfilename")) for one in _objects(told.get("siblings"))),
            stage=str(runtime.get("stage") or ""),
            host=str(told.get("host") or ""),
            mounted=(space, _DATA) in there if isinstance(volumes, list) else None,
        )

    def signature(self, space: str) -> str:
        """What lets its holder read this one Space for a while. It must not be written anywhere."""
        told = self._json(f"the Space {space!r}", f"/api/spaces/{quote(space)}/jwt")
        token = told.get("token") if isinstance(told, dict) else None
        if not isinstance(token, str) or not re.fullmatch(r"[\w.~+/=-]{1,8192}", token):
            raise Problem("The Hub gave no signature for the dashboard.", "It is asked for again.")
        return token

    def ask(self, host: str, signature: str, function: str, **arguments: Any) -> Any:
        """What Trackio answers at that address. Raises Problem, which never holds the signature."""
        if not self._is_a_space(host):
            raise Lacking("The dashboard's address is none of Hugging Face's.", "Look at it on the Hub.")
        address = f"{host.rstrip('/')}/api/{function}?{urlencode({'__sign': signature})}"
        status, body = _posted(address, {"kwargs": arguments})
        if status != 200:
            raise Problem(f"The dashboard answered {status}.", "It is asked again.")
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict) or "data" not in told:
            raise Problem("The dashboard's answer makes no sense.", "It is asked again.")
        return told["data"]

    def _is_a_space(self, host: str) -> bool:
        """A host of Hugging Face's, or one beside the Hub where that is a double."""
        try:
            parts = urlsplit(host)
            beside = origin(host) == origin(self.endpoint)
        except ValueError:
            return False
        real = parts.scheme == "https" and re.fullmatch(r"[a-z0-9-]{1,63}\.hf\.space", parts.netloc) is not None
        return (real and parts.path in ("", "/")) or (beside and parts.scheme == "http")

    def _create(self, space: str, project: str) -> bool:
        """Whether it was made; False: somebody was faster, or it is there and not to be seen."""
        api = self.api()
        given = [{"key": name, "value": value} for name, value in _variables(project).items()]
        try:
            self.spelled(
                f"the Space {space!r}",
                lambda: api.create_repo(
                    space,
                    repo_type="space",
                    private=True,
                    space_sdk="gradio",
                    space_variables=given,
                    space_volumes=[_volume(space)],
                ),
            )
        except _Taken:
            return False
        return True

    def _fill(self, space: str, project: str, sha: str) -> None:
        """Its files, in one commit on what was seen of it; who was faster has written the same."""
        files = {name: text.replace("{project}", project).encode() for name, text in _FILES.items()}
        api = self.api()
        try:
            self.spelled(
                f"the Space {space!r}",
                lambda: api.create_commit(
                    space,
                    [CommitOperationAdd(name, content) for name, content in files.items()],
                    commit_message=f"A dashboard for {project}",
                    repo_type="space",
                    parent_commit=sha or None,
                ),
            )
        except _Taken:
            return

    def _variables(self, space: str) -> Mapping[str, str]:
        api = self.api()
        found = self.spelled(f"Space {space!r}", lambda: api.get_space_variables(space))
        return {name: variable.value for name, variable in found.items()}

    def in_words(self, what: str, error: HfHubHTTPError) -> Problem:
        status = error.response.status_code if error.response is not None else 0
        said = " ".join((error.server_message or "").split())[:300] or "it gives no reason"
        match status:
            case 402:
                hint = f"With one ({self.endpoint}/pricing) the project's next job gets it."
                return Lacking(f"The account has no plan or credits for {what}.", hint)
            case 403:
                hint = "It takes the right to create repositories and to manage those: scope manage-repos, or a token that writes."
                return Lacking(f"Your token may not make {what}: {said}.", hint)
            case 409 | 412:
                return _Taken(f"{what} was just changed by somebody else.", "It is looked at again.")
        return super().in_words(what, error)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


class _Taken(Problem):
    """Somebody was faster."""


def _not_ours(message: str) -> Lacking:
    return Lacking(f"{message} It was left alone.", "Name another project, or rename what is there.")


def _variables(project: str) -> dict[str, str]:
    return {MARK: project, "TRACKIO_DIR": f"{_DATA}/trackio"}


def _volume(space: str) -> Volume:
    return Volume(type="bucket", source=space, mount_path=_DATA)


def _posted(address: str, what: Mapping[str, Any]) -> tuple[int, bytes]:
    """One request past every client: none that logs addresses, follows redirects, or keeps cookies."""
    timeout = httpx2.Timeout(SECONDS, connect=10.0)
    request = httpx2.Request("POST", address, json=dict(what), extensions={"timeout": timeout.as_dict()})
    deadline, body = time.monotonic() + SECONDS, bytearray()
    try:
        with httpx2.HTTPTransport() as transport:
            response = transport.handle_request(request)
            response.request = request
            try:
                for chunk in response.iter_bytes(65_536):
                    body += chunk
                    if len(body) > ANSWER or time.monotonic() > deadline:
                        raise Problem("The dashboard's answer is too long.", "It is asked again.")
            finally:
                response.close()
    except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL):
        raise Problem("The dashboard did not answer.", "It is asked again.") from None
    return response.status_code, bytes(body)
