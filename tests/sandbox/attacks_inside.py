"""Attacks from inside the worker: on the host by its own protocol, on its limits, and on the step that comes next."""

from __future__ import annotations

from tests.sandbox.harness import Case

FRAME = """
import json, os, struct, time
def frame(body):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    data = struct.pack('>I', len(body)) + body
    for fd in range(3, 8):
        try:
            left = memoryview(data)
            while left: left = left[os.write(fd, left):]
        except OSError: pass
def tool(name, *args, number=7, **kwargs):
    return {'type': 'call', 'id': number, 'name': name, 'args': list(args), 'kwargs': kwargs}
"""
_DONE = "{'type': 'done', 'value': '', 'error': '', 'final': True, 'answer': 'forged', 'saved': None}"

_PROTOCOL = (
    Case(
        "done_before_the_end",
        "protocol",
        (FRAME + f"frame({_DONE})\nn = 0\nwhile True: n += 1",),
        "run on after the host took the step for ended",
        recovers=True,
    ),
    Case(
        "done_many_times",
        "protocol",
        (FRAME + f"for n in range(50): frame({_DONE})",),
        "have a forged end taken for that of the next step",
        recovers=True,
    ),
    Case(
        "ready_again",
        "protocol",
        (
            FRAME
            + "frame({'type': 'hello', 'facts': {'level': 'full'}})\nframe({'type': 'ready', 'lost': []})\ntime.sleep(0.2)",
        ),
        "start the session anew from inside",
    ),
    Case(
        "gated_by_frame",
        "protocol",
        (
            FRAME
            + """
for n, name in enumerate(('push_to_hub', 'push_to_hub ', 'PUSH_TO_HUB', 'push_to_hub\\0', '_push_to_hub', 'push\\u200b_to_hub', '__init__', 'run', 'close')):
    frame(tool(name, 'victim/model', number=100 + n, approved=True, __approved__=True, answer={'verdict': 'yes'}))
frame({'type': 'approve', 'approval': 'a1', 'answer': {'verdict': 'yes'}})
frame({'type': 'answer', 'approval': 'a1', 'answer': {'verdict': 'yes'}})
time.sleep(0.3)
""",
        ),
        "do what needs a yes without one",
    ),
    Case(
        "same_id_again",
        "protocol",
        (FRAME + "for n in range(300): frame(tool('push_to_hub', 'victim/model', number=n % 3))\ntime.sleep(0.5)",),
        "slip a gated call in under the id of another",
    ),
    Case(
        "huge_number",
        "protocol",
        (
            FRAME
            + 'frame(b\'{"type":"call","id":1,"name":"search","args":[\' + b\'7\' * 7_900_000 + b\'],"kwargs":{}}\')\ntime.sleep(9)',
        ),
        "hold the host in the conversion of a number of millions of digits",
    ),
    Case(
        "huge_number_many",
        "protocol",
        (
            FRAME
            + 'frame(b\'{"type":"call","id":1,"name":"search","args":[\' + b\',\'.join([b\'7\' * 4000] * 1900) + b\'],"kwargs":{}}\')\ntime.sleep(9)',
        ),
        "hold the host in the conversion of thousands of long numbers",
    ),
    Case(
        "deep_and_wide",
        "protocol",
        (
            FRAME
            + """
frame(b'{"type":"call","id":1,"name":"echo","args":[' + b'[' * 190 + b']' * 190 + b'],"kwargs":{}}')
frame(b'{"type":"call","id":2,"name":"echo","args":[' + b'{"a":' * 100_000 + b'1' + b'}' * 100_000 + b'],"kwargs":{}}')
time.sleep(0.5)
""",
        ),
        "break the host's parser by nesting",
    ),
    Case(
        "wide_objects",
        "protocol",
        (
            FRAME
            + 'frame(b\'{"type":"call","id":1,"name":"echo","args":[\' + b\',\'.join([b\'{}\'] * 2_700_000) + b\'],"kwargs":{}}\')\ntime.sleep(9)',
        ),
        "make the host allocate hundreds of megabytes for one frame of eight",
    ),
    Case(
        "odd_text",
        "protocol",
        (
            FRAME
            + """
for body in (b'{"type":"call","id":1,"name":"echo","args":["\\\\ud800"],"kwargs":{"\\\\ud800":1}}', b'{"type":"call","id":1,"name":"\\\\ud800","args":[],"kwargs":{}}'):
    frame(body)
time.sleep(0.3)
""",
        ),
        "put text into the host that it cannot write down",
    ),
    Case(
        "header_and_silence",
        "protocol",
        (
            "import os, time\nfor fd in range(3, 8):\n    try: os.write(fd, b'\\0\\x40\\0\\0half')\n    except OSError: pass\ntime.sleep(60)",
        ),
        "make the host wait for the rest of a frame",
    ),
    Case(
        "flood_of_frames",
        "protocol",
        (
            FRAME
            + "body = json.dumps(tool('search', 'q')).encode()\ndata = (struct.pack('>I', len(body)) + body) * 500\nwhile True:\n    for fd in range(3, 8):\n        try: os.write(fd, data)\n        except OSError: pass",
        ),
        "fill the host's memory or its threads with calls",
    ),
    Case(
        "flood_of_large_calls",
        "protocol",
        (
            FRAME
            + "import threading\ntext = 'x' * (7 << 20)\ndef go():\n    while True: echo(text)\nfor n in range(30): threading.Thread(target=go, daemon=True).start()\ntime.sleep(60)",
        ),
        "fill the host's memory with arguments and results",
        4,
        recovers=True,
    ),
    Case(
        "channel_closed",
        "protocol",
        ("import os\nfor fd in range(0, 64):\n    try: os.close(fd)\n    except OSError: pass",),
        "leave the host waiting on a closed channel",
    ),
    Case(
        "channel_shut_down",
        "protocol",
        ("import os, socket, time\ns = socket.socket(fileno=os.dup(3))\ns.shutdown(socket.SHUT_RDWR)\ntime.sleep(60)",),
        "leave the host spinning on a channel that was shut down",
    ),
    Case(
        "output_into_the_channel",
        "protocol",
        ("import os\nos.dup2(3, 1); os.dup2(3, 2)\nprint('{}' * 100)\nos.dup2(1, 3)",),
        "confuse output with messages",
    ),
    Case(
        "descriptors_sent",
        "protocol",
        (
            "import array, os, socket, time\ns = socket.socket(fileno=os.dup(3))\nfds = array.array('i', [1] * 200)\nfor n in range(200):\n    try: s.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])\n    except OSError as error: print(error); break\ntime.sleep(0.3)",
        ),
        "fill the host's table of descriptors",
    ),
    Case(
        "worker_taken_over",
        "protocol",
        (
            """
import gc, sys
found = [o for o in gc.get_objects() if type(o).__name__ in ('Worker', 'Tools') and hasattr(o, '__dict__')]
print(len(found), [sorted(vars(o)) for o in found])
for o in found:
    o.open = True
    send = getattr(o, 'send', None) or getattr(o, '_send', None)
    for name in ('push_to_hub', '_push_to_hub', 'eval'):
        try: send({'type': 'call', 'id': 5, 'name': name, 'args': ['victim/model'], 'kwargs': {'approved': True}})
        except Exception as error: print(error)
import time; time.sleep(0.3)
""",
        ),
        "gain a right by reaching the objects of the worker",
    ),
    Case(
        "frames_and_closures",
        "memory-read",
        (
            """
import sys
seen, pending, found = set(), [sys._getframe(), search, sys.modules], []
while pending and len(seen) < 200_000:
    value = pending.pop()
    if id(value) in seen: continue
    seen.add(id(value))
    if isinstance(value, str) and 'hfCAN' + 'ARY' in value: print(value)
    if isinstance(value, dict): pending += list(value.values())
    elif isinstance(value, (list, tuple, set)): pending += list(value)
    else: pending += [getattr(value, name, None) for name in ('f_back', 'f_globals', 'f_locals', '__globals__', '__closure__', 'cell_contents', '__dict__', '__wrapped__')]
print('{0.__globals__} {0.__closure__}'.format(search)[:100_000])
""",
        ),
        "find a secret by walking frames, closures and modules",
        6,
    ),
    Case(
        "token_by_library",
        "import",
        (
            "for name in ('huggingface_hub', 'gradio', 'agent', 'tools', 'app'):\n    try:\n        m = __import__(name); print(name, getattr(m, '__file__', ''))\n    except BaseException as error: print(type(error).__name__)\ntry:\n    import huggingface_hub; print(huggingface_hub.get_token())\nexcept BaseException as error: print(type(error).__name__)",
        ),
        "get a token from the Hub's library",
        6,
    ),
    Case(
        "late_gated_call",
        "protocol",
        (
            "import threading, time\ndef go():\n    time.sleep(0.25)\n    while True:\n        try: late_probe('late')\n        except BaseException: time.sleep(0.01)\nfor n in range(5): threading.Thread(target=go, daemon=True).start()",
        ),
        "call tools while no step runs",
    ),
)

