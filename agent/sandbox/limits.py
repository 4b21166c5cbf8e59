"""What one session's code may use, and the words for a step that wanted more."""

from __future__ import annotations

from dataclasses import dataclass

from agent.sandbox.files import DiskUsage


@dataclass(frozen=True)
class Limits:
    """What one session's code may use. All but memory, file size and text are per step."""

    wall_seconds: float = 60.0  # without the time in which a tool works or waits for the user
    cpu_seconds: float = 60.0  # that too, in all of its threads
    memory_bytes: int = 3 << 30  # address space, so that too much at once is a MemoryError
    resident_bytes: int = 1280 << 20  # a step that really fills more is ended
    file_bytes: int = 256 << 20  # of each file
    disk: DiskUsage = DiskUsage(bytes=512 << 20, entries=5_000, depth=40)  # noqa: RUF009  # frozen
    threads: int = 100
    output_chars: int = 100_000  # kept; the rest is counted
    output_bytes: int = 16 << 20  # a step that prints more is stopped
    sent_bytes: int = 32 << 20  # and one that hands more to tools
    text_chars: int = 20_000  # of a value and of a traceback
    calls: int = 500


USUAL = Limits()


def cause(why: str, limits: Limits, broken: str = "") -> str:
    """Why a step was made to end, in words for the model; empty when it was not."""
    match why:
        case "time":
            return (
                f"The step ran longer than {limits.wall_seconds:g} s, its limit (time in tools does not count), "
                "and was stopped; do less in one step, or run it as a job"
            )
        case "cpu":
            return f"The step used more than {limits.cpu_seconds:g} s of CPU, its limit, and was stopped"
        case "memory":
            return (
                f"The step filled more than {limits.resident_bytes >> 20:,} MB of memory and was ended; "
                "work on a part at a time, or run it as a job"
            )
        case "threads":
            return f"The step had more than {limits.threads} threads and was ended; use a pool of a few"
        case "disk":
            return (
                f"The step wrote more than {limits.disk.bytes >> 20:,} MB, {limits.disk.entries:,} files or folders, "
                f"or {limits.disk.depth} folders deep, and was ended; the files that it wrote were removed"
            )
        case "sent":
            return f"The step handed more than {limits.sent_bytes:,} bytes to tools and was stopped; hand over less"
        case "output":
            return f"The step printed more than {limits.output_bytes:,} bytes and was stopped; print less"
        case "stopped":
            return "The user pressed Stop and the code did not end"
        case "gone":
            return f"The Python process was lost during the step: {broken or 'it has ended'}"
        case _:
            return ""
