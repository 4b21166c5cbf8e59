"""The variables of a session on disk, made and read by the worker alone. Standard library only.

Modules are kept by name, what def, class and lambda made by its source, all else by pickle: one value after another by
one pickler, so that shared references survive and each can fail by itself, or apart when they are too much for that.
There are two files, written by turns, so that one is always whole. Their form: the pickles, one after another, then a
JSON table of contents, then that table's length.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pickle
import pickletools
import signal
import struct
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

from .definitions import Definition, definitions, looked_up, remember_source

EACH = 64 << 20  # bytes of one pickle, at most
IN_ALL = 128 << 20  # twice of it lies on the disk while it is replaced
EARLY = 1 << 20  # bytes of a value that definitions need while they run
SECONDS = 1.0  # for all of a save, about
LOAD_SECONDS = 8.0  # for all of a restore; one value may take half of what is left
_LENGTH = struct.Struct(">Q")


class _TooMuch(BaseException):
    """A pickle outgrew its share of bytes or time. Not an Exception, so that no __reduce__ swallows it."""


@contextlib.contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise _TooMuch in the block when it takes longer. The code's own alarm is put off, not lost."""

    def ring(_signal: int, _frame: object) -> None:
        raise _TooMuch("takes too long")

    before, left = signal.signal(signal.SIGALRM, ring), signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))[0]
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)


class _Bounded:
    """A file that takes so many bytes."""

    def __init__(self, file: Any, most: int) -> None:
        self._file, self._left = file, most

    def write(self, data: Any) -> None:
        self._left -= memoryview(data).nbytes
        if self._left < 0:
            raise _TooMuch("too large to be kept")
        self._file.write(data)


class _Pickler(pickle.Pickler):
    def __init__(self, file: _Bounded, kept: frozenset[str]) -> None:
        super().__init__(file, protocol=5)  # write is all that it needs
        self._kept = kept  # names of __main__ that will be there again when this is loaded

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, types.ModuleType):
            return importlib.import_module, (value.__name__,)
        if getattr(value, "__module__", None) == "__main__":
            name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
            if isinstance(name, str) and name.partition(".")[0] not in self._kept:
                raise pickle.PicklingError(f"{name} has no source of its own to make it again from")
        return NotImplemented


_Hopeless = dict[str, tuple[int, type, str]]  # by name: which value it was, and why it cannot be pickled


