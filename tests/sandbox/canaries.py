"""What an attack must not reach, placed so that reaching it shows: secrets, listeners, files, processes.

Runs in the keeper, which the attacks can neither signal nor read. Nothing here trusts what an attack prints, but for
one thing: a secret in anything that left the sandbox has leaked.
"""

from __future__ import annotations

import base64
import ctypes
import os
import re
import secrets
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HOME = Path("/home/user")
APP, SESSIONS, MARKS = HOME / "app", HOME / "sessions", HOME / "marks"
OTHER = SESSIONS / "other"
TOKEN_FILE = HOME / ".cache" / "huggingface" / "token"
STREAM, DATAGRAM = HOME / "canary.sock", HOME / "canary.sockd"
KEPT = Path("/dev/shm/keeper")  # the keeper's own, closed to the app
_ACCOUNTS = KEPT / "exits"
_PAGE, _TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
_USUAL = ("anon_inode:[eventpoll]", "anon_inode:[eventfd]")  # asyncio
_SECRET_PLACES = ("environment", "memory", "token_file", "app_file", "other_file", "other_name", "other_variable")


class Secrets:
    """One secret for each place, in letters and digits only, so that no way of printing it hides it."""

    def __init__(self) -> None:
        self.at = {place: f"hfCANARY{secrets.token_hex(12)}" for place in _SECRET_PLACES}

    def leaked(self, text: str) -> list[str]:
        """The places whose secret is in text: plain, spelled out letter by letter, backwards, as hex or base64."""
        squeezed = re.sub(r"[^A-Za-z0-9]", "", text)
        return [place for place, secret in self.at.items() if any(form in squeezed for form in _forms(secret))]


