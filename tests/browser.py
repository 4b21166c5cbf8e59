"""Finds the browser of the journeys; `python -m tests.browser` installs one the way this platform offers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
HELP = "No Chromium was found and none could be installed. Install it (Debian: apt install chromium; macOS: brew install chromium)."


def find() -> str | None:
    """Path of a Chromium: the one named by CHROMIUM, one on the PATH, or playwright's own."""
    if named := os.environ.get("CHROMIUM"):
        return shutil.which(named)
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    return found or _playwrights_own()


def _playwrights_own() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = str(playwright.chromium.executable_path)
    return path if os.path.exists(path) else None


def install() -> None:
    """Try the platform's package manager (when this user may), then playwright's download."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], check=False, stdout=subprocess.DEVNULL)
    else:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False, timeout=300)


def main() -> int:
    if find() is None:
        try:
            install()
        except (OSError, subprocess.TimeoutExpired) as error:
            print(error, file=sys.stderr)
    if find() is None:
        print(HELP, file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