class Snapshot:
    def __init__(self, folder: str, names: dict[str, Any], given: dict[str, Any]) -> None:
        """names: the namespace to keep. given: what the worker itself put there, by name."""
        self._files = [os.path.join(folder, f"variables.{slot}") for slot in (0, 1)]
        self._slot = 0  # where the next save goes
        self._log = _Log(os.path.join(folder, "loading"))
        self._names, self._given = names, given
        self._defined: dict[str, Definition] = {}  # in their order
        self._before: dict[str, Any] = {}
        self._hopeless: _Hopeless = {}  # values that cannot be pickled, and why
        self._count = 0

    def opened(self, code: str) -> str:
        """A step begins; returns its file name, by which tracebacks and inspect find its source."""
        self._count += 1
        step = f"<step {self._count}>"
        remember_source(step, code)
        self._before = dict(self._names)
        return step

    def closed(self, step: str, code: str) -> None:
        """Note which functions and classes the step has made."""
        before, self._before = self._before, {}
        for name, definition in definitions(step, code):
            if name not in self._names or (name in before and before[name] is self._names[name]):
                continue
            if definition.made(self._names[name]):
                self._defined.pop(name, None)
                self._defined[name] = definition

    # --- save -----------------------------------------------------------------------------------------

    def save(self) -> int:
        """Write what is there now; about SECONDS at most. Returns the number of the file, which is not the one before."""
        slot = self._slot
        with open(os.open(self._files[slot], os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            self.write(file)
            file.truncate()  # at the end: emptying a file first makes some file systems write at once
        self._slot = 1 - slot
        return slot

    def write(self, file: Any) -> None:
        """Write it at the beginning of a file, which is anything that can be written to and sought in."""
        self._defined = {name: made for name, made in self._defined.items() if self._names.get(name) is made.value}
        modules, values = {}, {}
        for name, value in self._names.items():
            if name.startswith("__") or name in self._defined or (name in self._given and value is self._given[name]):
                continue
            if isinstance(value, types.ModuleType):
                modules[name] = value.__name__
            else:
                values[name] = value
        pickles, lost = _Writer(file, frozenset(self._defined) | frozenset(self._given)).write(
            values, self._attributes(), self._evaluated_by_definitions(), hopeless=self._hopeless
        )
        table = {
            "count": self._count,
            "modules": modules,
            "sources": {made.step: made.source for made in self._defined.values()},
            "definitions": [[name, made.step, made.line, made.column] for name, made in self._defined.items()],
            "pickles": pickles,
            "lost": lost,
        }
        contents = json.dumps(table).encode()
        file.write(contents + _LENGTH.pack(len(contents)))

    def _attributes(self) -> dict[str, Any]:
        """Plain values that lie on own classes and functions, as "Class.attribute": code may have changed them."""
        found = {}
        for name, made in self._defined.items():
            if type(made.value) is type or isinstance(made.value, types.FunctionType):
                for attribute, value in vars(made.value).items():
                    if not attribute.startswith("__") and not hasattr(type(value), "__get__"):
                        found[f"{name}.{attribute}"] = value
        return found

    def _evaluated_by_definitions(self) -> set[str]:
        """Names that are looked up while the definitions run: defaults, decorators, bases, class bodies."""
        return {name for made in self._defined.values() for name in looked_up(made.program)}

    # --- restore --------------------------------------------------------------------------------------

    def restore(self, slot: int) -> dict[str, str]:
        """Load what was saved there into the namespace; returns the names that are not there again, with the reason."""
        self._slot = 1 - slot
        try:
            self._log.open()
            with open(self._files[slot], "rb") as file:
                lost = self._load(file)
            self._log.close()
            return lost
        except Exception as error:
            return {"all variables": f"the saved state cannot be read ({error!r})"[:300]}

    def _load(self, file: Any) -> dict[str, str]:
        end = file.seek(-_LENGTH.size, os.SEEK_END)
        (length,) = _LENGTH.unpack(file.read())
        file.seek(end - length)
        table = json.loads(file.read(length))
        self._count = table["count"]
        lost: dict[str, str] = dict(table["lost"])
        for name, module in table["modules"].items():
            try:
                self._names[name] = importlib.import_module(module)
            except Exception as error:
                lost[name] = f"{module} cannot be imported again: {error}"[:300]
        until = time.monotonic() + LOAD_SECONDS
        early = [part["at"] for part in table["pickles"] if part["early"]]
        self._unpickle(file, early, until)  # a failure shows when the definition that needs it fails
        failed = self._define(table, [name for name, *_ in table["definitions"]], until)
        lost |= self._unpickle(file, [part["at"] for part in table["pickles"] if not part["early"]], until)
        return lost | self._define(table, list(failed), until)

    def _define(self, table: dict[str, Any], wanted: list[str], until: float) -> dict[str, str]:
        """Run definitions again, in their order; returns those that fail, with the reason."""
        failed = {}
        found: dict[tuple[str, int, int, str], Definition] = {}
        for step, source in table["sources"].items():
            remember_source(step, source)
            found |= {(step, made.line, made.column, name): made for name, made in definitions(step, source)}
        for name, step, line, column in table["definitions"]:
            if name not in wanted:
                continue
            definition = found[step, line, column, name]
            try:
                self._log.begins(name)
                with _at_most(_half(until)):
                    exec(definition.program, self._names)  # noqa: S102  # this is the child, made for it
                definition.made(self._names[name])
                self._defined[name] = definition
            except (Exception, _TooMuch) as error:
                failed[name] = f"cannot be defined again: {error!r}"[:300]
        return failed

    def _unpickle(self, file: Any, parts: list[dict[str, int]], until: float) -> dict[str, str]:
        lost: dict[str, str] = {}
        for part in parts:
            reader = _Reader(file, part, until)
            for name in part:
                try:
                    try:
                        self._log.begins(name)
                    except _Fatal:
                        reader.leave_out(name)
                        raise
                    value = reader.read(name)
                except (Exception, _TooMuch) as error:
                    lost[name] = f"cannot be loaded again: {error!r}"[:300]
                    continue
                owner, _, attribute = name.partition(".")
                if not attribute:
                    self._names[name] = value
                elif owner in self._names:
                    setattr(self._names[owner], attribute, value)
        return lost


def _half(until: float) -> float:
    return (until - time.monotonic()) / 2


class _Fatal(Exception):
    """The value has taken the process along before, or held it too long."""


class _Log:
    """Which value is being loaded: in a file, so that the next worker leaves out what has been the end of this one."""

    def __init__(self, path: str) -> None:
        self._path, self._fatal, self._file = path, "", -1

    def open(self) -> None:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        self._fatal = os.pread(self._file, 1000, 0).decode("utf-8", "replace")

    def begins(self, name: str) -> None:
        if name == self._fatal:
            raise _Fatal("the process did not outlive it")
        os.ftruncate(self._file, os.pwrite(self._file, name.encode("utf-8", "replace")[:1000], 0))

    def close(self) -> None:
        os.close(self._file)
        os.unlink(self._path)


class _Reader:
    """Reads what one pickler has written: values that refer to what was met in those before them."""

    def __init__(self, file: Any, at: dict[str, int], until: float) -> None:
        self._file, self._at, self._until = file, at, until
        self._unpickler: Any = pickle.Unpickler(file)  # noqa: S301  # its own, in the child
        self._met: dict[str, int] = {}  # how many objects are met in each value; known once one has failed
        self._missing: dict[int, str] = {}  # numbers of objects that are not there, and in which value they were

    def read(self, name: str) -> Any:
        """The values in their order, each once. Raises what its loading raises, and _TooMuch."""
        with _at_most(_half(self._until)):
            if self._missing:
                self._check(name)
            self._file.seek(self._at[name])
            try:
                return self._unpickler.load()
            except Exception:
                self._go_on_without(name)
                raise
            except _TooMuch:
                self.leave_out(name)
                raise

    def leave_out(self, name: str) -> None:
        """Pass over it."""
        with _at_most(_half(self._until)):
            self._go_on_without(name)

    def _check(self, name: str) -> None:
        """Raise LookupError when the value refers to a missing object."""
        met = 0
        self._file.seek(self._at[name])
        for operation, number, _ in pickletools.genops(self._file):
            met += operation.name == "MEMOIZE"
            if operation.name in ("BINGET", "LONG_BINGET") and number in self._missing:
                self._go_on_without(name)
                raise LookupError(f"it shares something with {self._missing[number]}, which is lost")
        self._met[name] = met

    def _go_on_without(self, name: str) -> None:
        """Have the unpickler count on as if the value had been loaded."""
        before, self._unpickler = self._unpickler, None  # should this not come to its end, nothing more can be read
        first = 0
        for each in self._at:
            if each not in self._met:
                self._file.seek(self._at[each])
                self._met[each] = sum(op.name == "MEMOIZE" for op, _, _ in pickletools.genops(self._file))
            if each == name:
                break
            first += self._met[each]
        there = {number: value for number, value in before.memo.copy().items() if number < first}
        self._file.seek(self._at[name])
        there |= self._plain_parts(first, there, before.find_class)
        self._missing |= dict.fromkeys({*range(first, first + self._met[name])}.difference(there), name)
        self._unpickler = pickle._Unpickler(self._file)  # the one in Python: the one in C does not take a memo
        self._unpickler.memo = there | dict.fromkeys(self._missing)

    def _plain_parts(self, number: int, there: dict[int, Any], find: Callable[[str, str], Any]) -> dict[int, Any]:
        """Of the value that comes next in the file: texts, functions and classes that others may refer to as well."""
        found: dict[int, Any] = {}
        texts: list[str] = ["", ""]
        made: Any = None
        argument: Any
        for operation, argument, _ in pickletools.genops(self._file):
            if operation.name == "MEMOIZE":
                if made is not None:
                    found[number] = made
                number += 1
                continue
            made = argument if isinstance(argument, (str, bytes)) else None
            if operation.name in ("BINGET", "LONG_BINGET"):
                made = found.get(argument, there.get(argument))
            elif operation.name == "STACK_GLOBAL":
                with contextlib.suppress(Exception):
                    made = find(*texts)
            if isinstance(made, str):
                texts = [texts[1], made]
        return found


class _Writer:
    """Writes the pickles of one save and knows where they are."""

    def __init__(self, file: Any, kept: frozenset[str]) -> None:
        self._file, self._kept = file, kept
        self._parts: list[dict[str, Any]] = []
        self._until = time.monotonic() + SECONDS
        self._half = self._until - SECONDS / 2

    def write(
        self, values: dict[str, Any], attributes: dict[str, Any], needed: set[str], *, hopeless: _Hopeless
    ) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """Returns the table of the pickles, and the names left out with the reason. Keeps hopeless up to date."""
        for name in needed & values.keys():
            self._add({name: values[name]}, EARLY, self._until, early=True)
        for name, (identity, kind, _) in list(hopeless.items()):
            if name not in values or id(values[name]) != identity or type(values[name]) is not kind:
                del hopeless[name]
        lost = {name: why for name, (_, _, why) in hopeless.items()}
        wanted = {name: value for name, value in (values | attributes).items() if name not in lost}
        if not self._add(wanted, EACH, self._half):
            return self._parts, lost
        first, start = len(self._parts), self._file.tell()
        for name, value in wanted.items():
            left = IN_ALL - (self._file.tell() - start)
            why = self._add({name: value}, min(EACH, left), min(self._until, time.monotonic() + SECONDS / 4))
            if why and name in values:  # an attribute is there again as its class has it
                lost[name] = why
                hopeless[name] = (id(value), type(value), why)
        good = [name for part in self._parts[first:] for name in part["at"]]
        if not self._add({name: wanted[name] for name in good}, EACH, self._half):
            self._parts[first:-1] = []  # together after all: the single ones are not needed
        return self._parts, lost

    def _add(self, part: dict[str, Any], most: int, until: float, *, early: bool = False) -> str:
        """Pickle values into the file, one by one; returns why that failed, and then nothing of them is there."""
        start, at = self._file.tell(), {}
        try:
            with _at_most(until - time.monotonic()):
                pickler = _Pickler(_Bounded(self._file, most), self._kept)
                for name, value in part.items():
                    at[name] = self._file.tell()
                    pickler.dump(value)
        except (Exception, _TooMuch) as error:
            self._file.seek(start)
            self._file.truncate()
            known = isinstance(error, (_TooMuch, TypeError, AttributeError, pickle.PicklingError))
            return (str(error) if known else repr(error))[:300]
        self._parts.append({"at": at, "early": early})
        return ""
