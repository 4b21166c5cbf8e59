"""Functions and classes of generated code, found again by their source. Standard library only."""

from __future__ import annotations

import ast
import linecache
import types
from collections.abc import Iterator
from typing import Any

_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_OPTIMIZED = 0x1  # CO_OPTIMIZED: set in functions, not in class bodies


class Definition:
    """One def, class or assignment outside of functions that makes a function or a class."""

    def __init__(self, step: str, source: str, node: ast.stmt, *, future: list[ast.stmt]) -> None:
        self.step, self.source, self.line, self.column = step, source, node.lineno, node.col_offset
        self.program: types.CodeType = compile(ast.Module([*future, node], []), step, "exec", _FLAGS, dont_inherit=True)
        self.value: Any = None  # what it made
        self._node = node

    def made(self, value: Any) -> bool:
        """Whether value is what this makes; it is kept if so."""
        match self._node:
            case ast.Assign(value=ast.Lambda()):
                fits = isinstance(value, types.FunctionType)
            case ast.Assign():  # Point = namedtuple(...), T = TypeVar("T")
                fits = type(value).__module__ == "typing" or (
                    isinstance(value, type) and value.__module__ == "__main__"
                )
            case ast.ClassDef():
                fits = True
            case node:  # of two in an if and its else, the one that ran
                lines = {node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))}
                code = getattr(value, "__code__", None)
                fits = code is None or code.co_filename != self.step or code.co_firstlineno in lines
        if fits:
            self.value = value
        return fits


def definitions(step: str, source: str) -> Iterator[tuple[str, Definition]]:
    """All that source may define, by name, in order; nothing when it does not compile."""
    try:
        tree = compile(source, step, "exec", _FLAGS | ast.PyCF_ONLY_AST, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    for node in _statements(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, Definition(step, source, node, future=list(future))
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda() | ast.Call() | ast.Subscript()):
                yield name, Definition(step, source, node, future=list(future))


def _statements(block: ast.AST) -> Iterator[ast.stmt]:
    """Statements outside of functions and classes, those of nested blocks too."""
    for child in ast.iter_child_nodes(block):
        if isinstance(child, ast.stmt):
            yield child
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                continue
        if isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            yield from _statements(child)


def looked_up(program: types.CodeType) -> set[str]:
    """Global names that running the program reads at once, class bodies included."""
    names = set(program.co_names)
    for constant in program.co_consts:
        if isinstance(constant, types.CodeType) and not constant.co_flags & _OPTIMIZED:
            names |= looked_up(constant)
    return names


def remember_source(step: str, source: str) -> None:
    """Let tracebacks and inspect find the source. No modification time: linecache then never looks for a file."""
    lines = [line + "\n" for line in source.splitlines()]
    linecache.cache[step] = (len(source), None, lines, step)
