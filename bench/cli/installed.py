"""The state of the installed plugins, without importing one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path

from bench.cli.shown import digest
from bench.system.entry_points import PACKAGE, missing_families

GROUPS = ("bench.methods", "bench.mergers")


def state(*asked: str | bool | None) -> str:
    """A hash of all that decides what the plugins are: each entry point, and each Python file of
    the packages behind them and of bench itself by time and size.
    """
    offered = entry_points()  # reads what every installed package offers, so once
    entries = [entry for group in GROUPS for entry in offered.select(group=group)]
    sources = {id(entry.dist): entry.dist for entry in entries if entry.dist}.values()
    described = [source.metadata for source in sources]  # is parsed at each look
    packages = {entry.module.partition(".")[0] for entry in entries} | {"bench"}
    return digest(
        {
            "asked": asked,
            "python": sys.version,
            "bench": version(PACKAGE),
            "missing": missing_families(),
            "from": sorted((one["Name"], one["Version"]) for one in described),
            "entries": sorted((entry.group, entry.name, entry.value) for entry in entries),
            "files": [list(_files(package)) for package in sorted(packages)],
        }
    )


def _files(package: str) -> Iterator[tuple[str, int, int]]:
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    folders = spec.submodule_search_locations
    found = [Path(spec.origin)] if spec.origin and folders is None else []
    for folder in folders or ():
        found += sorted(Path(folder).rglob("*.py"))
    for file in found:
        there = file.stat()
        yield str(file), there.st_mtime_ns, there.st_size