def _forms(secret: str) -> Iterator[str]:
    raw = secret.encode()
    yield from (secret, secret[::-1], raw.hex())
    for shift in range(3):  # base64 of a text that holds it at any place
        inner = base64.b64encode(b"\0" * shift + raw).decode()
        yield re.sub(r"[^A-Za-z0-9]", "", inner[4 if shift else 0 : len(inner) // 4 * 4 - 4])


class Listeners:
    """Loopback TCP and UDP, two named sockets and an abstract one. Whoever connects or sends is noted."""

    def __init__(self, uid: int) -> None:
        self.abstract = f"canary-{secrets.token_hex(4)}"
        self.heard: list[str] = []
        self.tcp, self.udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        named, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        places: tuple[tuple[socket.socket, object], ...] = (
            (self.tcp, ("127.0.0.1", 0)),
            (self.udp, ("127.0.0.1", 0)),
            (named, str(STREAM)),
            (datagram, str(DATAGRAM)),
            (abstract, f"\0{self.abstract}"),
        )
        for sock, place in places:
            sock.bind(place)  # type: ignore[arg-type]
        for path in (STREAM, DATAGRAM):
            os.chown(path, uid, -1)
            path.chmod(0o777)
        for name, sock in {"TCP": self.tcp, "a named socket": named, "an abstract socket": abstract}.items():
            sock.listen(16)
            threading.Thread(target=self._accept, args=(name, sock), daemon=True).start()
        for name, sock in {"UDP": self.udp, "a named datagram socket": datagram}.items():
            threading.Thread(target=self._receive, args=(name, sock), daemon=True).start()

    def _accept(self, name: str, sock: socket.socket) -> None:
        while True:
            connection, _ = sock.accept()
            self.heard.append(f"reached {name}")
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        """Answer as a web server does, so that a client that got through does not wait."""
        with connection:
            connection.settimeout(1)
            try:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/csv\r\n\r\na,b\n1,2\n")
            except OSError:
                return

    def _receive(self, name: str, sock: socket.socket) -> None:
        while sock.recv(4096):
            self.heard.append(f"reached {name}")


def build(uid: int, known: Secrets) -> None:
    """Lay out the home of the app, all of it owned by uid, as on a Space."""
    for folder in (APP, SESSIONS, MARKS, OTHER / "work", TOKEN_FILE.parent):
        folder.mkdir(parents=True)
    (APP / "app.py").write_text("import gradio\n")
    (APP / "secret.env").write_text(f"HF_TOKEN={known.at['app_file']}\n")
    TOKEN_FILE.write_text(known.at["token_file"])
    (OTHER / "work" / "notes.txt").write_text(f"private: {known.at['other_file']}\n")
    (OTHER / "work" / f"{known.at['other_name']}.txt").touch()
    for path in (HOME, *HOME.rglob("*")):
        os.chown(path, uid, uid)


@dataclass(frozen=True)
class Scene:
    """All files outside of the sessions under attack: path -> what they are. Two scenes that differ tell a change."""

    files: dict[str, tuple[object, ...]]

    @classmethod
    def now(cls) -> Scene:
        files: dict[str, tuple[object, ...]] = {}
        for top in (HOME, Path("/tmp"), Path("/dev/shm"), Path("/var/tmp")):
            for path in _walk(top):
                status = path.lstat()
                facts: tuple[object, ...] = (status.st_mode, status.st_uid, status.st_ino)
                if not path.is_dir():  # the change time tells of writes, of chmod, of utime
                    facts += (status.st_size, status.st_nlink, status.st_ctime_ns)
                files[str(path)] = facts
        return cls(files)

    def changes(self, before: Scene) -> Iterator[str]:
        for path, facts in self.files.items():
            if path not in before.files:
                yield f"made {path}"
            elif facts != before.files[path]:
                yield f"changed {path}"
        yield from (f"removed {path}" for path in before.files.keys() - self.files.keys())


def _walk(top: Path) -> Iterator[Path]:
    """Everything below top but what sessions, the keeper and mounted folders hold."""
    device = top.stat().st_dev
    pending = [top]
    while pending:
        for entry in os.scandir(pending.pop()):
            path = Path(entry.path)
            if path.is_relative_to(KEPT) or (path.parent == SESSIONS and path != OTHER):
                continue
            if OTHER in path.parents and path.relative_to(OTHER).parts[0] != "work":
                continue
            if entry.is_dir(follow_symlinks=False):
                if path.stat().st_dev != device:
                    continue
                pending.append(path)
            yield path


@dataclass
class Seen:
    """One process as it was last seen."""

    pid: int
    parent: int
    name: str
    state: str
    cpu_seconds: float
    threads: int
    resident_bytes: int
    nice: int


def processes(uid: int) -> dict[int, Seen]:
    """All living processes of uid but this one."""
    found: dict[int, Seen] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry.name}/status") as file:
                owner = int(re.search(r"^Uid:\s+(\d+)", file.read(), re.MULTILINE)[1])  # type: ignore[index]
            text = Path(f"/proc/{entry.name}/stat").read_text()
        except OSError:
            continue
        if owner != uid:
            continue
        name, _, rest = text.partition(" (")[2].rpartition(") ")
        part = rest.split()
        cpu = (int(part[11]) + int(part[12])) / _TICKS
        seen = Seen(
            int(entry.name), int(part[1]), name, part[0], cpu, int(part[17]), int(part[21]) * _PAGE, int(part[16])
        )
        if seen.state != "Z":
            found[seen.pid] = seen
    return found


def strange_descriptors(pid: int | None) -> list[str]:
    """What a worker holds that no honest code needs: objects of the kernel, devices, files outside of its session."""
    found = []
    for entry in os.scandir(f"/proc/{pid}/fd") if pid else ():
        target = os.readlink(entry.path)
        usual = target.startswith(("socket:", "pipe:", "/dev/null", f"{SESSIONS}/")) or target in _USUAL
        if not usual and not _only_a_path(pid, entry.name):
            found.append(target)
    return found


def _only_a_path(pid: int | None, number: str) -> bool:
    """Opened with O_PATH: it names a file, and neither reads nor writes it."""
    flags = re.search(r"flags:\s+(\d+)", Path(f"/proc/{pid}/fdinfo/{number}").read_text())
    return bool(flags and int(flags[1], 8) & os.O_PATH)


def ipc_objects() -> list[str]:
    """Kinds of System V objects that somebody left in this place."""
    return [
        f"a System V object: {kind}"
        for kind in ("shm", "sem", "msg")
        if len(Path(f"/proc/sysvipc/{kind}").read_text().splitlines()) > 1
    ]


def rights(pid: int) -> tuple[object, ...]:
    """The priority, the CPUs and the limits of a process, which only it may change."""
    cpus = tuple(sorted(os.sched_getaffinity(pid)))
    limits = Path(f"/proc/{pid}/limits").read_text()
    return (os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid), cpus, limits)


