"""Methods and mergers that are installed, under the entry points `bench.methods` and
`bench.mergers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeVar

from bench.data.formats import Format
from bench.methods.method import Merger, Method
from bench.system.entry_points import PACKAGE, Offer, missing_families, offers
from bench.system.errors import Skipped, UserError, nearest

Kind = TypeVar("Kind", Method, Merger)
INSTALL_ALL = f'pip install "{PACKAGE}[all]"'


@dataclass(frozen=True)
class Plugin(Offer, Generic[Kind]):
    """A method or merger, or the reason why there is none."""

    @property
    def method(self) -> type[Kind] | None:
        return self.loaded


@cache
def plugins() -> dict[str, Plugin[Method]]:
    """Every method that is installed, by name."""
    return {name: _plugin(o, Method) for name, o in offers("bench.methods").items()}


@cache
def mergers() -> dict[str, Plugin[Merger]]:
    """Every merger that is installed, by name."""
    return {name: _plugin(o, Merger) for name, o in offers("bench.mergers").items()}


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
        more = f"; {INSTALL_ALL} brings more" if missing_families() else ""
        raise UserError(
            f"there is no {word} {name}{nearest(name, found)} (bench methods lists them{more})"
        )
    return found[name]


def _usable(plugin: Plugin[Kind]) -> type[Kind]:
    if plugin.method is None:
        raise Skipped(f"{plugin.name} of {plugin.origin} cannot be used: {plugin.problem}")
    return plugin.method


def _plugin(offer: Offer, kind: type[Kind]) -> Plugin[Kind]:
    problem = offer.problem or _fault(offer.loaded, kind)
    loaded = None if problem else offer.loaded
    return Plugin(offer.name, offer.package, offer.version, loaded, problem)


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
