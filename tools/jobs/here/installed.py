"""Packages that are installed with the app, lent to a job: nothing is downloaded that this machine has.

A job gets a Python environment of its own with links to what it asked for and what that needs, and to nothing else: a
script that runs here finds no package that it would miss elsewhere. Where one requirement is not met, uv installs all.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from venv import EnvBuilder

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_INLINE = re.compile(r"^# /// script\s*$", re.MULTILINE)  # PEP 723: the script names packages and a Python itself
_PROGRAM = """\
#!/usr/bin/env python
import sys
from {module} import {name}
sys.exit({call}())
"""


@dataclass(frozen=True)
class Lent:
    """asked: name==version of what the job asked for. links: what each name in its packages folder stands for."""

    asked: tuple[str, ...]
    links: dict[str, Path]
    programs: dict[str, str]  # by name, their text


@dataclass(frozen=True)
class Missing:
    """Why uv installs. what: in words, "accelerate is not installed here"."""

    what: str


def look(requirements: Iterable[str], script: str = "") -> Lent | Missing:
    """Whether the app's own Python has all that these need, to any depth."""
    if _INLINE.search(script):
        return Missing("the script names its packages itself")
    try:
        asked, found = _closure([Requirement(text) for text in requirements])
        links: dict[str, Path] = {}
        for one in found:
            for name, path in _tops(one):
                if links.setdefault(name, path) != path:
                    raise _NotHere(f"two installed packages differ about {name}")
    except _NotHere as why:
        return Missing(str(why))
    except (ValueError, TypeError, KeyError, OSError, csv.Error) as error:  # a strange requirement, a broken package
        return Missing(f"what is installed cannot be told: {str(error).partition(chr(10))[0]}")
    return Lent(tuple(f"{one.name}=={one.version}" for one in asked), links, dict(_programs(found)))


def build(lent: Lent, folder: Path) -> None:
    """Make the environment. It may be moved afterwards: its Python is folder/bin/python, wherever that is by then."""
    EnvBuilder(symlinks=True).create(folder)
    packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for name, path in lent.links.items():
        (packages / name).symlink_to(path)
    for name, text in lent.programs.items():
        program = folder / "bin" / name
        if not program.exists():
            program.write_text(text, encoding="utf-8")
            program.chmod(0o700)


class _NotHere(Exception):
    """Why the installed packages will not do."""


@dataclass(frozen=True)
class _Package:
    """An installed distribution; its metadata is parsed once, as that takes long."""

    name: str
    version: str
    extras: frozenset[str]
    needs: tuple[Requirement, ...]
    at: Distribution


def _closure(requirements: list[Requirement]) -> tuple[list[_Package], list[_Package]]:
    """(those asked for, all that is needed). Raises _NotHere."""
    found: dict[str, _Package] = {}
    seen: set[tuple[str, str]] = set()  # (distribution, extra)
    asked: list[_Package] = []
    left = [(requirement, "", True) for requirement in requirements]
    while left:
        requirement, extra, first = left.pop(0)
        if not _applies(requirement, extra):
            continue
        name = canonicalize_name(requirement.name)
        one = found[name] = found.get(name) or _installed(requirement.name)
        _check(requirement, one)
        if first:
            asked.append(one)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                left += [(needed, wanted, False) for needed in one.needs]
    return asked, list(found.values())


def _applies(requirement: Requirement, extra: str) -> bool:
    try:
        return requirement.marker is None or requirement.marker.evaluate({"extra": extra})
    except UndefinedEnvironmentName as error:
        raise _NotHere(f"{requirement} cannot be read: {error}") from None


def _installed(name: str) -> _Package:
    try:
        one = distribution(name)
        told = one.metadata
        needs = tuple(Requirement(text) for text in one.requires or [])
    except (PackageNotFoundError, ValueError) as error:
        if isinstance(error, InvalidRequirement):
            raise _NotHere(f"what {name} needs cannot be read") from None
        raise _NotHere(f"{name} is not installed here") from None
    if not told["Name"] or not told["Version"]:
        raise _NotHere(f"{name} is not installed as a whole here")
    extras = frozenset(canonicalize_name(extra) for extra in told.get_all("Provides-Extra") or [])
    return _Package(told["Name"], told["Version"], extras, needs, one)


def _check(requirement: Requirement, one: _Package) -> None:
    if requirement.url:
        raise _NotHere(f"{requirement.name} is asked for from an address")
    if not requirement.specifier.contains(one.version, prereleases=True):
        raise _NotHere(f"{requirement.name}=={one.version} is installed here, not {requirement.specifier}")
    if strange := {canonicalize_name(extra) for extra in requirement.extras} - one.extras:
        raise _NotHere(f"the installed {requirement.name} knows no extra {', '.join(sorted(strange))}")


def _tops(one: _Package) -> Iterator[tuple[str, Path]]:
    """What lies of it directly in the folder of packages: modules, libraries beside them, its metadata."""
    record = one.at.read_text("RECORD")  # files would take ten times as long
    if not record or '"editable": true' in (one.at.read_text("direct_url.json") or ""):
        raise _NotHere(f"{one.name} is not installed as a whole here")
    for name in {row[0].partition("/")[0] for row in csv.reader(record.splitlines()) if row}:
        path = Path(str(one.at.locate_file(name)))
        if name not in ("", "..", "__pycache__") and not name.endswith(".pth"):
            if not path.exists():
                raise _NotHere(f"{one.name} is installed here without its {name}")
            yield name, path


def _programs(found: list[_Package]) -> Iterator[tuple[str, str]]:
    for one in found:
        for entry in one.at.entry_points.select(group="console_scripts"):
            module, _, call = entry.value.partition(":")
            if re.fullmatch(r"[\w.-]+", entry.name) and re.fullmatch(r"[\w.]+:[\w.]+", f"{module}:{call}"):
                yield entry.name, _PROGRAM.format(module=module, name=call.partition(".")[0], call=call)
