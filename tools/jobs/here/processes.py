"""What a job on this machine uses: its processes by psutil, the machine's GPUs by nvidia-smi where there is one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass

import psutil

from tools.jobs.metrics import points

SMI = ("--query-gpu=index,utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits")
SMI_SECONDS = 5.0  # a driver that hangs must not keep anybody


@dataclass(frozen=True)
class Sample:
    """CPU seconds that each process had used at a moment of time.monotonic()."""

    at: float
    cpu: dict[int, float]


def use(process: int, before: Sample | None) -> tuple[dict[str, float], Sample]:
    """Numbers named as tools.jobs.remote.usage names them, and the sample for the next look; {} when nothing runs.

    process: its children, and theirs, are the job. cpu_percent is of all processors, since the sample before, or else
    since the job began. memory_gb counts what processes share several times.
    """
    cpu: dict[int, float] = {}
    memory, began = 0, time.time()
    for one in _below(process):
        try:
            with one.oneshot():
                times, memory = one.cpu_times(), memory + one.memory_info().rss
                cpu[one.pid], began = times.user + times.system, min(began, one.create_time())
        except psutil.Error:
            continue  # it has just ended
    now = Sample(time.monotonic(), cpu)
    if not cpu:
        return {}, now
    found: dict[str, float] = {}
    passed = now.at - before.at if before else time.time() - began
    if passed > 0:
        known = before.cpu if before else {}
        spent = sum(max(0.0, seconds - known.get(pid, 0.0)) for pid, seconds in cpu.items())
        found["cpu_percent"] = round(min(100.0, 100 * spent / passed / (os.cpu_count() or 1)), 2)
    found["memory_gb"] = round(memory / 1e9, 2)
    found["memory_percent"] = round(100 * memory / psutil.virtual_memory().total, 2)
    return found | _gpus(), now


def _below(process: int) -> list[psutil.Process]:
    try:
        return psutil.Process(process).children(recursive=True)  # type: ignore[no-any-return]
    except psutil.Error:
        return []


def _gpus() -> dict[str, float]:
    """All of the machine's, whoever uses them."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return {}
    try:
        said = subprocess.run([smi, *SMI], capture_output=True, text=True, timeout=SMI_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    told = points(json.dumps({"gpu": said.splitlines()}))
    return {name: value for name, value in told[0].items() if value is not None} if told else {}
