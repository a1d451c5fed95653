"""What `bench methods` prints."""

from __future__ import annotations

import inspect
import json
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from bench.methods import registry
from bench.methods.method import Merger, Method
from bench.methods.registry import INSTALL_ALL, Plugin
from bench.methods.search_space import hyperparameters
from bench.system.entry_points import PACKAGE, missing_families

MERGERS, UNUSABLE = "mergers (by:)", "cannot be used"


def show(name: str | None, as_json: bool) -> bool:
    """Every plugin by family, or one of them in full; gives whether all that is shown is usable."""
    mergers = registry.mergers()
    if name is None:
        found = [*registry.plugins().values(), *mergers.values()]
    else:
        found = [mergers[name] if name in mergers else registry.find(name)]
    if as_json:
        print(json.dumps([_data(plugin) for plugin in found], indent=1, ensure_ascii=False))
    elif name is None:
        _print_all(found)
    else:
        _print_one(found[0])
    return all(plugin.method for plugin in found)


def _family(plugin: Plugin[Any]) -> str:
    if plugin.method is None:
        return UNUSABLE
    return MERGERS if issubclass(plugin.method, Merger) else plugin.method.family


def _learns_from(method: type[Method] | type[Merger]) -> str:
    if issubclass(method, Merger):
        return "weights"
    return ", ".join(method.formats) or ("its parts" if method.family == "recipe" else "no data")


def _data(plugin: Plugin[Any]) -> dict[str, Any]:
    told = {key: getattr(plugin, key) for key in ("name", "package", "version", "problem")}
    if (method := plugin.method) is None:
        return told
    return told | {
        "family": _family(plugin),
        "formats": list(getattr(method, "formats", ())),
        "reference": method.reference,
        "description": inspect.getdoc(method),
        "hyperparameters": [
            {
                "name": h.name,
                "type": h.type,
                "default": h.default,
                "required": h.required,
                "range": str(h.range) if h.range else None,
                "description": h.description,
            }
            for h in hyperparameters(method)
        ],
    }


def _print_all(found: list[Plugin[Any]]) -> None:
    groups: dict[str, list[Plugin[Any]]] = {}
    for plugin in found:
        groups.setdefault(_family(plugin), []).append(plugin)
    grid = Table(
        Column("method", no_wrap=True),
        Column("origin", no_wrap=True),
        "reference",
        box=SIMPLE_HEAD,
        header_style="bold",
    )
    for family in sorted(groups, key=lambda name: ((MERGERS, UNUSABLE).count(name), name)):
        grid.add_section()
        grid.add_row(f"[bold]{escape(family)}[/]", "", "")
        for plugin in groups[family]:
            told = plugin.method.reference if plugin.method else plugin.problem or ""
            grid.add_row(*map(escape, ("  " + plugin.name, plugin.origin, told)))
    console = Console()
    console.print(grid)
    if missing := missing_families():
        console.print(
            escape(
                "Methods come in packages, one for each family. Not installed:"
                f" {', '.join(missing)}.\n{INSTALL_ALL} brings them all,"
                f' pip install "{PACKAGE}[{missing[0]}]" brings one.'
            ),
            highlight=False,
            soft_wrap=True,
        )


def _print_one(plugin: Plugin[Any]) -> None:
    console = Console(highlight=False)
    console.print(f"[bold]{escape(plugin.name)}[/] from {escape(plugin.origin)}")
    if (method := plugin.method) is None:
        console.print(f"cannot be used: {escape(plugin.problem or '')}")
        return
    told = [
        inspect.getdoc(method) or "",
        f"Family: {_family(plugin)}",
        f"Follows: {method.reference}",
        f"Learns from: {_learns_from(method)}",
    ]
    if issubclass(method, Method):
        told.append(f"Verified: {method.verified or 'not documented'}")
    console.print(escape("\n".join(told)))
    grid = Table("hyper-parameter", "default", "search range", "", header_style="bold")
    for h in hyperparameters(method):
        default = "required" if h.required else str(h.default)
        grid.add_row(*map(escape, (h.name, default, str(h.range or "not searched"), h.description)))
    console.print(grid)
