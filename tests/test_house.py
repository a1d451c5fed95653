"""The house as it was designed: rooms import downward, in no circle, and stay small."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import bench
import bench.testing

ROOT = Path(__file__).parent.parent
FLOORS = (
    {"system"},
    {"accounting", "metrics", "data", "models", "records"},
    {"methods", "evaluation", "tiny", "analysis"},
    {"suite", "testing", "report"},
    {"execution", "publish"},
    {"cli"},
)
"""An import goes from a floor to a lower one. The package itself opens doors to any room, late."""
FROM_RECORDS_ALONE = ("analysis", "report", "publish")
BEHIND_RECORDS = {"suite", "methods", "models", "data", "evaluation", "execution", "tiny"}
FORBIDDEN = ("trl.", "peft.tuners.")
MOST_LINES, CORE_LINES = 300, 25_340
Import = tuple[str, str, int]
"""The module that imports, the module that it imports, and the line."""


def _module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_module(file): file for file in sorted((ROOT / "bench").rglob("*.py"))}


def _imports(file: Path, tree: ast.AST) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((_module(file), alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                target = whole if whole in MODULES else node.module
                yield _module(file), target, node.lineno


def _all(files: list[Path]) -> list[Import]:
    return [one for file in files for one in _imports(file, ast.parse(file.read_text()))]


def _room(module: str) -> str:
    return (module.split(".") + [""])[1]


def _between_rooms() -> list[Import]:
    found = [one for one in _all(list(MODULES.values())) if one[1].split(".")[0] == "bench"]
    return [one for one in found if _room(one[0]) and _room(one[0]) != _room(one[1])]


def _shown(found: list[Import]) -> str:
    return "\n".join(f"{module}, line {line}: imports {target}" for module, target, line in found)


def test_every_import_goes_down() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    assert {_room(module) for module in MODULES} - {""} == floor.keys()
    up = [one for one in _between_rooms() if floor[_room(one[0])] <= floor.get(_room(one[1]), 99)]
    assert not up, _shown(up)


def test_what_is_made_from_records_needs_nothing_else() -> None:
    wrong = [
        one
        for one in _between_rooms()
        if _room(one[0]) in FROM_RECORDS_ALONE and _room(one[1]) in BEHIND_RECORDS
    ]
    assert not wrong, _shown(wrong)


def test_modules_import_in_no_circle() -> None:
    """Not even for a type."""
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for module, target, _ in _all(list(MODULES.values())):
        if target in MODULES and target not in (module, "bench"):
            graph[module].add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_only_the_commands_and_the_kit_know_tiny() -> None:
    wrong = [
        one
        for one in _between_rooms()
        if _room(one[1]) == "tiny" and not one[0].startswith(("bench.testing", "bench.cli.tiny"))
    ]
    assert not wrong, _shown(wrong)


def test_the_core_needs_no_library_of_a_plugin() -> None:
    wrong = [one for one in _all(list(MODULES.values())) if f"{one[1]}.".startswith(FORBIDDEN)]
    assert not wrong, _shown(wrong)


@pytest.mark.parametrize("plugin", sorted(p.name for p in (ROOT / "plugins").iterdir()))
def test_a_plugin_imports_the_public_names_alone(plugin: str) -> None:
    public = {"bench": set(bench.__all__), "bench.testing": set(bench.testing.__all__)}
    wrong = []
    for file in (ROOT / "plugins" / plugin).glob("bench_*/**/*.py"):
        own = file.relative_to(ROOT / "plugins" / plugin).parts[0]
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [(alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [(node.module, alias.name) for alias in node.names]
            else:
                continue
            for module, name in names:
                top = module.split(".")[0]
                foreign = top.startswith("bench_") and top != own
                hidden = top == "bench" and name not in public.get(module, ())
                if foreign or hidden:
                    wrong.append((_module(file), f"{module} {name}".strip(), node.lineno))
    assert not wrong, _shown(wrong)


def test_no_file_is_long() -> None:
    files = [*MODULES.values(), *(ROOT / "plugins").glob("*/bench_*/**/*.py")]
    lengths = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in files}
    assert not {name: n for name, n in lengths.items() if n > MOST_LINES}


def test_the_core_is_small() -> None:
    own = [file for module, file in MODULES.items() if _room(module) != "tiny"]
    assert sum(len(file.read_text().splitlines()) for file in own) <= CORE_LINES
