"""A Python interpreter whose workers speak nonsense: it stands where the sandbox's interpreter stands.

The zygote is the real one; only what a worker does after its fork is replaced. A step's code is JSON, {"seed", "frames"}:
the worker sends that many frames, drawn by that seed, and then ends the step if anybody still listens. Standard library only.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import socket
import struct
import sys
import threading
import time
import types
from collections.abc import Iterator
from typing import Any, NoReturn

TOOLS = ("echo", "add", "search", "push_to_hub")
LARGEST = 8 << 20


def frames(seed: int, count: int) -> Iterator[tuple[bytes, bool]]:
    """Frames with their headers, and whether one surely ends the worker. Half of the seeds send nothing that does."""
    draw = random.Random(seed)
    tame = draw.random() < 0.5
    for _ in range(count):
        if not tame and draw.random() < 0.08:
            yield draw.choice(_FATAL)(draw), True
        else:
            yield draw.choices(_TAME, _WEIGHTS)[0](draw), False


def ending(seed: int) -> bytes:
    draw = random.Random(-seed)
    text = "".join(draw.choices("a\u00e9\U0001f600\x00\x1b<", k=draw.randrange(30)))
    done = {"type": "done", "value": text, "error": draw.choice(("", text)), "final": draw.random() < 0.5}
    return packed(done | {"answer": value(draw, 3), "saved": draw.choice((None, 0, 1))})


def packed(message: object) -> bytes:
    return framed(json.dumps(message).encode())


def framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def value(draw: random.Random, depth: int) -> Any:
    """Any JSON value."""
    kind = draw.randrange(8 if depth else 5)
    if kind == 5:
        return [value(draw, depth - 1) for _ in range(draw.randrange(5))]
    if kind >= 6:
        return {str(draw.random()): value(draw, depth - 1) for _ in range(draw.randrange(5))}
    return (
        None,
        draw.random() < 0.5,
        draw.randrange(-(2**70), 2**70),
        draw.random(),
        "x\u00e9\x00" * draw.randrange(50),
    )[kind]


def call(draw: random.Random, **other: object) -> dict[str, Any]:
    message = {"type": "call", "id": draw.randrange(1 << 40), "name": draw.choice(TOOLS)}
    return message | {"args": [value(draw, 2) for _ in range(draw.randrange(3))], "kwargs": {}} | other


def _good(draw: random.Random) -> bytes:
    return packed(call(draw))


def _push(draw: random.Random) -> bytes:
    return packed(call(draw, name="push_to_hub", args=["victim/model"], kwargs={"approved": True}))


def _unknown_tool(draw: random.Random) -> bytes:
    name = draw.choice(
        ("eval", "_push_to_hub", "push_to_hub ", "__class__", "close", "", "push_to_hub\0", "\u0440ush_to_hub")
    )
    return packed(call(draw, name=name))


def _same_id(draw: random.Random) -> bytes:
    """A slow call, and another under its id. The second is what no worker of ours sends."""
    return packed(call(draw, id=1)) * 2


def _nested(draw: random.Random) -> bytes:
    depth = draw.randrange(1, 90)
    return packed(call(draw, name="echo")).replace(b'"args":', b'"args":', 1) if depth < 5 else framed(
        b'{"type":"call","id":%d,"name":"echo","args":[%s%s],"kwargs":{}}' % (draw.randrange(9**9), b"[" * depth, b"]" * depth)
    )  # fmt: skip


def _wide(draw: random.Random) -> bytes:
    return packed(call(draw, name="echo", args=[[0] * draw.randrange(20_000)]))


def _long(draw: random.Random) -> bytes:
    return packed(call(draw, name="echo", args=["y" * draw.randrange(200_000)]))


def _noise(draw: random.Random) -> bytes:
    return framed(draw.randbytes(draw.randrange(1, 200)))


def _cut(draw: random.Random) -> bytes:
    body = packed(call(draw))[4:]
    return framed(body[: draw.randrange(len(body))])


def _flipped(draw: random.Random) -> bytes:
    body = bytearray(packed(call(draw))[4:])
    for _ in range(draw.randrange(1, 5)):
        body[draw.randrange(len(body))] = draw.randrange(256)
    return framed(bytes(body))


def _oversize(draw: random.Random) -> bytes:
    return struct.pack(">I", draw.choice((LARGEST + 1, 1 << 31, (1 << 32) - 1))) + b"A" * 100


def _too_deep(draw: random.Random) -> bytes:
    depth = draw.choice((300, 10_000, 1_000_000))
    return framed(
        draw.choice((b"[", b'{"a":', b'{"type":"call","id":1,"name":"echo","kwargs":{},"args":[' + b"[")) * depth
    )


def _too_wide(draw: random.Random) -> bytes:
    item = draw.choice((b"{}", b"[]", b"0", b'""', b'{"a":[]}'))
    inner = b",".join([item] * ((LARGEST - 200) // (len(item) + 1)))
    return framed(b'{"type":"call","id":1,"name":"nothing","args":[' + inner + b'],"kwargs":{},"more":1}')


def _wrong_form(draw: random.Random) -> bytes:
    wrong: tuple[object, ...] = (
        {"type": "hello", "facts": {}}, {"type": "ready", "lost": []}, {"type": "approve"}, {"type": ["call"]}, [], 1, None,
        call(draw, more=1), call(draw, id=-1), call(draw, id=1.5), call(draw, id=True), call(draw, id="1"), call(draw, name=5),
        call(draw, id=1 << 60), call(draw, args={}), call(draw, kwargs=[]), call(draw, name="n" * 10_000), {"type": "done"},
        {"type": "done", "value": 1, "error": "", "final": False, "answer": None}, {"type": "call"},
    )  # fmt: skip
    return packed(draw.choice(wrong))


def _odd_numbers(draw: random.Random) -> bytes:
    number = draw.choice((b"NaN", b"Infinity", b"-", b"1e", b"0x1", b"9" * 5_000, b"9" * 500_000, b'"\\ud800"', b"01"))
    return framed(b'{"type":"call","id":1,"name":"echo","args":[' + number + b'],"kwargs":{}}')


_TAME = (_good, _push, _unknown_tool, _nested, _wide, _long)
_WEIGHTS = (60, 6, 8, 8, 2, 2)
_FATAL = (*[_noise, _cut, _flipped, _wrong_form, _odd_numbers, _oversize, _same_id] * 12, _too_deep, _too_wide)


def main() -> NoReturn:
    here, fd, parent, _ = sys.argv[-4:]
    package = sys.modules["sandbox"] = types.ModuleType("sandbox")
    package.__path__ = [here]
    worker: Any = importlib.import_module("sandbox.worker")
    worker.main = _worker
    zygote = importlib.import_module("sandbox.zygote")
    zygote.main(int(fd), int(parent), False)
    os._exit(0)


def _worker(fd: int, broker: int | None) -> NoReturn:
    sock = socket.socket(fileno=fd)
    hears = sock.makefile("rb")
    prepare = _heard(hears) or {}
    _heard(hears)  # the start
    facts = {"level": prepare.get("level"), "landlock": 7, "seccomp": 400}
    sock.sendall(packed({"type": "hello", "facts": facts}) + packed({"type": "ready", "lost": []}))
    while message := _heard(hears):
        if message.get("type") == "run":
            threading.Thread(target=_speak, args=(sock, json.loads(message["code"])), daemon=True).start()
    os._exit(0)


def _speak(sock: socket.socket, step: dict[str, Any]) -> None:
    try:
        for frame, fatal in frames(step["seed"], step["frames"]):
            sock.sendall(frame)
            if fatal:
                time.sleep(0.05)  # whoever has taken it for good gets an end of the step after all
                break
        sock.sendall(ending(step["seed"]))
    except OSError:
        os._exit(0)


def _heard(hears: Any) -> dict[str, Any] | None:
    header = hears.read(4)
    body = hears.read(struct.unpack(">I", header)[0]) if len(header) == 4 else b""
    return dict(json.loads(body)) if body else None


if __name__ == "__main__":
    main()
