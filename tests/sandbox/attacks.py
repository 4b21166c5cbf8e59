"""Attacks of our own: what each does, and what must not come of it. Placeholders are filled by the keeper.

Every one is judged by canaries. Most have one step. SYS calls the kernel past the C library, by number.
"""

from __future__ import annotations

from tests.sandbox.attacks_inside import INSIDE
from tests.sandbox.harness import Case

SYS = """
import ctypes, os
_c = ctypes.CDLL(None, use_errno=True)
def call(x86, arm, *args):
    made = _c.syscall(x86 if os.uname().machine == 'x86_64' else arm, *args)
    print(made, os.strerror(ctypes.get_errno()) if made < 0 else '')
    return made
"""
TRY = """
def attempt(*works):
    for work in works:
        try:
            print(work())
        except BaseException as error:
            print(type(error).__name__, str(error)[:200])
"""

_FILES = (
    Case(
        "every_reader",
        "file-read",
        (
            TRY
            + """
import codecs, fileinput, importlib.util, io, linecache, mmap, os, shutil, sqlite3, tokenize, numpy, pathlib, zipfile
path = '@APP_DIR@/secret.env'
def mapped():
    with open(os.open(path, os.O_RDONLY), 'rb') as file: return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)[:]
def sent():
    file = os.open('copy', os.O_CREAT | os.O_RDWR); os.sendfile(file, os.open(path, os.O_RDONLY), 0, 999)
    return os.pread(file, 999, 0)
attempt(lambda: open(path).read(), lambda: io.FileIO(path).read(), lambda: io.open_code(path).read(), mapped, sent,
        lambda: linecache.getlines(path), lambda: codecs.open(path).read(), lambda: list(fileinput.input(path)),
        lambda: numpy.fromfile(path, 'u1').tobytes(), lambda: numpy.memmap(path, 'u1', 'r').tobytes(),
        lambda: pathlib.Path(path).read_bytes(), lambda: open(shutil.copy(path, 'mine')).read(),
        lambda: importlib.util.spec_from_file_location('x', path).loader.get_data(path),
        lambda: sqlite3.connect(f'file:{path}?mode=ro', uri=True).execute('select * from sqlite_master').fetchall(),
        lambda: open(os.path.realpath(path)).read(), lambda: os.read(os.open(path, os.O_PATH), 99))
""",
        ),
        "read a file of the app by any of Python's ways",
    ),
    Case(
        "openat2_and_handles",
        "file-read",
        (
            SYS
            + """
how = (ctypes.c_uint64 * 3)(0, 0, 0)
fd = call(437, 437, -100, b'@APP_DIR@/secret.env', how, 24)
if fd >= 0: print(os.read(fd, 999))
handle = ctypes.create_string_buffer(128); handle[0] = 120
mount = ctypes.c_int()
if call(303, 264, -100, b'@APP_DIR@/secret.env', handle, ctypes.byref(mount), 0) >= 0:
    fd = call(304, 265, -100, handle, 0)
    if fd >= 0: print(os.read(fd, 999))
""",
        ),
        "open by openat2 or by a file handle",
    ),
    Case(
        "proc_of_everyone",
        "file-read",
        (
            TRY
            + """
import os
pids = [@APP_PID@, @OTHER_PID@, os.getppid(), 1, 'self', 'thread-self']
for pid in pids:
    for name in ('environ', 'cmdline', 'maps', 'root@APP_DIR@/secret.env', 'cwd/secret.env', 'cwd/notes.txt', 'task/%s/environ' % pid):
        attempt(lambda: open(f'/proc/{pid}/{name}', 'rb').read()[-4000:])
    attempt(lambda: [open(f'/proc/{pid}/fd/{n}', 'rb', 0).read(100) for n in range(3, 12)])
""",
        ),
        "learn anything from /proc of the app, the zygote or another session",
    ),
    Case(
        "links_to_the_app",
        "file-read",
        (
            TRY
            + """
import os
attempt(lambda: os.link('@APP_DIR@/secret.env', 'hard'), lambda: open('hard').read(),
        lambda: os.symlink('@APP_DIR@', 'dir'), lambda: open('dir/secret.env').read(), lambda: os.listdir('dir'),
        lambda: os.open('secret.env', os.O_RDONLY, dir_fd=os.open('dir', os.O_PATH)),
        lambda: os.rename('@APP_DIR@/secret.env', 'moved'), lambda: open('moved').read(),
        lambda: publish_file('hard'), lambda: publish_file('dir/secret.env'), lambda: publish_file('moved'))
""",
        ),
        "read the app's file by a link, a descriptor or a move, itself or through the host",
    ),
    Case(
        "publish_odd_files",
        "file-read",
        (
            TRY
            + """
import os
attempt(lambda: os.mkfifo('fifo'), lambda: publish_file('fifo'),
        lambda: os.symlink('/dev/zero', 'zero'), lambda: publish_file('zero'), lambda: publish_file('/dev/zero'),
        lambda: os.truncate(os.open('sparse', os.O_CREAT | os.O_RDWR), 200 << 20), lambda: len(publish_file('sparse')),
        lambda: publish_file('.'), lambda: publish_file(''), lambda: publish_file('x' * 5000), lambda: publish_file('a\\0b'),
        lambda: publish_file('//@APP_DIR@/secret.env'), lambda: publish_file('./././../work/../../../app/secret.env'))
""",
        ),
        "make the host hang on a FIFO, fill its memory, or leave the session's folder",
        4,
    ),
    Case(
        "swap_the_session_folders",
        "tamper",
        (
            TRY
            + """
import os
for name in ('work', 'state', 'tmp', 'inbox'):
    attempt(lambda: os.rename(f'../{name}', f'../{name}.old'), lambda: os.symlink('@APP_DIR@', f'../{name}'))
attempt(lambda: publish_file('secret.env'))
""",
            "import os; os._exit(3)",
            "print(open('secret.env').read())",
            "print(publish_file('secret.env'))",
        ),
        "make the host read or write elsewhere by replacing the session's own folders",
    ),
    Case(
        "state_replaced",
        "tamper",
        (
            TRY
            + """
import os, shutil
attempt(lambda: os.listdir('..'), lambda: os.listdir('../state'))
for folder, _, names in os.walk('../state'):
    for name in names:
        attempt(lambda: os.unlink(os.path.join(folder, name)), lambda: os.symlink('@APP_DIR@/app.py', os.path.join(folder, name)))
attempt(lambda: os.makedirs('../state/variables'), lambda: open('../state/variables', 'wb').write(b'cos\\nsystem\\n(V/usr/bin/touch @MARK@\\ntR.'))
""",
            "import os; os._exit(3)",
        ),
        "gain anything by a snapshot put in place of ours, or have one written over the app",
    ),
    Case(
        "state_made_huge",
        "tamper",
        (
            TRY
            + """
import os
for folder in ('.', '../state', '../tmp', '../inbox'):
    for name in ('sparse', *(os.listdir(folder) if os.path.isdir(folder) else ())):
        path = os.path.join(folder, name)
        attempt(lambda: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)), lambda: os.truncate(path, 1 << 42), lambda: os.stat(path).st_size >> 30)
""",
            "import os; os._exit(3)",
        ),
        "make the host read terabytes of a snapshot, or pass the limit on a file's size by its path",
    ),
    Case(
        "inbox_tampered",
        "tamper",
        (
            TRY
            + """
import os
first = big(3_000_000)
print(len(first), os.listdir('../inbox') if os.path.isdir('../inbox') else '')
for name in os.listdir('../inbox') if os.path.isdir('../inbox') else ():
    path = '../inbox/' + name
    attempt(lambda: open(path, 'w').write('x'), lambda: os.unlink(path), lambda: os.rename(path, 'mine'), lambda: os.symlink('@APP_DIR@/app.py', path + '2'))
attempt(lambda: open('../inbox/new', 'w').write('x'), lambda: os.mkdir('../inbox/dir'), lambda: os.rename('../inbox', '../inbox2'), lambda: os.symlink('@APP_DIR@', '../inbox'))
print(len(big(3_000_000)))
""",
        ),
        "change what the host has put there, or have it write elsewhere",
        4,
    ),
    Case(
        "folder_removed",
        "tamper",
        (
            "import os, shutil\nshutil.rmtree(os.getcwd(), ignore_errors=True)\nshutil.rmtree(os.path.dirname(os.getcwd()) if os.path.exists('.') else '..', ignore_errors=True)\nos._exit(1)",
        ),
        "leave the session without a place to work in",
    ),
    Case(
        "elsewhere_in_the_tree",
        "tamper",
        (
            TRY
            + """
import os
attempt(lambda: os.chdir('/'), lambda: os.chdir('@APP_DIR@'), lambda: open('x', 'w').write('x'), lambda: os.chroot('.'),
        lambda: os.mkdir('@HOME@/new'), lambda: open('@OTHER@/work/notes.txt', 'a').write('x'), lambda: os.mkfifo('/tmp/fifo'),
        lambda: os.open('@APP_DIR@', os.O_TMPFILE | os.O_RDWR), lambda: open('/dev/shm/x', 'w').write('x' * 9999),
        lambda: open('/var/tmp/x', 'w').write('x'), lambda: os.utime('@APP_DIR@/app.py', (0, 0)),
        lambda: os.chown('@APP_DIR@/app.py', -1, os.getgid()), lambda: os.setxattr('@APP_DIR@/app.py', 'user.x', b'x'),
        lambda: os.open('@APP_DIR@/app.py', os.O_RDONLY | os.O_TRUNC), lambda: os.chmod('@HOME@', 0o777))
""",
        ),
        "write, truncate, touch or rename anything outside of the session",
    ),
    Case(
        "names_of_others",
        "cross-session",
        (
            TRY
            + """
import glob, os
attempt(lambda: os.listdir('@OTHER@/work'), lambda: glob.glob('@OTHER@/**', recursive=True), lambda: list(os.scandir('../../other/work')),
        lambda: open('@OTHER@/work/notes.txt', errors='replace').read(), lambda: open('/proc/@OTHER_PID@/cwd/notes.txt').read(),
        lambda: [open(p, errors='replace').read() for p in glob.glob('@OTHER@/*/*')])
""",
        ),
        "list or read the files of another session",
    ),
    Case(
        "other_worker",
        "cross-session",
        (
            SYS
            + TRY
            + """
import re
def memory():
    found = set()
    with open('/proc/@OTHER_PID@/maps') as maps, open('/proc/@OTHER_PID@/mem', 'rb', 0) as memory:
        for line in maps:
            if 'rw-p' in line:
                start, end = (int(part, 16) for part in line.split()[0].split('-'))
                try:
                    memory.seek(start); found |= set(re.findall(rb'hfCAN' + rb'ARY[0-9a-f]{24}', memory.read(end - start)))
                except OSError: pass
    return found
attempt(memory, lambda: os.kill(@OTHER_PID@, 9), lambda: call(62, 129, @OTHER_PID@, 9), lambda: call(101, 117, 16, @OTHER_PID@, 0, 0))
""",
        ),
        "read, trace or end another session's worker",
        6,
    ),
)

