"""What a job may be asked for: each value checked before anybody is asked. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from packaging.requirements import InvalidRequirement, Requirement

from tools.problem import Problem

SCRIPT = 400_000  # characters
MANY = 50  # dependencies, environment variables
VALUE = 4_096  # characters of an environment variable
LONGEST = 24 * 3600  # seconds
STEPS = 10**9

_TIME = re.compile(r"(?:(\d{1,2})h)?(?:(\d{1,4})m)?(?:(\d{1,5})s)?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_VOLUME = re.compile(r"(?:hf://)?(?:(models|datasets|spaces|buckets)/)?(\w[\w.-]*/\w[\w.-]*):(/[\w./-]{1,200})")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
OUTPUTS = "/outputs"
TRACKED = "/trackio/inbox"  # where a tracked job leaves its measurements
_SECRET = re.compile(  # what providers' keys look like; the names of providers are in the prefixes
    r"\b(?:hf_[A-Za-z0-9]{20,}|api_org_[A-Za-z0-9]{20,}|sk-[\w-]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
    r"|xox[abps]-[\w-]{10,}|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|eyJ[\w-]{10,}\.[\w-]{10,}\.)|-----BEGIN [A-Z ]*PRIVATE KEY"
)
_SECRET_NAME = re.compile(r"(?:^|_)(?:TOKEN|API_?KEY|SECRET|SECRET_KEY|ACCESS_KEY|PASSWORD|PASSWD)$", re.IGNORECASE)


def check_script(script: str) -> None:
    if not script.strip():
        raise Problem("The script is empty.", "Pass the whole Python script as text.")
    if len(script) > SCRIPT:
        raise Problem(
            f"The script has {len(script):,} characters.", f"At most {SCRIPT:,} are allowed; load data instead."
        )
    if _SECRET.search(script):
        raise Problem("The script contains what looks like a token.", "Take it out: jobs here run without tokens.")
    try:
        script.encode()
        ast.parse(script)
    except SyntaxError as error:
        shown = (error.text or "").strip()[:120]
        raise Problem(
            f"The script is no valid Python: line {error.lineno}: {error.msg}" + (f": {shown}" if shown else "."),
            "Correct it and try again.",
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise Problem(f"The script cannot be read as Python: {error}.", "Write it more plainly.") from None


def has_secret(text: str) -> bool:
    """Whether something in it looks like a token."""
    return _SECRET.search(text) is not None


def seconds(timeout: str) -> int:
    """Seconds of "90", "90s", "10m", "2h" or "1h30m"."""
    text = timeout.strip().lower().replace(" ", "")
    match = _TIME.fullmatch(f"{text}s" if re.fullmatch(r"\d+", text) else text)
    hours, minutes, rest = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + rest
    if not 1 <= total <= LONGEST:
        raise Problem(
            f"The timeout cannot be {timeout[:40]!r}.", 'Write it as "90s", "10m" or "1h30m": 1 second to 24 hours.'
        )
    return total


def steps(given: int, dry_run: str) -> int:
    """How many a script will make; 0 is not said."""
    if not 0 <= given <= STEPS or (dry_run and not given):
        raise Problem(
            f"A run of {given:,} steps cannot be foreseen.",
            f"Give steps: how many the real run will make, up to {STEPS:,}.",
        )
    return given


def requirement(text: str) -> str:
    try:
        return str(Requirement(text))
    except InvalidRequirement:
        raise Problem(
            f"{text[:80]!r} names no package.", 'Write each dependency as pip does: "torch" or "transformers==5.2.0".'
        ) from None


def variable(name: str, value: str) -> tuple[str, str]:
    if not _ENV_NAME.fullmatch(name):
        raise Problem(f"{name[:80]!r} is no name of an environment variable.", "Use letters, digits and underscores.")
    if len(value) > VALUE or not value.isprintable():
        raise Problem(
            f"The value of {name} cannot be passed.", f"Use at most {VALUE:,} characters, without line breaks."
        )
    if _SECRET.search(value) or (value and _SECRET_NAME.search(name)):
        raise Problem(f"{name} looks like a token or a password.", "Leave it out: jobs here run without them.")
    return name, value


def volume(text: str) -> tuple[str, str, str]:
    """(kind, repository, folder) of "datasets/ada/pets:/data"; without a kind it is a model."""
    match = _VOLUME.fullmatch(text.strip())
    if not match or ".." in match[3] or match[3].rstrip("/") in ("", "/tmp", OUTPUTS, "/trackio", TRACKED):  # noqa: S108
        raise Problem(
            f"{text[:120]!r} names no volume.", 'Write "datasets/ada/pets:/data" or "models/ada/bert:/model".'
        )
    return (match[1] or "models")[:-1], match[2], match[3]


def label(name: str, value: str) -> tuple[str, str]:
    """A label of the user's. Raises Problem for one that the Hub would refuse or that is this app's own."""
    own = name == "name" or name.startswith(("ml-intern", "hf-sandbox"))
    if own or not _LABEL.fullmatch(name) or not _LABEL.fullmatch(value):
        raise Problem(f"The label {name[:64]!r} cannot be set.", "Use letters, digits, dots and dashes: task=sft.")
    return name, value


def secret_names(names: Mapping[str, object] | list[str]) -> tuple[str, ...]:
    """Names only. Raises Problem for what is a value."""
    for name in names:
        if not _ENV_NAME.fullmatch(name) or _SECRET.search(name):
            raise Problem("secrets takes names, and one of these is none.", 'Write secrets=["WANDB_API_KEY"].')
    return tuple(dict.fromkeys(names))
