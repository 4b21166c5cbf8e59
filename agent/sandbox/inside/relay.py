"""Stands in a rented machine between the app and a worker: forks it, and passes on bytes. Standard library only.

python -m sandbox.relay PORT FOLDER QUIET

It speaks HTTP on the loopback interface; the machine's own server lets the app, and nobody else, through to it. Frames
in both directions are a letter, a length and that many bytes: m for messages, o for what is printed, s for a signal,
e for the end, p for nothing but a sign of life. It ends when it has heard
nothing of the app for QUIET seconds, so that the machine can end too.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from . import landlock, syscalls
from .zygote import BOOT, FORK, FORK_BROKERED, REAP, REPLY, REQUEST, environment

FRAME = struct.Struct(">cI")
MESSAGE, PRINTED, SIGNAL, ENDED, ALIVE = b"m", b"o", b"s", b"e", b"p"
_ALIVE_SECONDS = 10.0
_CHUNK = 64 << 10
_LISTED = ("work", "state")
_MOST_LISTED = 5_000


class Relay:
    """One worker at a time, of one session in folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.heard = time.monotonic()
        for name in ("work", "tmp", "state", "inbox", "uploads"):
            os.makedirs(os.path.join(folder, name), exist_ok=True)
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-X", "utf8", "-B", "-c", BOOT),
                    *(os.path.dirname(os.path.abspath(__file__)), str(theirs.fileno()), str(os.getpid()), "preload"),
                ],
                cwd="/",
                env=environment(tempfile.mkdtemp(prefix="sandbox-")),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        self._zygote = ours
        self.facts = {"landlock": landlock.abi(), "seccomp": syscalls.known_machine(), **json.loads(ours.recv(4096))}
        self._asking = threading.Lock()
        self._pid = 0
        self._sock: socket.socket | None = None
        self._pipe = -1

    def fork(self, brokered: bool) -> int:
        """A new worker in the place of the one before. Raises OSError."""
        self.signal(signal.SIGKILL)
        mine, its = socket.socketpair()
        pipe, out = os.pipe()
        try:
            with self._asking:
                order = REQUEST.pack(FORK_BROKERED if brokered else FORK, 0)
                socket.send_fds(self._zygote, [order], [its.fileno(), out])
                reply, handles, _, _ = socket.recv_fds(self._zygote, REPLY.size, 1)
            for handle in handles:
                os.close(handle)
        finally:
            its.close()
            os.close(out)
        self._pid, wrong = REPLY.unpack(reply)
        if not self._pid:
            raise OSError(wrong, os.strerror(wrong))
        self._sock, self._pipe = mine, pipe
        return self._pid

    def take(self, frames: bytes) -> None:
        """What the app sends: whole frames."""
        while frames:
            kind, length = FRAME.unpack_from(frames)
            body, frames = frames[FRAME.size : FRAME.size + length], frames[FRAME.size + length :]
            if kind == SIGNAL:
                self.signal(body[0])
            elif kind == MESSAGE and self._sock:
                with contextlib.suppress(OSError):  # it has ended, which the app learns in another way
                    self._sock.sendall(body)

    def signal(self, number: int) -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def pump(self, write: Any) -> None:
        """Write frames of all that the worker says, until it ends."""
        sock, pipe = self._sock, self._pipe
        if sock is None:
            return
        self._sock, open_pipe = sock, True
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        poll.register(pipe, select.POLLIN)
        while True:
            ready = dict(poll.poll(_ALIVE_SECONDS * 1000))
            if not ready:
                write(FRAME.pack(ALIVE, 0))
            if pipe in ready and open_pipe:
                data = os.read(pipe, _CHUNK)
                open_pipe = bool(data)
                if not data:
                    poll.unregister(pipe)
                write(FRAME.pack(PRINTED, len(data)) + data)
            elif sock.fileno() in ready:
                try:
                    data = sock.recv(_CHUNK)
                except OSError:
                    data = b""
                if not data:
                    break
                write(FRAME.pack(MESSAGE, len(data)) + data)
        write(FRAME.pack(ENDED, 4) + struct.pack(">i", self._reap()))
        sock.close()
        os.close(pipe)

    def _reap(self) -> int:
        with self._asking:
            status = -signal.SIGKILL
            pid, self._pid = self._pid, 0
            self._zygote.sendall(REQUEST.pack(REAP, pid))
            _, status = REPLY.unpack(self._zygote.recv(REPLY.size))
        return int(status)

    # --- files -------------------------------------------------------------------------------------

    def files(self) -> list[tuple[str, int, int]]:
        """Path, size and time of change, in nanoseconds, of the plain files in work/ and state/."""
        found = []
        for top in _LISTED:
            for folder, _, names in os.walk(os.path.join(self.folder, top)):
                for name in names:
                    path = os.path.join(folder, name)
                    with contextlib.suppress(OSError, ValueError):
                        seen = os.lstat(path)
                        name.encode("utf-8")
                        if os.path.isfile(path) and not os.path.islink(path):
                            found.append((os.path.relpath(path, self.folder), seen.st_size, seen.st_mtime_ns))
                if len(found) >= _MOST_LISTED:
                    return found[:_MOST_LISTED]
        return found

    def open(self, path: str, flags: int) -> int:
        """A file of the session. Whoever else is in this machine is the session's own."""
        whole = os.path.realpath(os.path.join(self.folder, path))
        if not whole.startswith(os.path.realpath(self.folder) + "/"):
            raise OSError("no path in this session")
        if flags & os.O_CREAT:
            os.makedirs(os.path.dirname(whole), exist_ok=True)
        return os.open(whole, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    relay: Relay

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def do_GET(self) -> None:
        self._do({"/facts": self._facts, "/files": self._files, "/file": self._file, "/out": self._out})

    def do_POST(self) -> None:
        self._do({"/fork": self._fork, "/in": self._in, "/file": self._put})

    def _do(self, acts: dict[str, Any]) -> None:
        self.relay.heard = time.monotonic()
        url = urlsplit(self.path)
        self._asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        act = acts.get(url.path)
        try:
            if act:
                act()
            else:
                self._answer(404, b"unknown")
        except (OSError, ValueError, KeyError, struct.error) as error:
            self._answer(500, f"{type(error).__name__}: {error}".encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _facts(self) -> None:
        self._answer(200, json.dumps(self.relay.facts).encode())

    def _files(self) -> None:
        self._answer(200, json.dumps(self.relay.files()).encode())

    def _file(self) -> None:
        with os.fdopen(self.relay.open(self._asked["path"], os.O_RDONLY), "rb") as file:
            self._answer(200, file.read())

    def _put(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(self.relay.open(self._asked["path"], flags), "wb") as file:
            file.write(self._body)
        self._answer(200, b"{}")

    def _fork(self) -> None:
        self._answer(200, json.dumps({"pid": self.relay.fork(self._asked["brokered"] == "1")}).encode())

    def _in(self) -> None:
        self.relay.take(self._body)
        self._answer(200, b"{}")

    def _out(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

        def write(data: bytes) -> None:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()

        self.close_connection = True
        try:
            self.relay.pump(write)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the app is gone, or has given this worker up
            self.relay.signal(signal.SIGKILL)


def main() -> None:
    port, folder, quiet = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    _Handler.relay = relay = Relay(folder)
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while time.monotonic() - relay.heard < quiet:  # the thread that started the zygote must not end
        time.sleep(1.0)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()
