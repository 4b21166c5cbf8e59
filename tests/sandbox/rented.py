"""A session whose code runs in a rented machine: its jobs, its money and the real client of the Hub. Prints one line of JSON.

Runs in a process of its own, so that it can die. Reads from standard input {"hub", "folder", "machine", "port", "do"};
see test_remote.py for what is done.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from agent.events import MoneySettled
from agent.job_events import JobEnded
from agent.jobs.rented_machine import SandboxMachine, renting
from agent.sandbox.host import Executor, StepResult, ToolCall, ToolStub
from agent.sandbox.rental import Consent
from tests.doubles.jobs import Places
from tools.cards import Answer, Spend
from tools.problem import Problem, Stopped

TOOLS = (ToolStub("add", "(a: int, b: int) -> int"), ToolStub("rows", "(n: int) -> list[int]"))


def main() -> None:
    order = json.loads(sys.stdin.read())
    folder = Path(order["folder"])
    asked: list[str] = []
    printed: list[str] = []
    hub: Any = SimpleNamespace(url=order["hub"])
    at = Places(hub, folder)

    def ask(spend: Spend) -> tuple[Answer, Spend]:
        asked.append(f"{spend.where} {spend.flavor} {spend.hold_micro_usd}")
        seconds = order.get("seconds", spend.timeout_seconds)
        return Answer(verdict=order.get("say", "yes")), spend.model_copy(update={"timeout_seconds": seconds})

    machine = partial(SandboxMachine, folder=order["machine"], port=order["port"], setup="")
    rent = renting(at.jobs, ask, machine)

    def quiet() -> Consent:
        return replace(rent(), quiet_seconds=order.get("quiet", 120.0))

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

    with Executor(folder, call, TOOLS, on_output=printed.append, level="remote", rent=quiet) as code:
        steps = []
        for step in order["steps"]:
            match step:
                case {"sleep": seconds}:
                    time.sleep(seconds)
                case {"code": source, "stop_after": after}:
                    steps.append(run(source, after))
                case {"let_go": _}:
                    code.let_go()
                case {"press": "stop"}:
                    at.jobs.cancel_open()
                case {"press": "end"}:
                    at.jobs.cancel(at.jobs.list()[-1].job)
                case {"upload": name, "text": text}:
                    (folder / "uploads" / name).write_text(text)
                case _:
                    steps.append(run(step))
        report = code.report()
        if order["do"] == "die":
            print(json.dumps({"steps": steps}), flush=True)
            os._exit(1)
        at.jobs.close()  # as a session does when it closes: then the code's process is ended
    ended = [event.status for event in at.events(JobEnded)]
    paid = [event.micro_usd for event in at.events(MoneySettled)]
    told = {"asked": asked, "told": "".join(printed), "report": report, "ended": ended, "paid": paid}
    print(json.dumps({"steps": steps, **told}))


if __name__ == "__main__":
    main()
