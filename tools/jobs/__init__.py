"""Jobs: run a script, with the user's word. Where it runs is a JobPlace; this is the tool."""

from __future__ import annotations

import ast
import re
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from tools.cards import FileMade, Spend
from tools.desk import Desk, Problem

SCRIPT = 400_000  # characters
MANY = 50  # dependencies, environment variables
VALUE = 4_096  # characters of an environment variable
LONGEST = 24 * 3600  # seconds
LOG_TAIL = 4_000  # characters

_TIME = re.compile(r"(?:(\d{1,2})h)?(?:(\d{1,4})m)?(?:(\d{1,5})s)?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SECRET = re.compile(  # what providers' keys look like; the names of providers are in the prefixes
    r"\b(?:hf_[A-Za-z0-9]{20,}|api_org_[A-Za-z0-9]{20,}|sk-[\w-]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
    r"|xox[abps]-[\w-]{10,}|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|eyJ[\w-]{10,}\.[\w-]{10,}\.)|-----BEGIN [A-Z ]*PRIVATE KEY"
)
_SECRET_NAME = re.compile(r"(?:^|_)(?:TOKEN|API_?KEY|SECRET|SECRET_KEY|ACCESS_KEY|PASSWORD|PASSWD)$", re.IGNORECASE)


def job_run(
    desk: Desk,
    script: str,
    title: str = "",
    timeout: str = "10m",
    dependencies: list[str] | None = None,
    env: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Run a Python script on this machine, after the user agreed, and wait for its end.

    It has the network, its own folder and its own packages. What it writes into its working folder is kept and shown.
    It gets no token and no input. Print measurements as lines like {'step': 10, 'loss': 0.5}: they become curves.

    Args:
        script: The whole script.
        title: What it does, in a few words, for the user who decides.
        timeout: The most it may take, installing included, such as "90s", "10m" or "1h30m"; at most 24 hours.
        dependencies: Packages it imports, as "transformers==5.2.0"; nothing but the standard library is there without.
        env: Environment variables. Never a token or a password.

    Returns: A dict: job (str), status ("completed", "failed", "cancelled", "timeout" or "lost"), message (str, why it
        was not completed), exit_code (int or None), seconds (float), log (str, its last 4,000 characters), files (list
        of paths), edited (bool: the user changed the script before agreeing, and the log is of the changed one).
    """
    _check_script(script)
    dependencies, env = dependencies or [], env or {}
    if len(dependencies) > MANY or len(env) > MANY:
        raise Problem("These are too many dependencies or variables.", f"Give at most {MANY} of each.")
    first_line = script.strip().splitlines()[0][:60]
    request = Spend(
        title=" ".join(title.split())[:120] or f"Run a script: {first_line}",
        where="here",
        script=script,
        dependencies=tuple(_requirement(text) for text in dependencies),
        env=dict(_variable(name, value) for name, value in env.items()),
        timeout_seconds=_seconds(timeout),
        price_micro_usd_per_hour=0,
    )
    contract = desk.approve(request)
    contract.submit()
    end = contract.wait()
    for path in end.files:
        file = desk.folder / path
        if file.is_file() and not file.is_symlink():
            desk.show(FileMade(path=path, bytes=file.stat().st_size, job=end.job))
    return {
        "job": end.job,
        "status": end.status,
        "message": end.message,
        "exit_code": end.exit_code,
        "seconds": round(end.seconds, 1),
        "log": end.log[-LOG_TAIL:],
        "files": list(end.files),
        "edited": contract.request.script != script,
    }


def _check_script(script: str) -> None:
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


def _seconds(timeout: str) -> int:
    """Seconds of "90", "90s", "10m", "2h" or "1h30m"."""
    text = timeout.strip().lower().replace(" ", "")
    match = _TIME.fullmatch(f"{text}s" if re.fullmatch(r"\d+", text) else text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + seconds
    if not 1 <= total <= LONGEST:
        raise Problem(
            f"The timeout cannot be {timeout[:40]!r}.", 'Write it as "90s", "10m" or "1h30m": 1 second to 24 hours.'
        )
    return total


def _requirement(text: str) -> str:
    try:
        return str(Requirement(text))
    except InvalidRequirement:
        raise Problem(
            f"{text[:80]!r} names no package.", 'Write each dependency as pip does: "torch" or "transformers==5.2.0".'
        ) from None


def _variable(name: str, value: str) -> tuple[str, str]:
    if not _ENV_NAME.fullmatch(name):
        raise Problem(f"{name[:80]!r} is no name of an environment variable.", "Use letters, digits and underscores.")
    if len(value) > VALUE or not value.isprintable():
        raise Problem(
            f"The value of {name} cannot be passed.", f"Use at most {VALUE:,} characters, without line breaks."
        )
    if _SECRET.search(value) or (value and _SECRET_NAME.search(name)):
        raise Problem(f"{name} looks like a token or a password.", "Leave it out: jobs here run without them.")
    return name, value
