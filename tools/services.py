"""Where the outside services are: one base URL each, read from the environment once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from tools.problem import Problem

_VARIABLES = {
    "hf_endpoint": "HF_ENDPOINT",
    "arxiv_url": "ARXIV_URL",
    "dataset_viewer_url": "DATASET_VIEWER_URL",
    "semantic_scholar_url": "SEMANTIC_SCHOLAR_URL",
    "github_api_url": "GITHUB_API_URL",
    "router_url": "HF_ROUTER_URL",
}


@dataclass(frozen=True)
class Places:
    """Base URLs without a trailing slash. arXiv's sister hosts follow arxiv_url when that is not arxiv.org."""

    hf_endpoint: str = "https://huggingface.co"
    arxiv_url: str = "https://arxiv.org"
    dataset_viewer_url: str = "https://datasets-server.huggingface.co"
    semantic_scholar_url: str = "https://api.semanticscholar.org"
    github_api_url: str = "https://api.github.com"
    router_url: str = "https://router.huggingface.co/v1"

    def __post_init__(self) -> None:
        for name, variable in _VARIABLES.items():
            url = getattr(self, name)
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise Problem(f"{variable} is {url!r}, which is no web address.", "Use a form like https://arxiv.org.")
            object.__setattr__(self, name, url.rstrip("/"))

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Places:
        """Read HF_ENDPOINT, ARXIV_URL and so on, as named in _VARIABLES; empty means unset."""
        return cls(**{name: environ[variable] for name, variable in _VARIABLES.items() if environ.get(variable)})

    @property
    def arxiv_api_url(self) -> str:
        """The Atom API's query address."""
        return f"{self._arxiv('https://export.arxiv.org', self.arxiv_url)}/api/query"

    @property
    def ar5iv_url(self) -> str:
        return self._arxiv("https://ar5iv.labs.arxiv.org", f"{self.arxiv_url}/ar5iv")

    def _arxiv(self, real: str, other: str) -> str:
        return real if urlsplit(self.arxiv_url).hostname == "arxiv.org" else other

    @property
    def origins(self) -> frozenset[tuple[str, str, int]]:
        """(scheme, host, port) of every place that may be asked without further checks."""
        urls = [getattr(self, name) for name in _VARIABLES] + [self.arxiv_api_url, self.ar5iv_url]
        return frozenset(origin(url) for url in urls)


def origin(url: str) -> tuple[str, str, int]:
    """(scheme, host, port) of a URL, the default port filled in. Raises ValueError for a port that is none."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
