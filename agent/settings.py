"""What the environment says, read once. Secrets are held here and never shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from platformdirs import user_data_path

from tools.problem import Problem
from tools.web import Places

ROUTER_URL = Places.router_url
JOB_SECRET = "JOB_SECRET_"  # noqa: S105  # begins the names of environment variables whose values jobs may get
DEFAULT_MODEL = "zai-org/GLM-5.3-Flash"


Approve = Literal["ask", "none", "within-budget"]
"""ask: a person answers. none: nobody is there, all is refused. within-budget: spending that fits is allowed unasked."""


@dataclass(frozen=True)
class Settings:
    data_dir: Path
    places: Places = field(default_factory=Places)
    model_id: str = ""
    model_base_url: str = ""  # "": the Hugging Face router, with the user's token
    model_api_key: str = field(default="", repr=False)
    hf_token: str = field(default="", repr=False)
    bill_to: str = ""
    on_space: bool = False
    budget_micro_usd: int | None = None  # for compute and thinking together; None: the limit of each
    thinking_micro_usd: int | None = None  # a session's limit for model calls; None: the usual one
    approve: Approve = "ask"
    max_steps: int = 60
    port: int = 7860
    webhook_url: str = field(default="", repr=False)  # Slack-compatible; it may be a secret
    page_url: str = ""  # where notices send people
    job_secrets: Mapping[str, str] = field(default_factory=dict, repr=False)  # by name; a card says which a job gets
    # Whether visitors without a token of their own may think with hf_token, and for how much.
    allow_owner_token: bool = False
    owner_cap_per_visitor: int = 100_000  # micro-dollars per visitor and UTC day
    owner_cap_per_day: int = 2_000_000  # micro-dollars per UTC day, all visitors together

    def __post_init__(self) -> None:
        # One server has one address: its key goes by it.
        object.__setattr__(self, "model_base_url", self.model_base_url.strip().rstrip("/"))

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        on_space = "SPACE_ID" in environ
        return cls(
            data_dir=_data_dir(environ, on_space),
            places=Places.from_environ(environ),
            model_id=environ.get("MODEL_ID", "").strip(),
            model_base_url=environ.get("MODEL_BASE_URL", "").strip(),
            model_api_key=environ.get("MODEL_API_KEY", "").strip(),
            hf_token=environ.get("HF_TOKEN", "").strip(),
            bill_to=environ.get("BILL_TO", "").strip(),
            on_space=on_space,
            budget_micro_usd=_amount(environ, "BUDGET"),
            thinking_micro_usd=_amount(environ, "THINKING_BUDGET"),
            max_steps=_positive(environ, "MAX_STEPS", 60),
            port=_positive(environ, "PORT", 7860),
            webhook_url=environ.get("WEBHOOK_URL", "").strip(),
            page_url=_page_url(environ),
            job_secrets={} if on_space else _job_secrets(environ),  # a Space's secrets are not its visitors'
            allow_owner_token=environ.get("ALLOW_OWNER_TOKEN", "").strip() == "1",
            owner_cap_per_visitor=micro_usd(environ.get("OWNER_CAP_PER_VISITOR") or "0.10"),
            owner_cap_per_day=micro_usd(environ.get("OWNER_CAP_PER_DAY") or "2"),
        )


def micro_usd(dollars: str) -> int:
    """Whole micro-dollars of an amount such as "3" or "$0.50"."""
    try:
        value = float(dollars.strip().removeprefix("$") or "0")
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100_000:
        raise Problem(f"{dollars!r} is no amount of dollars.", "Write it like 3 or 0.50.")
    return round(value * 1_000_000)


def _job_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(JOB_SECRET): value for name, value in environ.items() if name.startswith(JOB_SECRET)}


def _page_url(environ: Mapping[str, str]) -> str:
    if host := environ.get("SPACE_HOST"):
        return f"https://{host}/"
    return f"http://127.0.0.1:{environ.get('PORT') or 7860}/"


def _amount(environ: Mapping[str, str], name: str) -> int | None:
    return micro_usd(environ[name]) if environ.get(name) else None


def _data_dir(environ: Mapping[str, str], on_space: bool) -> Path:
    if named := environ.get("DATA_DIR"):
        return Path(named).expanduser().absolute()
    bucket = Path("/data")  # a Space's storage, where one is mounted
    if on_space and bucket.is_dir() and os.access(bucket, os.W_OK):
        return bucket / "ml-intern"
    return Path(user_data_path("ml-intern"))


def _positive(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "")
    if text and (not text.isdigit() or int(text) == 0):
        raise Problem(f"{name} is {text!r}.", "Set it to a whole number above 0.")
    return int(text) if text else default
