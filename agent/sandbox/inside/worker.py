"""The child process that runs generated code: plain CPython, one step at a time. Standard library only.

The main thread runs the steps, so that Ctrl-C reaches the code; one thread reads what the host sends. What the code
prints goes straight to the pipe on descriptors 1 and 2, so that Python, C and subprocesses keep their order.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import itertools
import json
import os
import select
import signal
import socket
import sys
import tempfile
import threading
import traceback
import types
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NoReturn

from . import confine
from .broker import Link
from .plain import plain
from .protocol import FROM_WORKER, HEADER, pack
from .snapshot import Snapshot

_VALUE = "__value__"  # holds the value of a step's last expression for a moment
_ANSWER_BYTES = 1 << 20
_OURS = os.path.dirname(os.path.abspath(__file__))


class ToolError(Exception):
    """A tool could not do what was asked: what is wrong, and what to do."""


class ToolRefused(ToolError):
    """The user, or the policy in the user's name, said no."""


class FinalAnswer(SystemExit):
    """Ends the step. A SystemExit, so that threads end silently and asyncio lets it through."""


ToolError.__module__ = ToolRefused.__module__ = FinalAnswer.__module__ = "__main__"


class Tools:
    """The host's tools as functions. Calls from several threads travel side by side, told apart by their id."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self.open = False  # only a running step may call
        self._send = send
        self._ids = itertools.count(1)
        self._waiting: dict[int, SimpleQueue[dict[str, Any]]] = {}
        self._pid = os.getpid()

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if os.getpid() != self._pid:
            raise ToolError("Tools cannot be called from a forked process. Call them from threads.")
        if not self.open:
            raise ToolError(
                f"{name} was called by a thread after its step had ended. Join threads before the step ends."
            )
        number, result = next(self._ids), SimpleQueue[dict[str, Any]]()
        self._waiting[number] = result
        try:
            self._send({"type": "call", "id": number, "name": name, "args": plain(args), "kwargs": plain(kwargs)})
            answer = result.get()
        finally:
            self._waiting.pop(number, None)
        if answer["ok"]:
            return _read_result(answer["file"]) if "file" in answer else answer["value"]
        raise (ToolRefused if answer["kind"] == "refused" else ToolError)(answer["message"])

    def answered(self, answer: dict[str, Any]) -> None:
        """Hand a result to the thread that waits for it; nobody waits any more after an interrupt."""
        if result := self._waiting.get(answer["id"]):
            result.put(answer)

    def function(self, name: str, signature: str, doc: str) -> Callable[..., Any]:
        def tool(*args: Any, **kwargs: Any) -> Any:
            return self.call(name, args, kwargs)

        shape: dict[str, Any] = {}
        try:  # annotations stay text; help() and inspect.signature follow __wrapped__
            exec(f"from __future__ import annotations\ndef {name}{signature}: ...", shape)  # noqa: S102  # checked by the host
            tool.__wrapped__ = shape[name]  # type: ignore[attr-defined]
        except Exception:
            tool.__wrapped__ = None  # type: ignore[attr-defined]
        tool.__name__ = tool.__qualname__ = name
        tool.__module__, tool.__doc__ = "__main__", doc
        return tool


class Worker:
    def __init__(self, sock: socket.socket, start: dict[str, Any]) -> None:
        self._sock = sock
        self._sending = threading.Lock()
        self._main = threading.get_ident()
        self._pid = os.getpid()
        self._interruptible = False  # Ctrl-C may be raised in the main thread: generated code runs there
        self._shielded = False  # ... but not while it writes a frame
        self._steps: SimpleQueue[str] = SimpleQueue()
        self._answer: tuple[Any] | None = None
        self._text_chars = int(start["text_chars"])
        self._tools = Tools(self.send)
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        self._names = module.__dict__
        given = {tool["name"]: self._tools.function(**tool) for tool in start["tools"]}
        given |= {"final_answer": self._final_answer(), "ToolError": ToolError, "ToolRefused": ToolRefused}
        self._names.update(given)
        self._snapshot = Snapshot(os.path.join(start["folder"], "state"), self._names, given)

    # --- what the host hears and says -------------------------------------------------------------

    def send(self, message: dict[str, Any]) -> None:
        frame = pack(message, FROM_WORKER)
        in_main = threading.get_ident() == self._main
        if in_main:
            self._shielded = True
        try:
            with self._sending:
                self._sock.sendall(frame)
        finally:
            if in_main:
                self._shielded = False

    def listen(self) -> NoReturn:
        """Take what the host sends, for as long as there is a host."""
        frames = self._sock.makefile("rb")
        while message := read_frame(frames):
            if message["type"] == "run":
                self._steps.put(message["code"])
            else:
                self._tools.answered(message)
        os._exit(0)

    def serve(self, restore: int | None) -> NoReturn:
        lost = {} if restore is None else self._snapshot.restore(restore)
        self.send({"type": "ready", "lost": [{"name": name, "why": why} for name, why in lost.items()]})
        threading.Thread(target=self.listen, name="host", daemon=True).start()
        while True:
            done = self.step(self._steps.get())
            if os.getpid() != self._pid:  # the code forked, and this is the child at the end of its script
                os._exit(0)
            try:
                self.send(done)
            except OSError:  # the code has closed the socket
                os._exit(1)

    # --- a step -----------------------------------------------------------------------------------

    def step(self, code: str) -> dict[str, Any]:
        self._answer = None
        self._own_streams()
        signal.signal(signal.SIGINT, self._on_interrupt)
        self._tools.open = True
        name = self._snapshot.opened(code)
        shown = ""

        def work() -> None:
            nonlocal shown
            shown = self._execute(code, name)

        problem = self._guarded(work)
        self._tools.open = False
        self._guarded(lambda: self._snapshot.closed(name, code))
        saved: list[int] = []
        unsaved = self._guarded(lambda: saved.append(self._snapshot.save()))
        if unsaved and not isinstance(unsaved, KeyboardInterrupt):  # an interrupt keeps the save before
            print(f"The variables could not be saved; a restart brings older ones back: {unsaved!r}", file=sys.stderr)
        for stream in (sys.stdout, sys.stderr):
            self._guarded(stream.flush)
        if isinstance(problem, FinalAnswer) or (problem is None and self._answer):
            error = ""
        else:
            error = "" if problem is None else cut(explain(problem), self._text_chars)
        final = self._answer if not error else None
        return {
            "type": "done",
            "value": cut(shown, self._text_chars),
            "error": error,
            "final": final is not None,
            "answer": final[0] if final else None,
            "saved": saved[0] if saved else None,
        }

    def rehearse(self, code: str) -> None:
        """A step without its ends: nothing is said, and what would be saved goes nowhere."""
        self._own_streams()
        name = self._snapshot.opened(code)
        self._guarded(lambda: self._execute(code, name))
        self._snapshot.closed(name, code)
        self._snapshot.write(io.BytesIO())

    def _execute(self, code: str, name: str) -> str:
        """Run the code in __main__; returns the repr of its last expression, "" for None. Top-level await works."""
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        tree = compile(code, name, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        if tree.body and isinstance(last := tree.body[-1], ast.Expr):
            target = ast.copy_location(ast.Name(_VALUE, ast.Store()), last)
            tree.body[-1] = ast.copy_location(ast.Assign([target], last.value), last)
        program = compile(tree, name, "exec", flags, dont_inherit=True)
        if program.co_flags & 0x80:  # CO_COROUTINE: there is an await outside of functions
            import asyncio

            asyncio.run(eval(program, self._names))  # noqa: S307  # what this process is for
        else:
            exec(program, self._names)  # noqa: S102
        value = self._names.pop(_VALUE, None)
        return "" if value is None else repr(value)

    def _guarded(self, work: Callable[[], object]) -> BaseException | None:
        """Run work, open to Ctrl-C; returns what it raised."""
        try:
            try:
                self._interruptible = True
                work()
            finally:
                self._interruptible = False
        except BaseException as error:
            self._interruptible = False
            return error
        return None

    def _on_interrupt(self, _signal: int, _frame: object) -> None:
        if self._interruptible and not self._shielded:
            raise KeyboardInterrupt

    def _final_answer(self) -> Callable[[Any], NoReturn]:
        def final_answer(answer: Any = None) -> NoReturn:
            """Give the final answer of the whole task; the step ends here."""
            try:
                value = plain(answer)
            except TypeError:
                value = plain(str(answer))
            try:
                pack({"answer": value}, _ANSWER_BYTES)
            except ValueError:
                raise ValueError("An answer is at most 1 MB. Write it to a file and answer with its name.") from None
            self._answer = (value,)
            raise FinalAnswer

        final_answer.__module__, final_answer.__qualname__ = "__main__", "final_answer"
        return final_answer

    def _own_streams(self) -> None:
        """Each step begins with working streams, whatever the one before did to them."""
        for name, fd in (("stdout", 1), ("stderr", 2)):
            raw = io.FileIO(fd, "w", closefd=False)  # unbuffered: what is printed is told at once
            stream = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def explain(error: BaseException) -> str:
    """The traceback as CPython prints it, without the frames of this folder."""
    if isinstance(error, SystemExit):
        return f"SystemExit: {error.code}\nexit() ends this step only. To finish the task, call final_answer."
    told = traceback.TracebackException.from_exception(error)
    pending: list[traceback.TracebackException | None] = [told]
    while pending:
        if (part := pending.pop()) is None:
            continue
        frames = [frame for frame in part.stack or () if os.path.dirname(frame.filename) != _OURS]
        part.stack = traceback.StackSummary.from_list(frames) if frames else None  # type: ignore[assignment]
        pending += [part.__cause__, part.__context__, *(getattr(part, "exceptions", None) or ())]
    return "".join(told.format())


def cut(text: str, chars: int) -> str:
    """Keep both ends of a text that is too long; lone surrogates, which no JSON parser takes, become \\ud800."""
    if len(text) > chars:
        text = f"{text[: chars // 2]}\n... {len(text) - chars:,} characters left out ...\n{text[-(chars // 2) :]}"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _read_result(path: str) -> Any:
    """A result that is too large for a message."""
    with open(path, encoding="ascii") as file:
        return json.load(file)


def read_frame(frames: Any) -> dict[str, Any] | None:
    """The next message of the host; None when the host is gone."""
    header = frames.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (length,) = HEADER.unpack(header)
    body = frames.read(length)
    return dict(json.loads(body)) if len(body) == length else None


def no_input(_prompt: object = "", /) -> NoReturn:
    raise RuntimeError(
        "input() has nobody to ask: no one types here. Put the value into the code, or call a tool that asks."
    )


def main(fd: int, broker: int | None) -> NoReturn:
    """The life of a worker, in a fresh fork. fd: the host. broker: who opens files, at the level that needs one."""
    try:
        _live(fd, broker)
    except BaseException as error:  # nothing of the zygote may run on in it
        with contextlib.suppress(OSError):
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)


def _warm(sock: socket.socket) -> None:
    """Run a step that is nobody's and leaves nothing: the pages that every step writes to are then its own."""
    tool = {"name": "tool", "signature": "(a: int = 1) -> str", "doc": ""}
    worker, code = Worker(sock, {"text_chars": 1, "tools": [tool], "folder": ""}), "x = 1"
    worker.rehearse(code)
    threading.Thread(target=int).start()
    pack({"type": "done", "value": ""}, FROM_WORKER)


