"""What packages offer through entry points. A broken package is reported and hurts no other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import Any

PACKAGE = "finetuning-bench"
"""The core's own distribution, which names the packages of the families as its extras."""


@dataclass(frozen=True)
class Offer:
    """One entry point: the object that it names, or the problem that keeps it from being used."""

    name: str
    package: str
    version: str
    loaded: Any
    problem: str | None = None

    @property
    def origin(self) -> str:
        return f"{self.package} {self.version}"


@cache
def offers(group: str) -> dict[str, Offer]:
    """Every entry point of a group by name; of two packages with one name neither can be used."""
    found: dict[str, Offer] = {}
    for entry in sorted(entry_points(group=group), key=lambda e: (e.name, _package(e))):
        offer, twin = _load(entry), found.get(entry.name)
        if twin is not None and twin.package != offer.package:
            clash = f"{twin.package} and {offer.package} both offer {entry.name}"
            offer = Offer(entry.name, offer.package, offer.version, None, clash)
        found[entry.name] = offer
    return found


def missing_families() -> list[str]:
    """Extras of the core that bring a package of methods which is not installed, such as peft."""
    required = "\n".join(distribution(PACKAGE).requires or ())
    family = re.compile(r"^(bench-(\w+)).*extra == ['\"]\2['\"]$", re.MULTILINE)
    return sorted(name for package, name in family.findall(required) if not _installed(package))


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _load(entry: EntryPoint) -> Offer:
    version = entry.dist.version if entry.dist else "?"
    try:
        return Offer(entry.name, _package(entry), version, entry.load())
    except KeyboardInterrupt:
        raise
    except SystemExit:
        problem = "it called sys.exit when it was imported"
    except BaseException as error:  # whatever an import raises concerns that package alone
        problem = f"{type(error).__name__}: {error}"
    return Offer(entry.name, _package(entry), version, None, problem)


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown package"
