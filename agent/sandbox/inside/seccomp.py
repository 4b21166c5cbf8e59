"""The system call filter of a worker: what is not on the list fails with EPERM. Standard library only.

A program for the kernel's small virtual machine, made here instruction by instruction and never undone. Each rule
is a test of the call's number with its own return, so no jump is longer than its rule.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import syscalls

_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _ERRNO, _NOTIFY = 0x7FFF0000, 0x00050000, 0x7FC00000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data; each argument has a low and a high word
_X32 = 0x40000000
_SET_MODE_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 1, 8, 32
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2

_THREAD = (0x003D0F00, 0x007D0F00)  # all flags with which glibc and musl make a thread; nothing else is a thread
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)  # no owner, lease or notice: they signal other processes
_IOCTL = (
    0x5401,
    0x5413,
    0x541B,
    0x5421,
    0x5450,
    0x5451,
)  # is it a terminal, how large, bytes to read, blocking, close on exec
_PRCTL = (3, 15, 16, 39, 0x53564D41)  # read dumpable, name of a thread, read no_new_privs, name of a mapping
_ACCESS, _TRUNCATE = 3, 0o1000  # of an open's flags; the same on both machines


class Instruction(NamedTuple):
    code: int
    yes: int  # instructions to skip when a test holds
    no: int
    value: int


class _Words(NamedTuple):
    """A test of one 32-bit word of the arguments: it must be, under the mask, one of the values."""

    argument: int
    values: Sequence[int]
    high: bool = False
    mask: int = 0xFFFFFFFF


def _fail(number: int) -> Instruction:
    return Instruction(_RETURN, 0, 0, _ERRNO | number)


_ALLOWED = Instruction(_RETURN, 0, 0, _ALLOW)


def _null(argument: int) -> list[_Words]:
    return [_Words(argument, (0,)), _Words(argument, (0,), high=True)]


def worker_filter(own_pid: int, truncate: bool) -> list[Instruction]:
    """The list for one worker. truncate: something else judges truncate(path); Landlock does from ABI 3."""
    program = _prologue()
    for name in [*syscalls.FILES, *syscalls.PROCESS, *syscalls.PATHS]:
        if name in ("open", "openat"):
            flags = 1 if name == "open" else 2
            program += _unless(name, _Words(flags, (_TRUNCATE,), mask=_ACCESS | _TRUNCATE))
        elif name != "truncate" or truncate:
            program += _rule(name, [_ALLOWED])
    for name in syscalls.PRETENDED:
        program += _rule(name, [_fail(0)])
    for name in syscalls.XATTRS:
        program += _rule(name, [_fail(errno.ENOTSUP)])
    program += _rule("clone3", [_fail(errno.ENOSYS)])  # glibc then takes clone, whose flags can be read here
    program += _if("clone", [_Words(0, _THREAD)])
    program += _if("kill", [_Words(0, (own_pid,))])
    program += _if("setpriority", [_Words(0, (0,)), _Words(1, (0,)), _Words(2, (19,))])  # the lowest, of itself
    program += _if("tgkill", [_Words(0, (own_pid,))])
    program += _if("fcntl", [_Words(1, _FCNTL)])
    program += _if("ioctl", [_Words(1, _IOCTL)])
    program += _if("prctl", [_Words(0, _PRCTL)])
    program += _if("prlimit64", [_Words(0, (0, own_pid)), *_null(2)])  # reading its own limits
    program += _if("socketpair", [_Words(0, (1,)), _Words(1, (1,), mask=~0x80800 & 0xFFFFFFFF)])  # unix stream
    program += _if("sendto", _null(4))  # to the other end only
    return [*program, _fail(errno.EPERM)]


def path_filter() -> list[Instruction]:
    """Asks the broker for each call that names a file to open or to change; allows all others."""
    program = _prologue()
    for name in syscalls.PATHS:
        program += _rule(name, [Instruction(_RETURN, 0, 0, _NOTIFY)])
    return [*program, _ALLOWED]


def _prologue() -> list[Instruction]:
    """Refuse calls in the number ranges of other machines, then have the number at hand."""
    arch = syscalls.MACHINES[os.uname().machine]
    return [
        Instruction(_LOAD, 0, 0, _ARCH),
        Instruction(_EQUAL, 1, 0, arch),
        _fail(errno.EPERM),
        Instruction(_LOAD, 0, 0, _NUMBER),
        Instruction(_AT_LEAST, 0, 1, _X32),
        _fail(errno.EPERM),
    ]


def _rule(name: str, then: Sequence[Instruction]) -> list[Instruction]:
    """then is to return whatever happens; nothing for a call that this machine does not have."""
    number = syscalls.number(name)
    return [] if number is None else [Instruction(_EQUAL, 0, len(then), number), *then]


def _if(name: str, tests: Iterable[_Words]) -> list[Instruction]:
    """Allow the call when all tests hold."""
    return _rule(name, [*(one for test in tests for one in _require(test)), _ALLOWED])


def _unless(name: str, test: _Words) -> list[Instruction]:
    [value] = test.values
    return _rule(name, [*_load(test), Instruction(_EQUAL, 0, 1, value), _fail(errno.EACCES), _ALLOWED])


def _require(test: _Words) -> list[Instruction]:
    """Go on when the test holds, else fail."""
    last = len(test.values)
    compared = [Instruction(_EQUAL, last - n, 0, value) for n, value in enumerate(test.values)]
    return [*_load(test), *compared, _fail(errno.EPERM)]


def _load(test: _Words) -> list[Instruction]:
    offset = _ARGUMENTS + 8 * test.argument + 4 * test.high
    masked = [] if test.mask == 0xFFFFFFFF else [Instruction(_AND, 0, 0, test.mask)]
    return [Instruction(_LOAD, 0, 0, offset), *masked]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def install(program: Sequence[Instruction], listener: bool = False) -> int:
    """Put the filter on this thread and all that come from it; needs no_new_privs. Raises OSError.

    Returns the descriptor on which a broker hears of the calls, if a listener is asked for.
    """
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    filter = _Program(len(program), code)
    libc = ctypes.CDLL(None, use_errno=True)
    if not listener:
        if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(filter), 0, 0) == 0:
            return -1
        raise OSError(ctypes.get_errno(), f"no system call filter: {os.strerror(ctypes.get_errno())}")
    for flags in (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER):  # kernels before 5.19 do not know the second
        fd = libc.syscall(ctypes.c_long(syscalls.number("seccomp") or 0), _SET_MODE_FILTER, flags, ctypes.byref(filter))
        if fd >= 0:
            return int(fd)
    raise OSError(ctypes.get_errno(), f"no file broker: {os.strerror(ctypes.get_errno())}")
