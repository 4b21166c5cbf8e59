"""Opens and changes files for one worker where the kernel has no Landlock. Standard library only.

The worker's filter holds each call that names a file and tells the broker, a process of its own. The broker reads the
path once, finds out where it really leads, does the call itself when that is within the worker's folders, and hands
over the open file. What the worker changes in its memory meanwhile changes nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import select
import socket
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from . import syscalls

_RECEIVE, _SEND, _STILL_VALID, _ADD = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103
_NOTICE = struct.Struct("=QIIiIQ6Q")  # id, thread, flags; then number, machine, instruction, six arguments
_ANSWER = struct.Struct("=QqiI")  # id, value, error, flags
_ADDED = struct.Struct("=QIIII")  # id, flags, our descriptor, wanted number, its flags
_ADD_AND_SEND = 2
_PATH_BYTES, _PAGE = 4096, 4096
_AT_FDCWD, _REMOVEDIR = -100, 0x200
_OPEN_FLAGS = (
    os.O_ACCMODE
    | os.O_CREAT
    | os.O_EXCL
    | os.O_TRUNC
    | os.O_APPEND
    | os.O_NONBLOCK
    | os.O_DIRECTORY
    | os.O_NOFOLLOW
    | os.O_CLOEXEC
    | os.O_SYNC
)


class Broker:
    """read, change: folders and files, as real paths, beneath which files may be opened, or changed too."""

    def __init__(self, listener: int, read: Sequence[str], change: Sequence[str]) -> None:
        self._listener = listener
        self._read, self._change = ([os.path.realpath(path) for path in paths] for paths in (read, change))
        self._calls = {
            syscalls.number(name): act for name, act in self._acts().items() if syscalls.number(name) is not None
        }

    def serve(self) -> NoReturn:
        """Answer until the worker has ended."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while True:
            [(_, events)] = poll.poll()
            if not events & select.POLLIN:
                os._exit(0)
            notice = bytearray(_NOTICE.size)  # the kernel wants it empty
            try:
                fcntl.ioctl(self._listener, _RECEIVE, notice)
            except (FileNotFoundError, InterruptedError):  # the call was given up
                continue
            ticket, thread, _, number, _, _, *arguments = _NOTICE.unpack(notice)
            self._answer(ticket, self._call(ticket, thread, number, arguments))

    def _call(self, ticket: int, thread: int, number: int, arguments: list[int]) -> int:
        """Returns 0, minus the error, or 1 when a file was handed over, which is the answer."""
        try:
            return self._calls[number](_Asker(self._listener, ticket, thread), arguments)
        except OSError as error:
            return -(error.errno or errno.EIO)
        except (KeyError, ValueError):
            return -errno.EPERM

    def _answer(self, ticket: int, result: int) -> None:
        if result <= 0:
            with contextlib.suppress(OSError):  # the worker may be gone meanwhile
                fcntl.ioctl(self._listener, _SEND, _ANSWER.pack(ticket, 0, result, 0))

    # --- the calls --------------------------------------------------------------------------------

    def _acts(self) -> dict[str, Callable[[_Asker, list[int]], int]]:
        at, here = self._at, _AT_FDCWD
        return {
            "open": lambda asker, a: self._open(asker, here, a[0], a[1], a[2]),
            "openat": lambda asker, a: self._open(asker, a[0], a[1], a[2], a[3]),
            "creat": lambda asker, a: self._open(asker, here, a[0], os.O_CREAT | os.O_WRONLY | os.O_TRUNC, a[1]),
            "mkdir": lambda asker, a: at(asker, here, a[0], lambda folder, name: os.mkdir(name, 0o777, dir_fd=folder)),
            "mkdirat": lambda asker, a: at(
                asker, a[0], a[1], lambda folder, name: os.mkdir(name, 0o777, dir_fd=folder)
            ),
            "rmdir": lambda asker, a: at(asker, here, a[0], lambda folder, name: os.rmdir(name, dir_fd=folder)),
            "unlink": lambda asker, a: at(asker, here, a[0], lambda folder, name: os.unlink(name, dir_fd=folder)),
            "unlinkat": self._unlinkat,
            "rename": lambda asker, a: self._rename(asker, here, a[0], here, a[1]),
            "renameat": lambda asker, a: self._rename(asker, *a[:4]),
            "renameat2": lambda asker, a: -errno.EINVAL if a[4] else self._rename(asker, *a[:4]),
            "truncate": self._truncate,
        }

    def _open(self, asker: _Asker, folder: int, path: int, flags: int, mode: int) -> int:
        flags &= _OPEN_FLAGS
        writes = flags & os.O_ACCMODE != os.O_RDONLY
        if flags & os.O_TRUNC and not writes:
            return -errno.EACCES
        with asker.place(folder, asker.text(path)) as (parent, name):
            if flags & os.O_CREAT and self._within(parent, self._change):
                with contextlib.suppress(FileExistsError):
                    made = os.open(name, flags | os.O_EXCL | os.O_NOFOLLOW, mode & 0o777, dir_fd=parent)
                    return asker.hand_over(made, flags)
                if flags & os.O_EXCL:
                    return -errno.EEXIST
            try:
                there = os.open(name, os.O_PATH | flags & os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            except FileNotFoundError:
                return -errno.EACCES if flags & os.O_CREAT else -errno.ENOENT
        try:
            kind = os.fstat(there).st_mode
            if not self._within(there, self._change if writes else [*self._read, *self._change]):
                return -errno.EACCES
            if stat.S_ISLNK(kind):
                return -errno.ELOOP
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISCHR(kind)):
                return -errno.EACCES
            again = flags & ~(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
            return asker.hand_over(os.open(f"/proc/self/fd/{there}", again | os.O_CLOEXEC), flags)
        finally:
            os.close(there)

    def _unlinkat(self, asker: _Asker, a: list[int]) -> int:
        remove = os.rmdir if a[2] & _REMOVEDIR else os.unlink
        return self._at(asker, a[0], a[1], lambda folder, name: remove(name, dir_fd=folder))

    def _rename(self, asker: _Asker, folder: int, path: int, new_folder: int, new_path: int) -> int:
        with (
            asker.place(folder, asker.text(path)) as (parent, name),
            asker.place(new_folder, asker.text(new_path)) as (new_parent, new_name),
        ):
            if not (self._within(parent, self._change) and self._within(new_parent, self._change)):
                return -errno.EACCES
            os.rename(name, new_name, src_dir_fd=parent, dst_dir_fd=new_parent)
        return 0

    def _truncate(self, asker: _Asker, a: list[int]) -> int:
        with asker.place(_AT_FDCWD, asker.text(a[0])) as (parent, name):
            if not self._within(parent, self._change):
                return -errno.EACCES
            file = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.ftruncate(file, a[1])
        finally:
            os.close(file)
        return 0

    def _at(self, asker: _Asker, folder: int, path: int, act: Callable[[int, str], None]) -> int:
        with asker.place(folder, asker.text(path)) as (parent, name):
            if not self._within(parent, self._change):
                return -errno.EACCES
            act(parent, name)
        return 0

    @staticmethod
    def _within(fd: int, roots: Sequence[str]) -> bool:
        """Whether an open file or folder really lies at or beneath one of these."""
        real = os.readlink(f"/proc/self/fd/{fd}")
        return any(real == root or real.startswith(root + "/") for root in roots)


class _Asker:
    """The thread of the worker that waits for the answer."""

    def __init__(self, listener: int, ticket: int, thread: int) -> None:
        self._listener, self._ticket, self._thread = listener, ticket, thread

    def text(self, address: int) -> str:
        """The path at an address of the worker's memory, read once."""
        memory = os.open(f"/proc/{self._thread}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Between the notice and this the thread could have ended and its number be another's.
            fcntl.ioctl(self._listener, _STILL_VALID, struct.pack("=Q", self._ticket))
            found = b""
            while b"\0" not in found and len(found) < _PATH_BYTES:
                at = address + len(found)
                if not (piece := os.pread(memory, _PAGE - at % _PAGE, at)):
                    raise OSError(errno.EFAULT, "no text there")
                found += piece
        finally:
            os.close(memory)
        path, end, _ = found.partition(b"\0")
        if not end or len(path) >= _PATH_BYTES:
            raise OSError(errno.ENAMETOOLONG, "too long a path")
        return os.fsdecode(path)

    @contextlib.contextmanager
    def place(self, folder: int, path: str) -> Iterator[tuple[int, str]]:
        """The folder that holds the last part of path, open, and that part."""
        if not path:
            raise OSError(errno.ENOENT, "no path")
        here = ctypes.c_int32(folder).value
        base = f"/proc/{self._thread}/cwd" if here == _AT_FDCWD else f"/proc/{self._thread}/fd/{here}"
        head, _, name = path.rstrip("/").rpartition("/")
        if name in ("", ".", ".."):
            head, name = path, "."
        start = os.open("/" if path.startswith("/") else base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            parent = os.open(head.lstrip("/") or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=start)
        finally:
            os.close(start)
        try:
            yield parent, name
        finally:
            os.close(parent)

    def hand_over(self, file: int, flags: int) -> int:
        """Put an open file into the worker as the answer to its call."""
        try:
            request = bytearray(_ADDED.pack(self._ticket, _ADD_AND_SEND, file, 0, flags & os.O_CLOEXEC))
            fcntl.ioctl(self._listener, _ADD, request)
        finally:
            os.close(file)
        return 1


# --- how the two find each other ------------------------------------------------------------------


def serve_one_worker(fd: int) -> NoReturn:
    """The broker's process: say who it is, learn what the worker may open, serve."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, 19)
        with socket.socket(fileno=fd) as worker:
            worker.sendall(b"%d" % os.getpid())
            message, [listener], _, _ = socket.recv_fds(worker, 1 << 16, 1)
            broker = Broker(listener, **json.loads(message))
            worker.sendall(b"ready")
        broker.serve()
    except BaseException:
        os._exit(1)


class Link:
    """The worker's end, before any generated code is there."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self.pid = int(self._socket.recv(32))

    def give(self, listener: int, **paths: Any) -> None:
        """Raises OSError when the broker does not take it."""
        # From here on opening a file asks the broker, who does not listen yet: nothing in between opens one.
        socket.send_fds(self._socket, [json.dumps(paths).encode()], [listener])
        if self._socket.recv(32) != b"ready":
            raise OSError("the file broker has ended")
        os.close(listener)
        self._socket.close()