_PROCESSES = (
    Case(
        "kill_everyone",
        "signal",
        ("import os\ntry: os.kill(-1, 9)\nexcept OSError as error: print(error)",),
        "end whatever its user may end",
    ),
    Case("kill_own_group", "signal", ("import os\nos.killpg(0, 9)",), "take the zygote or the app along"),
    Case(
        "zygote_killed",
        "signal",
        (
            SYS
            + """
for number in (9, 19, 2):
    call(62, 129, os.getppid(), number)
""",
        ),
        "end or stop the process that makes the workers",
    ),
    Case(
        "pidfd",
        "signal",
        (
            SYS
            + """
for pid in (@APP_PID@, @OTHER_PID@, os.getppid()):
    fd = call(434, 434, pid, 0)
    if fd >= 0:
        for number in range(12):
            copy = call(438, 438, fd, number, 0)
            if copy >= 0:
                try: print(os.read(copy, 10))
                except OSError as error: print(error)
        call(424, 424, fd, 15, 0, 0)
""",
        ),
        "take descriptors from the app or signal it by a pidfd",
    ),
    Case(
        "memory_by_syscall",
        "memory-read",
        (
            SYS
            + """
class iovec(ctypes.Structure): _fields_ = [('base', ctypes.c_void_p), ('len', ctypes.c_size_t)]
page = ctypes.create_string_buffer(4096)
for pid in (@APP_PID@, @OTHER_PID@, os.getppid()):
    local, remote = iovec(ctypes.addressof(page), 4096), iovec(id(None) & ~4095, 4096)
    call(310, 270, pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    call(311, 271, pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    for request in (16, 0x4206):
        call(101, 117, request, pid, 0, 0)
    call(312, 272, pid, os.getpid(), 0, 0, 0)
""",
        ),
        "read, write, trace or compare another process",
    ),
    Case(
        "limits_of_the_app",
        "signal",
        (
            SYS
            + """
for limit in (0, 1, 6, 7):
    call(302, 261, @APP_PID@, limit, (ctypes.c_uint64 * 2)(1, 1), None)
call(144, 119, @APP_PID@, 5, (ctypes.c_int * 1)(0))
call(203, 122, @APP_PID@, 8, (ctypes.c_uint64 * 1)(1))
call(251, 30, 1, @APP_PID@, 3 << 13)
call(141, 140, 0, @APP_PID@, 19)
""",
        ),
        "lower the limits or the priority of the app",
    ),
    Case(
        "owner_of_a_socket",
        "signal",
        (
            SYS
            + """
import fcntl, socket, struct
a, b = socket.socketpair()
pid = struct.pack('i', @APP_PID@)
for request in (0x8901, 0x8902):
    try: fcntl.ioctl(a, request, pid)
    except OSError as error: print(error)
for command, value in ((15, struct.pack('ii', 1, @APP_PID@)), (10, 9)):
    try: fcntl.fcntl(a, command, value)
    except OSError as error: print(error)
for fd in (a.fileno(), 3, 1):
    try:
        fcntl.fcntl(fd, 8, @APP_PID@); fcntl.fcntl(fd, 10, 9); fcntl.fcntl(fd, 4, os.O_ASYNC)
    except OSError as error: print(error)
b.send(b'x'); a.send(b'x')
""",
        ),
        "have the kernel signal the app when a socket is ready",
    ),
    Case(
        "every_fork",
        "process",
        (
            SYS
            + TRY
            + """
import multiprocessing, os, pty, subprocess
def child(pid):
    if pid == 0: os._exit(0)
    return pid
attempt(lambda: child(os.fork()), lambda: child(pty.fork()[0]), lambda: os.posix_spawn('/bin/true', ['true'], {}),
        lambda: os.posix_spawnp('true', ['true'], {}), lambda: os.popen('true').read(), lambda: os.spawnv(0, '/bin/true', ['true']),
        lambda: subprocess.check_output('true', shell=True), lambda: multiprocessing.get_context('spawn').Process(target=print).start(),
        lambda: multiprocessing.get_context('forkserver').Process(target=print).start(),
        lambda: child(call(435, 435, (ctypes.c_uint64 * 8)(0, 0, 0, 0, 17, 0, 0, 0), 64)))
""",
        ),
        "start a process by any of Python's ways",
        3,
    ),
    Case(
        "exec_in_place",
        "process",
        (
            "import os\nfor fd in range(3, 8):\n    try: os.set_inheritable(fd, True)  # so that the host does not see it end\n    except OSError: pass\nos.execv('/usr/bin/touch', ['touch', '@MARK@'])",
        ),
        "become another program",
    ),
    Case(
        "exec_from_memory",
        "process",
        (
            SYS
            + TRY
            + """
for fd in range(3, 8):
    try: os.set_inheritable(fd, True)
    except OSError: pass
fd = call(319, 279, b'x', 0)
script = b'#!/bin/sh\\ntouch @MARK@\\n'
if fd >= 0:
    os.write(fd, script)
    argv = (ctypes.c_char_p * 2)(b'x', None)
    call(322, 281, fd, b'', argv, None, 0x1000)
attempt(lambda: open('script', 'wb').write(script), lambda: os.chmod('script', 0o755), lambda: os.execv('script', ['script']),
        lambda: os.execv('/lib64/ld-linux-x86-64.so.2', ['ld', '/usr/bin/touch', '@MARK@']))
""",
        ),
        "run a program from a memory file, its own folder or by the loader",
    ),
    Case(
        "own_machine_code",
        "process",
        (
            """
import ctypes, mmap, os
if os.uname().machine == 'x86_64':
    code = mmap.mmap(-1, 4096, prot=7)
    code.write(bytes.fromhex('b839000000' '0f05' 'c3'))  # fork by a syscall of our own
    made = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
    if made == 0: os._exit(0)
    print(made)
    code.seek(0); code.write(bytes.fromhex('b839000040' '0f05' 'c3'))  # and through the x32 entry
    made = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
    if made == 0: os._exit(0)
    print(made)
""",
        ),
        "fork by machine code of its own, by the 64-bit or the x32 entry",
    ),
    Case(
        "kernel_corners",
        "process",
        (
            SYS
            + """
for numbers in ((323, 282, 0), (321, 280, 0, 0, 0), (298, 241, 0, 0, -1, -1, 0), (250, 219, 0, -3, 0, 0, 0), (248, 217, b'user', b'x', b'y', 1, -3),
                (240, 180, b'q', 0o102, 0o600, 0), (68, 186, 0, 0o1600), (64, 190, 0, 1, 0o1600), (29, 194, 0, 4096, 0o1600),
                (272, 97, 0x10000000), (272, 97, 0x20000), (272, 97, 0x20), (308, 268, 3, 0), (435, 435, 0, 0), (425, 425, 4, 0), (447, 447, 0),
                (444, 444, 0, 0, 1), (446, 446, 3, 0), (428, 428, -100, b'/', 1), (430, 430, b'tmpfs', 0), (157, 167, 22, 1, 0), (317, 277, 0, 0, 0),
                (154, 0, 0, 0, 0), (135, 92, 0x0040000), (324, 283, 1, 0), (323, 282, 1)):
    if numbers[0] not in (157, 317): call(*numbers)
""",
        ),
        "get an object of the kernel that no honest code needs",
    ),
)