_NEXT_STEP = (
    Case(
        "builtins_replaced",
        "tamper",
        (
            "import builtins, io, json, os, socket, struct, sys, threading\nbad = lambda *a, **k: 1 / 0\nfor m, names in ((json, 'dumps loads'), (os, 'write read getpid'), (socket.socket, 'sendall recv send'), (struct, 'pack'), (builtins, 'exec compile eval len isinstance repr str dict list')):\n    for n in names.split():\n        try: setattr(m, n, bad)\n        except Exception: pass",
        ),
        "leave a session in which no step works",
    ),
    Case(
        "modules_cleared",
        "tamper",
        ("import sys\nsys.modules.clear()\nsys.path.clear()\nsys.stdout = sys.stderr = None\ndel __builtins__",),
        "leave a session in which no step works",
    ),
    Case(
        "trace_and_hooks",
        "tamper",
        (
            "import atexit, gc, sys, threading\ndef forever(*a):\n    while True: pass\nsys.excepthook = sys.unraisablehook = threading.excepthook = forever\natexit.register(forever)\ngc.callbacks.append(lambda *a: None)\nsys.setswitchinterval(1000)\nsys.addaudithook(lambda event, args: forever() if event in ('compile', 'exec') else None)",
        ),
        "catch the next step in a hook for ever",
        recovers=True,
    ),
    Case(
        "settrace_loop",
        "dos",
        ("import sys, threading\ndef forever(*a):\n    while True: pass\nsys.setprofile(forever)\nlen('x')",),
        "run past the limit",
    ),
    Case(
        "reduce_for_ever",
        "dos",
        (
            "class Trap:\n    def __reduce__(self):\n        while True: pass\n    __getstate__ = __reduce_ex__ = lambda self, *a: self.__reduce__()\ntrap = Trap()\nkept_too = 1",
        ),
        "hold the saving of the variables past the limit",
    ),
    Case(
        "loads_for_ever",
        "dos",
        (
            "class Trap:\n    def __reduce__(self): return (exec, ('import time\\nwhile True: time.sleep(1)',))\ntrap = Trap()",
            "import os; os._exit(1)",
        ),
        "hold the loading of the variables past its own five seconds",
        5,
    ),
    Case(
        "repr_for_ever",
        "dos",
        ("class Trap:\n    def __repr__(self):\n        while True: pass\n    __str__ = __repr__\nTrap()",),
        "hold the showing of a value past the limit",
    ),
    Case(
        "error_for_ever",
        "dos",
        (
            "class Trap(Exception):\n    def __str__(self):\n        while True:\n            try:\n                while True: pass\n            except BaseException: pass\nraise Trap",
        ),
        "hold the telling of an error past the limit",
    ),
    Case(
        "del_for_ever",
        "dos",
        (
            "class Trap:\n    def __del__(self):\n        while True:\n            try:\n                while True: pass\n            except BaseException: pass\nx = Trap()\ndel x",
        ),
        "run past the limit in a finalizer",
    ),
    Case(
        "answer_odd",
        "dos",
        ("final_answer(10 ** 100_000)",),
        "break the host by an answer that is too long a number",
    ),
    Case("answer_huge", "dos", ("final_answer(['x' * 100] * 3_000_000)",), "make the host hold a huge answer", 4),
    Case(
        "groups_of_errors",
        "dos",
        (
            "e = ValueError('x' * 1000)\nfor n in range(3000): e = ExceptionGroup('g', [e, ValueError('y' * 1000)])\nraise e",
        ),
        "send an endless traceback",
    ),
    Case(
        "recursion",
        "dos",
        ("import sys\nsys.setrecursionlimit(10 ** 8)\ndef f(): f()\nf()",),
        "take the session along by a stack overflow",
    ),
    Case("source_nested", "dos", ("exec('(' * 100_000 + ')' * 100_000)",), "crash the compiler for good"),
    Case("aborted", "signal", ("import os\nos.abort()",), "take more than its own process along"),
    Case("stopped_itself", "signal", ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",), "hang the step"),
    Case(
        "masked_signals",
        "signal",
        (
            "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nsignal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\ntime.sleep(600)",
        ),
        "outlast its limit with its signals masked",
    ),
    Case(
        "swallowed",
        "dos",
        ("while True:\n    try:\n        while True: pass\n    except BaseException: pass",),
        "outlast its limit by catching the interrupt",
    ),
    Case(
        "asyncio_swallowed",
        "dos",
        (
            "import asyncio\nasync def go():\n    while True:\n        try: await asyncio.sleep(1)\n        except BaseException: pass\nawait asyncio.gather(*(go() for n in range(50)))",
        ),
        "outlast its limit in tasks that cannot be cancelled",
    ),
    Case("regex", "dos", ("import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')",), "hold the interpreter in C code"),
    Case(
        "spin_after_the_step",
        "dos",
        (
            "import threading\ndef f():\n    while True: pass\nfor n in range(20): threading.Thread(target=f, daemon=True).start()",
        ),
        "use the machine while no step runs",
    ),
)

_AMOUNTS = (
    Case(
        "unlinked_files",
        "dos",
        (
            "import os\nb = b'x' * (8 << 20)\nheld = []\nfor n in range(20):\n    f = open(f'f{n}', 'wb'); os.unlink(f'f{n}'); held.append(f)\n    for m in range(14): f.write(b); f.flush()",
        ),
        "hold gigabytes in files that have no name any more",
        6,
    ),
    Case(
        "mapped_unlinked_files",
        "dos",
        (
            "import mmap, os\nheld = []\nfor n in range(20):\n    fd = os.open('m', os.O_CREAT | os.O_RDWR); os.ftruncate(fd, 100 << 20); os.unlink('m')\n    m = mmap.mmap(fd, 100 << 20); os.close(fd); held.append(m)\n    for p in range(0, 100 << 20, 4096): m[p] = 1",
        ),
        "hold gigabytes in mapped files that have no name and no descriptor",
        6,
    ),
    Case(
        "many_files",
        "dos",
        (
            "import os\nfor d in range(100):\n    os.mkdir(f'd{d}')\n    for n in range(1000): os.close(os.open(f'd{d}/{n}', os.O_CREAT | os.O_WRONLY))",
        ),
        "make a hundred thousand files",
        6,
    ),
    Case(
        "sparse_file",
        "dos",
        ("import os\nf = os.open('s', os.O_CREAT | os.O_RDWR)\nos.ftruncate(f, 1 << 42)\nprint('PWNED')",),
        "make a file of terabytes",
    ),
    Case(
        "pipe_memory",
        "dos",
        (
            "import fcntl, os, socket\nheld = []\ntry:\n    for n in range(4000):\n        r, w = os.pipe(); held.append((r, w))\n        os.set_blocking(w, False)\n        try: fcntl.fcntl(w, 1031, 1 << 20)\n        except OSError: pass\n        try:\n            while True: os.write(w, b'x' * 65536)\n        except BlockingIOError: pass\nexcept OSError as error: print(error, len(held))\nfor r, w in held: os.close(r); os.close(w)",
        ),
        "take the kernel's memory by pipes",
    ),
    Case(
        "threads_native",
        "dos",
        (
            "import threading\ndef f():\n    threading.Event().wait()\ntry:\n    for n in range(3000): threading.Thread(target=f, daemon=True).start()\nexcept RuntimeError as error: print(error)",
        ),
        "start thousands of threads",
    ),
    Case(
        "memory_reserved",
        "dos",
        (
            "import mmap\nheld = []\ntry:\n    while True: held.append(mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | 0x4000))\nexcept (OSError, ValueError) as error: print(error)\nb = bytearray(1 << 20)\nwhile True: b += b",
        ),
        "take all memory",
    ),
    Case(
        "memory_by_numpy",
        "dos",
        ("import numpy\nheld = []\nwhile True: held.append(numpy.ones((1000, 1000, 8)))",),
        "take all memory",
        4,
    ),
    Case("output_by_print", "dos", ("while True: print('z' * 5000)",), "print without end"),
    Case(
        "output_by_stderr",
        "dos",
        ("import os\nwhile True: os.write(2, b'\\xff\\x00\\x1b[2J' * 9000)",),
        "print without end, and no text at that",
    ),
    Case(
        "output_after_the_step",
        "dos",
        (
            "import os, threading\ndef f():\n    while True: os.write(1, b'late' * 9000)\nthreading.Thread(target=f, daemon=True).start()",
        ),
        "print while no step runs",
        recovers=True,
    ),
)

INSIDE: tuple[Case, ...] = (*_PROTOCOL, *_NEXT_STEP, *_AMOUNTS)
