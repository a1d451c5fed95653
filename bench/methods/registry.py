"""Plugins, found through entry points: methods under `bench.methods`, mergers under
`bench.mergers`.

A broken one is told, and hurts nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from bench.data.formats import Format
from bench.errors import Skipped, UserError, nearest
from bench.methods.method import Merger, Method

METHODS, MERGERS = "bench.methods", "bench.mergers"
Kind = TypeVar("Kind", Method, Merger)


@dataclass(frozen=True)
class Plugin(Generic[Kind]):
    """One entry point: a method or merger, or the reason why there is none."""

    name: str
    package: str
    version: str
    method: type[Kind] | None
    problem: str | None = None

    @property
    def origin(self) -> str:
        return f"{self.package} {self.version}"


@cache
def plugins() -> dict[str, Plugin[Method]]:
    """Every method that is installed, by name."""
    return _installed(METHODS, Method)


@cache
def mergers() -> dict[str, Plugin[Merger]]:
    """Every merger that is installed, by name."""
    return _installed(MERGERS, Merger)


def find(name: str) -> Plugin[Method]:
    """The method of that name; a `UserError` with the nearest right word when there is none."""
    return _find(name, plugins(), "method")


def find_merger(name: str) -> Plugin[Merger]:
    """The merger of that name; a `UserError` with the nearest right word when there is none."""
    return _find(name, mergers(), "merger")


def usable(name: str) -> type[Method]:
    """The class of a method; `Skipped` where its plugin cannot be used."""
    return _usable(find(name))


def usable_merger(name: str) -> type[Merger]:
    """The class of a merger; `Skipped` where its plugin cannot be used."""
    return _usable(find_merger(name))


def _find(name: str, found: dict[str, Plugin[Kind]], word: str) -> Plugin[Kind]:
    if name not in found:
        raise UserError(
            f"there is no {word} {name}{nearest(name, found)} (bench methods lists them)"
        )
    return found[name]


def _usable(plugin: Plugin[Kind]) -> type[Kind]:
    if plugin.method is None:
        raise Skipped(f"{plugin.name} of {plugin.origin} cannot be used: {plugin.problem}")
    return plugin.method


def _installed(group: str, kind: type[Kind]) -> dict[str, Plugin[Kind]]:
    found: dict[str, Plugin[Kind]] = {}
    for entry in sorted(entry_points(group=group), key=lambda e: (e.name, _package(e))):
        plugin = _load(entry, kind)
        twin = found.get(entry.name)
        if twin is not None and twin.package != plugin.package:
            plugin = Plugin(
                entry.name,
                plugin.package,
                plugin.version,
                None,
                f"{twin.package} and {plugin.package} both offer {entry.name}",
            )
        found[entry.name] = plugin
    return found


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown package"


def _load(entry: EntryPoint, kind: type[Kind]) -> Plugin[Kind]:
    version = entry.dist.version if entry.dist else "?"
    try:
        loaded = entry.load()
        problem = _fault(loaded, kind)
    except Exception as error:  # whatever a stranger's import raises concerns that plugin alone
        loaded, problem = None, f"{type(error).__name__}: {error}"
    return Plugin(entry.name, _package(entry), version, None if problem else loaded, problem)


def _fault(loaded: object, kind: type[Method] | type[Merger]) -> str | None:
    """What keeps an imported object from being a method or merger, or None."""
    if not (isinstance(loaded, type) and issubclass(loaded, kind)):
        return f"{loaded!r} is no subclass of bench.{kind.__name__}"
    if not isinstance(getattr(loaded, "reference", None), str):
        return "it names no reference"
    if kind is Merger:
        return None
    formats = getattr(loaded, "formats", None)
    if not isinstance(formats, tuple):
        return "it names no formats of data"
    if unknown := [f for f in formats if f not in list(Format)]:
        return f"it names unknown formats: {', '.join(map(str, unknown))}"
    return None
