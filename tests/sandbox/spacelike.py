"""A place like a Space: a uid without rights, under the filter of a container, and nothing of this machine at stake.

The keeper (`enter`) becomes process 1 of its own pid, mount, network and IPC namespaces; all that an attack can signal,
fill or reach lies inside them and ends with the keeper. The app under attack (`become_app`) gets its own uid, resource
limits, and a seccomp filter that refuses what Docker's default filter refuses. Linux, as root or with user namespaces.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import resource
import signal
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_NEWNS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
_CLONE_NEW = 0x7E020000  # every namespace flag that clone takes
_MS_BIND, _MS_REC, _MS_PRIVATE, _MS_NOSUID, _MS_NODEV = 4096, 16384, 1 << 18, 2, 4
_MS_RDONLY, _MS_REMOUNT = 1, 32
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_FILTER = 1, 38, 22, 2
_EPERM, _ENOSYS = 1, 38
_APP_UID = 100_000  # plus the number of the launching process: no two runs at once share one

STORAGE_BYTES = 3 << 30  # of /home, where the app and its sessions live
STORAGE_FILES = 400_000

# unshare, setns, mount, umount2, pivot_root, bpf, keyctl, add_key, request_key, open_by_handle_at, perf_event_open,
# userfaultfd; then io_uring and the new mount calls, which have the same numbers everywhere.
_EVERYWHERE = (425, 426, 427, 428, 429, 430, 431, 432, 442)
_REFUSED = {
    "x86_64": (272, 308, 165, 166, 155, 321, 250, 248, 249, 304, 298, 323, *_EVERYWHERE),
    "aarch64": (97, 268, 40, 39, 41, 280, 219, 217, 218, 265, 241, 282, *_EVERYWHERE),
}
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435

_PUBLIC = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))  # where everybody may write

_libc = ctypes.CDLL(None, use_errno=True)


class Impossible(Exception):
    """This machine does not let us make such a place; the text says why."""


@dataclass(frozen=True)
class Rights:
    """What the app and all that it starts may use at most, should nothing else hold them."""

    processes: int  # of this uid, threads counted
    memory_bytes: int  # address space of each
    file_bytes: int  # of each file


def enter(visible: Sequence[Path]) -> int:
    """Become the keeper of a new place; returns the uid for the app. The caller's process waits outside, then ends.

    visible: folders that the app must be able to read wherever they lie, such as its code and its Python. /tmp, /var/tmp,
    /dev/shm and /home are new and empty apart from these, all else is read-only. Raises Impossible.
    """
    uid = _APP_UID + os.getpid()
    kinds = _NEWNS | _NEWIPC | _NEWPID | _NEWNET
    if os.geteuid() != 0:
        uid = 1000
        _own_user_namespace(uid)
    if _libc.unshare(kinds) != 0:
        raise Impossible(f"no namespaces for the keeper: {os.strerror(ctypes.get_errno())}")
    _die_with_parent()
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    _die_with_parent()
    _own_mounts(visible)
    _own_loopback()
    return uid


def become_app(uid: int, rights: Rights) -> None:
    """Turn this process, which is about to exec the app, into one with no rights under a container's filter."""
    _container_filter()
    limits = ((resource.RLIMIT_NPROC, rights.processes), (resource.RLIMIT_AS, rights.memory_bytes))
    for limit, value in (*limits, (resource.RLIMIT_FSIZE, rights.file_bytes), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (value, value))
    Path("/proc/self/oom_score_adj").write_text("1000")  # should memory run out, this goes first
    if uid != os.getuid():  # in a user namespace there is one uid only, and exec drops the capabilities
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def _own_user_namespace(uid: int) -> None:
    outside, group = os.getuid(), os.getgid()
    if _libc.unshare(_NEWUSER) != 0:
        raise Impossible("this needs root or user namespaces, and the kernel gives an ordinary user none")
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {outside} 1")
        Path("/proc/self/gid_map").write_text(f"{uid} {group} 1")
    except OSError as error:
        raise Impossible(f"user namespaces are restricted here: {error.strerror}") from None


def _own_mounts(visible: Sequence[Path]) -> None:
    """New, empty /tmp, /dev/shm and /home, and what is visible at its usual place even below a closed folder."""
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    kept = [(path.resolve(), os.open(path, os.O_PATH)) for path in visible]
    covered = {*_PUBLIC, Path("/home")}
    for path, _ in kept:
        closed = [part for part in path.parents if not part.stat().st_mode & 0o001]
        covered |= set(closed[-1:])  # the topmost
    for folder in sorted(covered):
        if not folder.exists():
            continue
        size = STORAGE_BYTES if folder == Path("/home") else 64 << 20
        mode = "1777" if folder in _PUBLIC else "755"
        _mount("tmpfs", folder, "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={size},nr_inodes={STORAGE_FILES},mode={mode}")
    for path, descriptor in kept:
        if any(folder in path.parents for folder in covered):
            path.mkdir(parents=True, exist_ok=True)
            _mount(f"/proc/self/fd/{descriptor}", path, "", _MS_BIND | _MS_REC)
        os.close(descriptor)
    _mount("proc", "/proc", "proc", 0)
    _mount("none", "/", "", _MS_BIND | _MS_REMOUNT | _MS_RDONLY)


def _own_loopback() -> None:
    with socket.socket() as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh22x", b"lo", 0x41))  # SIOCSIFFLAGS: up, running


def _mount(source: str, target: Path | str, kind: str, flags: int, data: str = "") -> None:
    texts = [os.fsencode(text) for text in (source, str(target), kind)]
    if _libc.mount(*texts, ctypes.c_ulong(flags), data.encode() or None) != 0:
        raise Impossible(f"mounting {target} failed: {os.strerror(ctypes.get_errno())}")


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _container_filter() -> None:
    machine = platform.machine()
    if machine not in _REFUSED:
        raise Impossible(f"no container filter is written for {machine}")
    load, equal, meets, end = 0x20, 0x15, 0x45, 0x06  # BPF: load a word, ==, &, return
    allow, errno = 0x7FFF0000, 0x00050000
    program = [(load, 0, 0, 4), (equal, 1, 0, _ARCH[machine]), (end, 0, 0, allow), (load, 0, 0, 0)]
    for number in _REFUSED[machine]:
        program += [(equal, 0, 1, number), (end, 0, 0, errno | _EPERM)]
    program += [(equal, 0, 1, _CLONE3), (end, 0, 0, errno | _ENOSYS)]
    program += [
        (equal, 0, 3, _CLONE[machine]),
        (load, 0, 0, 16),
        (meets, 0, 1, _CLONE_NEW),
        (end, 0, 0, errno | _EPERM),
    ]
    program += [(end, 0, 0, allow)]
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    lines = ctypes.create_string_buffer(code)
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(lines)))
    if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_FILTER, header, 0, 0) != 0:  # without CAP_SYS_ADMIN it wants this first:
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_FILTER, header, 0, 0) != 0:
            raise Impossible(f"seccomp: {os.strerror(ctypes.get_errno())}")
