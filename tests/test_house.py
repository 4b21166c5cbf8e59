"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp  # import-linter's

from tests import ROOT
from tools.jobs.here.words import HERE
from tools.jobs.remote.words import JOBS, SANDBOX, SCHEDULE

LONGEST = 400  # lines of a module: where it usually holds two ideas
LONGEST_TEST = 500
EXCEPTIONS: dict[str, int] = {}  # path -> lines it may have, with the reason beside it
LONGEST_LINE = 200  # characters, of what those who carry on read first
LARGEST = 20  # modules of a folder: what a newcomer takes in at one look
PRODUCT = ("agent", "tools", "ui")
HUB_CLIENTS = ("tools/hub", "tools/jobs/remote")
INSIDE = "agent.sandbox.inside"
PARTICIPLES = {
    "found",
    "said",
    "told",
    "kept",
    "left",
}  # as a name each says that something was done, and not what it is
_JS_NAME = re.compile(r"\b(?:function\*?|class)\s+(\w+)")
_JS_IMPORT = re.compile(r"""(?:^|\s)(?:import|export)\b[^;'"]*?["'](\.[^"']+)["']|\bimport\(["'](\.[^"']+)["']\)""")


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def product(*suffixes: str) -> Iterator[Path]:
    """Modules of the product that are ours."""
    for path in tracked(*PRODUCT):
        if path.suffix in suffixes and "vendor" not in path.parts:
            yield path


def parsed(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text("utf-8")))


def imported(path: Path) -> Iterator[str]:
    """What a Python module imports, wherever in it: "agent.events" for `from agent.events import Entry`."""
    folder = path.relative_to(ROOT).parts[:-1]
    for node in parsed(path):
        match node:
            case ast.Import(names=names):
                yield from (one.name for one in names)
            case ast.ImportFrom(module=module, level=level):
                above = folder[: len(folder) + 1 - level] if level else ()
                yield ".".join((*above, *filter(None, [module])))


def circle(imports: Mapping[str, Set[str]]) -> list[str]:
    """Modules each of which imports the one before it, and the first the last; none if there is no circle."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_is_longer_than_one_idea() -> None:
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for path in tracked("*.py", "*.js", "*.css")
        if "vendor" not in path.parts
    }
    assert {
        name: size
        for name, size in sizes.items()
        if size > EXCEPTIONS.get(name, LONGEST_TEST if name.startswith("tests/") else LONGEST)
    } == {}
    assert {name for name in EXCEPTIONS if sizes.get(name, 0) <= LONGEST} == set(), "exceptions no longer needed"


def test_no_folder_holds_more_modules_than_one_look_takes_in() -> None:
    sizes = Counter(path.parent for path in product(".py", ".js") if path.name != "__init__.py")
    assert {str(folder.relative_to(ROOT)): size for folder, size in sizes.items() if size > LARGEST} == {}


def test_no_modules_import_each_other_in_a_circle() -> None:
    """An import for types alone counts, too."""
    graph = grimp.build_graph(*PRODUCT, cache_dir=None)
    assert {"agent.session", "tools.hub.hub", "ui.page"} <= graph.modules
    assert circle({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}) == []


def test_the_pages_modules_import_each_other_in_no_circle() -> None:
    imports = {
        str(path.relative_to(ROOT)): {
            str((path.parent / (one[1] or one[2])).resolve().relative_to(ROOT))
            for one in _JS_IMPORT.finditer(path.read_text("utf-8"))
        }
        for path in product(".js")
    }
    assert "ui/static/words.js" in imports["ui/static/story/story.js"]
    assert circle(imports) == []


def test_what_runs_in_the_cage_imports_the_standard_library_and_itself_alone() -> None:
    foreign = {
        (path.name, name)
        for path in product(".py")
        if path.is_relative_to(ROOT / INSIDE.replace(".", "/"))
        for name in imported(path)
        if name.partition(".")[0] not in sys.stdlib_module_names and not f"{name}.".startswith(f"{INSIDE}.")
    }
    assert foreign == set()


def test_only_clients_of_the_hub_import_its_library() -> None:
    importers = {
        str(path.parent.relative_to(ROOT))
        for path in product(".py")
        if any(name.partition(".")[0] == "huggingface_hub" for name in imported(path))
    }
    assert importers == set(HUB_CLIENTS)


def test_no_two_classes_bear_one_name() -> None:
    names = Counter(node.name for path in product(".py") for node in parsed(path) if isinstance(node, ast.ClassDef))
    assert [name for name, times in names.items() if times > 1] == []


def test_names_are_nouns_or_say_what_is_done() -> None:
    """A name may end in such a word, as what is in the past may: UserSaid, cancel_told."""
    names = {(path.name, path.stem) for path in product(".py", ".js")}
    for path in product(".py"):
        for node in parsed(path):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add((path.name, node.name))
    for path in product(".js"):
        names |= {(path.name, name) for name in _JS_NAME.findall(path.read_text("utf-8"))}
    first = re.compile(r"_*([A-Z]?[a-z]+)")
    assert {
        (module, name)
        for module, name in names
        if (word := first.match(name)) is not None and word[1].lower() in PARTICIPLES
    } == set()


def test_the_lines_for_those_who_carry_on_are_short_enough_to_be_read() -> None:
    lines = (ROOT / "AGENTS.md").read_text("utf-8").splitlines()
    assert [number for number, line in enumerate(lines, start=1) if len(line) >= LONGEST_LINE] == []


def test_nothing_committed_names_a_package_index_or_a_machine() -> None:
    hosts = re.compile("|".join(("pypi" + r"\.org", "python" + r"hosted\.org", "registry" + r"\.npmjs", "/ro" + "ot/")))
    found = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.suffix not in {".png", ".woff2"} and hosts.search(path.read_text("utf-8", errors="ignore"))
    ]
    assert found == []


def test_everything_that_a_space_installs_is_pinned_exactly() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
        assert all("==" in line for line in lines), name


def test_the_space_runs_the_gradio_that_is_locked() -> None:
    card = (ROOT / "README.md").read_text("utf-8")
    wanted = re.search(r"sdk_version: (\S+)", card)
    locked = re.search(r"^gradio==(\S+)", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE)
    assert wanted
    assert locked
    assert wanted[1] == locked[1]
    assert (
        f"gradio[oauth]=={locked[1]}" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    )


PLACES = {words.name for words in (HERE, JOBS, SANDBOX, SCHEDULE)}
OWNERS = (ROOT / "tools/jobs/here", ROOT / "tools/jobs/remote")  # the places themselves


def compared(node: ast.AST) -> list[ast.expr]:
    """What a comparison or a pattern holds something against."""
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    return [node.value] if isinstance(node, ast.MatchValue) else []


def test_no_screen_and_no_tool_knows_a_place_for_jobs_by_its_name() -> None:
    found = []
    for path in tracked("agent/*.py", "tools/*.py", "ui/*.py"):
        if not any(owner in path.parents for owner in OWNERS):
            nodes = (one for node in ast.walk(ast.parse(path.read_text("utf-8"))) for one in compared(node))
            constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
            found += [f"{path.relative_to(ROOT)}: {value}" for value in constants if value in PLACES]
    names = "|".join(PLACES)
    comparison = re.compile(
        rf"""[!=]==?\s*["'`](?:{names})["'`]|["'`](?:{names})["'`]\s*[!=]==?|case ["'](?:{names})["']"""
    )
    for path in tracked("ui/static/*.js"):
        if "vendor" not in path.parts:
            found += [f"{path.relative_to(ROOT)}: {match}" for match in comparison.findall(path.read_text("utf-8"))]
    assert found == []
