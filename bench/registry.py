"""Method plugins, found through the entry-point group `bench.methods`. A broken plugin is told, and hurts nobody else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from .errors import UserError, nearest
from .method import Format, Method

GROUP = "bench.methods"


@dataclass(frozen=True)
class Plugin:
    """One entry point: a method, or the reason why there is none."""

    name: str
    package: str
    version: str
    method: type[Method] | None
    problem: str | None = None

    @property
    def origin(self) -> str:
        return f"{self.package} {self.version}"


@cache
def plugins() -> dict[str, Plugin]:
    """Every plugin that is installed, by name."""
    found: dict[str, Plugin] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda e: (e.name, _package(e))):
        plugin = _load(entry)
        twin = found.get(entry.name)
        if twin is not None and twin.package != plugin.package:
            plugin = Plugin(
                entry.name, plugin.package, plugin.version, None, f"{twin.package} and {plugin.package} both offer {entry.name}"
            )
        found[entry.name] = plugin
    return found


def find(name: str) -> Plugin:
    """The plugin of that name; a `UserError` with the nearest right word when there is none."""
    if name not in plugins():
        raise UserError(f"there is no method {name}{nearest(name, plugins())} (bench methods lists them)")
    return plugins()[name]


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown package"


def _load(entry: EntryPoint) -> Plugin:
    version = entry.dist.version if entry.dist else "?"
    try:
        method = entry.load()
        problem = _fault(method)
    except Exception as error:  # whatever a stranger's import raises concerns that plugin alone
        method, problem = None, f"{type(error).__name__}: {error}"
    return Plugin(entry.name, _package(entry), version, None if problem else method, problem)


def _fault(method: object) -> str | None:
    """What keeps an imported object from being a method, or None."""
    if not (isinstance(method, type) and issubclass(method, Method)):
        return f"{method!r} is no subclass of bench.Method"
    formats = getattr(method, "formats", None)
    if not isinstance(formats, tuple) or not formats:
        return "it names no formats of data"
    if unknown := [f for f in formats if f not in list(Format)]:
        return f"it names unknown formats: {', '.join(map(str, unknown))}"
    if not isinstance(getattr(method, "reference", None), str):
        return "it names no reference"
    return None
