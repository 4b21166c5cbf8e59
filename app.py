"""ML Intern: reads the environment, opens the sessions, opens the page."""

from __future__ import annotations

import logging
import os
import sys

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000")  # else a pandas summary per queued event

from agent.models import embedded  # before anything that may load CUDA; it holds the function that ZeroGPU asks for
from agent.sandbox import levels
from agent.sessions import Sessions
from agent.settings import Settings
from tools.problem import Problem
from ui import page

log = logging.getLogger(__name__)


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "httpx2"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        levels.standing()  # before any login: what runs generated code is forked from a process that never saw a secret
        settings = Settings.from_environ()
        sessions = Sessions(settings)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2
    embedded.prepare()
    sessions.recover()
    try:
        page.launch(sessions, settings.port)
    except OSError:
        log.debug("launch failed", exc_info=True)
        print(f"Port {settings.port} is not free. Set PORT to another one.", file=sys.stderr)
        return 1
    finally:
        sessions.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
