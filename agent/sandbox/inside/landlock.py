"""Landlock: which files a worker reaches, enforced by the kernel. Standard library only."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterable

from . import syscalls

_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
_MAKE_DIR, _MAKE_REG, _REFER, _TRUNCATE = 1 << 7, 1 << 8, 1 << 13, 1 << 14
_FILES_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many rights on files a kernel of that ABI knows
_TCP = 0b11  # bind, connect; from ABI 4
_SCOPES = 0b11  # abstract sockets, signals; from ABI 6

_READ = _READ_FILE | _READ_DIR
_CHANGE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
_ON_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE  # the only ones that a rule on a file may hold


def _call(name: str, *arguments: object) -> int:
    number = syscalls.number(name)
    if number is None:
        ctypes.set_errno(errno.ENOSYS)
        return -1
    return int(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments))


def abi() -> int:
    """The kernel's version of Landlock; 0 when there is none."""
    return max(0, _call("landlock_create_ruleset", None, ctypes.c_size_t(0), ctypes.c_uint(1)))


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("rights", ctypes.c_uint64), ("folder", ctypes.c_int32)]


class Rules:
    """What this process will reach: no file but those beneath the paths that are added, and as far as the kernel can
    tell no TCP and no signals to others. No right to make links, pipes, sockets or devices, or to run a program, is
    given anywhere.
    """

    def __init__(self) -> None:
        """Raises OSError when there is no Landlock."""
        self.version = version = abi()
        if not version:
            raise OSError(errno.ENOSYS, "no Landlock in this kernel")
        self._handled = (1 << _FILES_BY_ABI[min(version, 5)]) - 1
        rules = _Ruleset(self._handled, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
        size = 8 if version < 4 else 16 if version < 6 else 24
        self._fd = _call("landlock_create_ruleset", ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint(0))
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "Landlock takes no rules")

    def add(self, read: Iterable[str] = (), change: Iterable[str] = ()) -> None:
        """Paths that do not exist are left out."""
        for rights, paths in ((_READ, read), (_CHANGE, change)):
            for path in paths:
                with contextlib.suppress(FileNotFoundError, PermissionError):  # what cannot be reached needs no rule
                    _grant(self._fd, path, rights & self._handled)

    def enforce(self) -> int:
        """Put them in force for good; returns the ABI. Raises OSError. Needs no_new_privs."""
        try:
            if _call("landlock_restrict_self", self._fd, ctypes.c_uint(0)) != 0:
                raise OSError(ctypes.get_errno(), "Landlock cannot be enforced")
        finally:
            os.close(self._fd)
        return self.version


def _grant(ruleset: int, path: str, rights: int) -> None:
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(folder).st_mode):
            rights &= _ON_FILES
        rule = _Beneath(rights, folder)
        if _call("landlock_add_rule", ruleset, ctypes.c_int(1), ctypes.byref(rule), ctypes.c_uint(0)) != 0:
            raise OSError(ctypes.get_errno(), f"Landlock takes no rule for {path}")
    finally:
        os.close(folder)