def _prepare(level: str, limits: dict[str, Any], broker: int | None) -> tuple[dict[str, Any], confine.Walls]:
    """All that needs no session. What this touches is then the worker's own memory, and no page fault of its start."""
    tempfile.tempdir = None
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # else all forks draw the same numbers
    builtins.input = no_input
    sys.argv, sys.dont_write_bytecode = [""], True
    facts = confine.limit(level, limits["memory_bytes"], limits["file_bytes"])
    return facts, confine.Walls(level, Link(broker) if broker else None)


def _live(fd: int, broker: int | None) -> NoReturn:
    sock = socket.socket(fileno=fd)
    frames = sock.makefile("rb", buffering=0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # until the first step
    prepare = read_frame(frames) or os._exit(0)
    facts, walls = _prepare(prepare["level"], prepare, broker)
    if not select.select([sock], [], [], 0)[0]:  # nobody waits for it yet
        _warm(sock)
    start = read_frame(frames) or os._exit(0)  # here it may wait, for a session that is not there yet
    os.chdir(os.path.join(start["folder"], "work"))
    os.environ.clear()
    os.environ.update(start["environment"])
    sys.path.insert(0, os.getcwd())
    facts |= walls.close(start["folder"])
    worker = Worker(sock, start)
    if prepare["level"] != "unsafe":
        confine.step_back()
    worker.send({"type": "hello", "facts": facts})
    worker.serve(start["restore"])
