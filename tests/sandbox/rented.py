"""A session whose code runs in a rented machine, told by the real client of the Hub. Prints one line of JSON.

Runs in a process of its own, since huggingface_hub reads HF_ENDPOINT when it is imported. Reads from standard input
{"folder", "machine", "port", "do"}; see test_remote.py for what is done.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from agent.sandbox.host import Executor, StepResult, ToolCall, ToolStub
from agent.sandbox.remote import Consent
from tests.doubles.sandbox_server import TOKEN
from tools import machines
from tools.hub.hub import WritableHub
from tools.jobs.prices import Prices
from tools.problem import Problem, Refused, Stopped

CPU_BASIC = {"name": "cpu-basic", "unitCostMicroUSD": 10_000, "unitLabel": "hour"}
TOOLS = (ToolStub("add", "(a: int, b: int) -> int"), ToolStub("rows", "(n: int) -> list[int]"))


def main() -> None:
    order = json.loads(sys.stdin.read())
    folder = Path(order["folder"])
    asked: list[str] = []
    printed: list[str] = []

    def ask() -> Consent:
        spend = machines.proposal(Prices(lambda: [CPU_BASIC]), hours=1)
        asked.append(f"{spend.where} {spend.flavor} {spend.hold_micro_usd}")
        if order["do"] == "refuse":
            raise Refused("The user said no.")
        hub = WritableHub(TOKEN, os.environ["HF_ENDPOINT"])
        return Consent(
            order.get("seconds", 3600.0),
            lambda: machines.start(hub, spend, "session-1", order["machine"], order["port"], setup=""),
            order.get("quiet", 120.0),
        )

    def call(call: ToolCall) -> object:
        if call.name == "rows":
            return list(range(int(str(call.args[0]))))
        return sum(int(str(value)) for value in call.args)

    def run(source: str, stop_after: float | None = None) -> dict[str, object]:
        stop = threading.Event()
        timer = threading.Timer(stop_after or 0, stop.set)
        if stop_after is not None:
            timer.start()
        started = time.monotonic()
        try:
            result = code.run(source, stop)
        except Stopped:
            result = StepResult(output="", error="stopped")
        except Problem as problem:
            result = StepResult(output="", error=f"{type(problem).__name__}: {problem}")
        finally:
            timer.cancel()
        kept = {"output": result.output, "value": result.value, "error": result.error, "restarted": result.restarted}
        return kept | {"lost": [lost.name for lost in result.lost], "seconds": round(time.monotonic() - started, 2)}

    with Executor(folder, call, TOOLS, printed.append, level="remote", rent=ask) as code:
        steps = []
        for step in order["steps"]:
            match step:
                case {"sleep": seconds}:
                    time.sleep(seconds)
                case {"code": source, "stop_after": after}:
                    steps.append(run(source, after))
                case {"let_go": _}:
                    code.let_go()
                case {"upload": name, "text": text}:
                    (folder / "uploads" / name).write_text(text)
                case _:
                    steps.append(run(step))
        report = code.report()
        if order["do"] == "die":
            print(json.dumps({"steps": steps}), flush=True)
            os._exit(1)
    print(json.dumps({"steps": steps, "asked": asked, "told": "".join(printed), "report": report}))


if __name__ == "__main__":
    main()
