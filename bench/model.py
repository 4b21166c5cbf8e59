"""The scripted model server as a process of its own, which tells on request when it sent each token."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict

from bench.task import Task, task_in
from tests.doubles.model_server import Asked, ModelServer, Reply


class Model:
    """The process, within a with block."""

    def __enter__(self) -> Model:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.model"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.base_url = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def sent(self, task: Task) -> list[list[float]]:
        """When the tokens of each step were sent: a list per step, time.monotonic()."""
        assert self._process.stdin
        self._process.stdin.write(task.label + "\n")
        self._process.stdin.flush()
        times: list[list[float]] = json.loads(self._read())
        return times

    def _read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the model server has ended")
        return line.strip()


def main() -> None:
    """Print the base URL; then, for each line with a task's label, the times of its tokens as one line of JSON."""
    asked: defaultdict[str, list[Asked]] = defaultdict(list)

    def next_step(request: Asked) -> Reply:
        task = task_in(request.user_texts)
        asked[task.label].append(request)
        return Reply(tokens=task.reply(len(asked[task.label]) - 1), delay=task.delay)

    with ModelServer(next_step) as server:
        print(server.base_url, flush=True)
        for line in sys.stdin:
            print(json.dumps([request.sent_at for request in asked.pop(line.strip(), [])]), flush=True)


if __name__ == "__main__":
    main()