_NETWORK = (
    Case(
        "every_client",
        "network",
        (
            TRY
            + """
import asyncio, ctypes, ftplib, http.client, smtplib, socket, ssl, urllib.request, xmlrpc.client
place = ('127.0.0.1', @TCP@)
def bare(kind, where):
    s = socket.socket(socket.AF_INET, kind); s.settimeout(1)
    return s.sendto(b'x', where) if kind == socket.SOCK_DGRAM else s.connect(where)
attempt(lambda: bare(socket.SOCK_STREAM, place), lambda: bare(socket.SOCK_DGRAM, ('127.0.0.1', @UDP@)),
        lambda: http.client.HTTPConnection(*place, timeout=1).request('GET', '/'), lambda: ftplib.FTP().connect(*place, timeout=1),
        lambda: smtplib.SMTP(*place, timeout=1), lambda: xmlrpc.client.ServerProxy('http://%s:%d' % place).f(),
        lambda: socket.getaddrinfo('localhost', 80), lambda: socket.create_connection(('::ffff:127.0.0.1', @TCP@), 1))
""",
            "import asyncio\nasync def go():\n    await asyncio.open_connection('127.0.0.1', @TCP@)\nawait go()",
        ),
        "reach the network by any of Python's ways",
        4,
    ),
    Case(
        "server",
        "network",
        (
            "import socket\nfor kind in (socket.AF_INET, socket.AF_INET6):\n    try:\n        s = socket.socket(kind); s.bind(('', 0)); s.listen(); globals()[f's{kind}'] = s; print('PWNED')\n    except OSError as error: print(error)\ns = socket.socket(socket.AF_UNIX); s.bind('\\0mine'); s.listen(); print('PWNED')",
        ),
        "listen on a port or an abstract name",
    ),
    Case(
        "pair_turned_outward",
        "network",
        (
            TRY
            + """
import ctypes, os, socket
def tries(kind):
    a, b = socket.socketpair(socket.AF_UNIX, kind)
    attempt(lambda: a.connect('@USOCK@d'), lambda: a.connect('@USOCK@'), lambda: a.connect('\\0@ABS@'),
            lambda: a.sendto(b'x', '@USOCK@d'), lambda: a.sendmsg([b'x'], [], 0, '@USOCK@d'), lambda: a.bind('named'))
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET): attempt(lambda: tries(kind))
mine = socket.socket(fileno=os.dup(3))
attempt(lambda: mine.connect('@USOCK@'), lambda: mine.sendmsg([b''], [], 0, '@USOCK@d'))
""",
        ),
        "reach a named socket from a pair of its own or from the channel",
    ),
)

ATTACKS: tuple[Case, ...] = (*_FILES, *_PROCESSES, *_NETWORK, *INSIDE)
