"""System call numbers of the two machines that the cage knows. Standard library only.

Written as name=x86-64,aarch64; "-" where a machine does not have the call.
"""

from __future__ import annotations

import platform

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # as the kernel names them to a filter


def _table(text: str) -> dict[str, tuple[int | None, int | None]]:
    rows = (row.replace("=", ",").split(",") for row in text.split())
    return {name: (_number(x86), _number(arm)) for name, x86, arm in rows}


def _number(text: str) -> int | None:
    return None if text == "-" else int(text)


# reading and writing what is open, and what is known of files: free, since Landlock does not judge it either
FILES = _table(
    """
    read=0,63 write=1,64 readv=19,65 writev=20,66 pread64=17,67 pwrite64=18,68 preadv=295,69 pwritev=296,70
    preadv2=327,286 pwritev2=328,287 lseek=8,62 close=3,57 close_range=436,436 fstat=5,80 newfstatat=262,79 stat=4,-
    lstat=6,- statx=332,291 access=21,- faccessat=269,48 faccessat2=439,439 readlink=89,- readlinkat=267,78
    getcwd=79,17 chdir=80,49 fchdir=81,50 getdents=78,- getdents64=217,61 statfs=137,43 fstatfs=138,44 fsync=74,82
    fdatasync=75,83 sync_file_range=277,84 ftruncate=77,46 fallocate=285,47 flock=73,32 fadvise64=221,223
    umask=95,166 sendfile=40,71 copy_file_range=326,285 poll=7,- ppoll=271,73 select=23,- pselect6=270,72
    epoll_create=213,- epoll_create1=291,20 epoll_ctl=233,21 epoll_wait=232,- epoll_pwait=281,22
    epoll_pwait2=441,441 eventfd=284,- eventfd2=290,19 pipe=22,- pipe2=293,59 dup=32,23 dup2=33,- dup3=292,24
    timerfd_create=283,85 timerfd_settime=286,86 timerfd_gettime=287,87 recvfrom=45,207 recvmsg=47,212
    shutdown=48,210 getsockopt=55,209 getsockname=51,204 getpeername=52,205
    """
)

# opening and changing files by path: judged by Landlock, or by the broker
PATHS = _table(
    """
    open=2,- openat=257,56 creat=85,- mkdir=83,- mkdirat=258,34 rmdir=84,- unlink=87,- unlinkat=263,35 rename=82,-
    renameat=264,38 renameat2=316,276 truncate=76,45
    """
)

# memory, threads, signals to itself, clocks, and what it may know of itself
PROCESS = _table(
    """
    mmap=9,222 munmap=11,215 mremap=25,216 mprotect=10,226 madvise=28,233 brk=12,214 msync=26,227
    membarrier=324,283 futex=202,98 futex_wait=455,455 futex_wake=454,454 futex_requeue=456,456 futex_waitv=449,449
    set_robust_list=273,99 rseq=334,293 set_tid_address=218,96 sched_yield=24,124
    sched_getaffinity=204,123 sched_getparam=143,121 sched_getscheduler=145,120 sched_get_priority_max=146,125
    sched_get_priority_min=147,126 getpriority=140,141 getcpu=309,168 exit=60,93 exit_group=231,94
    restart_syscall=219,128 wait4=61,260 waitid=247,95 rt_sigaction=13,134 rt_sigprocmask=14,135 rt_sigreturn=15,139
    rt_sigsuspend=130,133 rt_sigtimedwait=128,137 rt_sigpending=127,136 sigaltstack=131,132 signalfd4=289,74
    pause=34,- alarm=37,- setitimer=38,103 getitimer=36,102 clock_gettime=228,113 clock_getres=229,114
    clock_nanosleep=230,115 nanosleep=35,101 gettimeofday=96,169 time=201,- times=100,153 getrusage=98,165
    getrlimit=97,163 sysinfo=99,179 uname=63,160 getrandom=318,278 getpid=39,172 gettid=186,178 getppid=110,173
    getpgrp=111,- getpgid=121,155 getsid=124,156 getuid=102,174 geteuid=107,175 getgid=104,176 getegid=108,177
    getresuid=118,148 getresgid=120,150 getgroups=115,158 capget=125,90
    """
)

# Landlock does not judge these: they succeed and do nothing, so that copying and unpacking work
PRETENDED = _table(
    """
    chmod=90,- fchmod=91,52 fchmodat=268,53 fchmodat2=452,452 chown=92,- fchown=93,55 lchown=94,- fchownat=260,54
    utime=132,- utimes=235,- futimesat=261,- utimensat=280,88
    """
)

# no file system has them, for all the code can tell
XATTRS = _table(
    """
    setxattr=188,5 lsetxattr=189,6 fsetxattr=190,7 getxattr=191,8 lgetxattr=192,9 fgetxattr=193,10 listxattr=194,11
    llistxattr=195,12 flistxattr=196,13 removexattr=197,14 lremovexattr=198,15 fremovexattr=199,16
    """
)

# allowed with certain arguments
JUDGED = _table(
    """
    setpriority=141,140 kill=62,129 tgkill=234,131 clone=56,220 clone3=435,435 fcntl=72,25 ioctl=16,29 prctl=157,167 prlimit64=302,261
    socketpair=53,199 sendto=44,206 sendmsg=46,211
    """
)

# what confinement itself needs
OWN = _table(
    """
    seccomp=317,277 capset=126,91 landlock_create_ruleset=444,444 landlock_add_rule=445,445
    landlock_restrict_self=446,446
    """
)

# what the self-test tries, besides what Python offers
REFUSED = _table(
    """
    unshare=272,97 setns=308,268 mount=165,40 chroot=161,51 io_uring_setup=425,425 process_vm_readv=310,270
    pidfd_getfd=438,438 memfd_create=319,279 shmget=29,194 bpf=321,280 keyctl=250,219
    """
)

_COLUMN = {"x86_64": 0, "aarch64": 1}.get(platform.machine())
_ALL = FILES | PATHS | PROCESS | PRETENDED | XATTRS | JUDGED | OWN | REFUSED


def known_machine() -> bool:
    return _COLUMN is not None


def number(name: str) -> int | None:
    """Of a call on this machine; None where it does not exist. Raises KeyError for a call that is in no table."""
    return None if _COLUMN is None else _ALL[name][_COLUMN]
