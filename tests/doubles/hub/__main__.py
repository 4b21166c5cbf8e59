"""Run the fake Hub as a process: python -m tests.doubles.hub --port 9000. It prints the settings that lead to it."""

from __future__ import annotations

import argparse
import signal
import threading

from tests.doubles.hub.server import FakeHub


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.doubles.hub", description=__doc__)
    arguments.add_argument("--port", type=int, default=0, help="0: a free one")
    hub = FakeHub(arguments.parse_args().port)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    hub.start()
    for name, value in hub.environ().items():
        print(f"{name}={value}", flush=True)
    ended.wait()
    hub.stop()


if __name__ == "__main__":
    main()