@dataclass
class Watch:
    """Looks at the processes and the storage every 20 ms and remembers the most there was."""

    uid: int
    app: int
    parents: set[int]  # who may have children: the app and its zygote
    last: dict[int, Seen] = field(default_factory=dict)
    cpu_seconds: dict[int, float] = field(default_factory=dict)  # of every process but the app, ended ones too
    threads: int = 0
    resident_bytes: int = 0
    app_bytes: int = 0
    storage_bytes: int = 0
    files: int = 0  # and folders
    strangers: set[str] = field(default_factory=set)  # processes with another parent

    def look(self) -> None:
        self.last = processes(self.uid)
        for seen in self.last.values():
            if seen.pid == self.app:
                self.app_bytes = max(self.app_bytes, seen.resident_bytes)
                continue
            if seen.parent not in self.parents:
                self.strangers.add(f"process {seen.name}")
            self.cpu_seconds[seen.pid] = seen.cpu_seconds
            self.threads = max(self.threads, seen.threads)
            self.resident_bytes = max(self.resident_bytes, seen.resident_bytes)
        status = os.statvfs("/home")  # files that are open but unlinked, and trees of any depth, are in it
        self.storage_bytes = max(self.storage_bytes, (status.f_blocks - status.f_bfree) * status.f_frsize)
        self.files = max(self.files, status.f_files - status.f_ffree)

    def idle_cpu(self, seconds: float) -> float:
        """CPU seconds that all but the app use while we wait."""
        self.look()
        before = dict(self.cpu_seconds)
        time.sleep(seconds)
        self.look()
        return sum(value - before.get(pid, 0.0) for pid, value in self.cpu_seconds.items())


def open_ports(uid: int) -> set[str]:
    """The listening and connected internet sockets of uid, and the abstract names anybody listens on."""
    found = set()
    for kind in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            part = line.split()
            if int(part[7]) == uid:
                found.add(f"{kind} {part[1]} to {part[2]}")
    names = (line.split()[7:] for line in Path("/proc/net/unix").read_text().splitlines()[1:])
    return found | {name[0] for name in names if name}


class Exits:
    """The kernel's record of every process that ended in this place, however short it lived. Needs real root."""

    _RECORD = struct.Struct("=BBHIIIIIIfHHHHHHHH16s")  # acct_v3

    def __init__(self) -> None:
        KEPT.mkdir(mode=0o700)
        _ACCOUNTS.touch()
        self.recorded = ctypes.CDLL(None).acct(os.fsencode(_ACCOUNTS)) == 0

    def strangers(self, uid: int, since: int, parents: set[int]) -> list[str]:
        """Ended processes of uid with another parent than these; since: the size of the record before."""
        data = _ACCOUNTS.read_bytes()[since:]
        found = []
        for start in range(0, len(data) - self._RECORD.size + 1, self._RECORD.size):
            record = self._RECORD.unpack_from(data, start)
            owner, parent = record[4], record[7]
            if owner == uid and parent not in parents:
                found.append(f"process {record[18].rstrip(bytes(1)).decode(errors='replace')}")
        return found

    def size(self) -> int:
        return _ACCOUNTS.stat().st_size
