"""What `bench methods` tells."""

from __future__ import annotations

import inspect
import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .. import registry
from ..method import hyperparameters
from ..registry import Plugin


def show_methods(name: str | None, as_json: bool) -> None:
    """Every plugin in a table, or one of them in full."""
    found = list(registry.plugins().values()) if name is None else [registry.find(name)]
    if as_json:
        print(json.dumps([_told(plugin) for plugin in found], indent=1, ensure_ascii=False))
    elif name is None:
        _print_all(found)
    else:
        _print_one(found[0])


def _told(plugin: Plugin) -> dict[str, Any]:
    told: dict[str, Any] = {"name": plugin.name, "package": plugin.package, "version": plugin.version, "problem": plugin.problem}
    if (method := plugin.method) is None:
        return told
    parameters = [{**vars(h), "range": str(h.range) if h.range else None} for h in hyperparameters(method)]
    told |= {"formats": list(method.formats), "reference": method.reference, "description": inspect.getdoc(method)}
    return told | {"hyperparameters": parameters}


def _print_all(found: list[Plugin]) -> None:
    grid = Table("method", "origin", "learns from", "reference", header_style="bold")
    for plugin in found:
        method = plugin.method
        told = (", ".join(method.formats), method.reference) if method else ("cannot be used", plugin.problem or "")
        grid.add_row(*map(escape, (plugin.name, plugin.origin, *told)))
    Console().print(grid)


def _print_one(plugin: Plugin) -> None:
    console = Console()
    console.print(f"[bold]{escape(plugin.name)}[/] from {escape(plugin.origin)}", highlight=False)
    if plugin.method is None:
        console.print(f"cannot be used: {escape(plugin.problem or '')}", highlight=False)
        return
    console.print(escape(inspect.getdoc(plugin.method) or ""), highlight=False)
    console.print(f"Follows: {escape(plugin.method.reference)}\nLearns from: {', '.join(plugin.method.formats)}", highlight=False)
    grid = Table("hyper-parameter", "default", "search range", "", header_style="bold")
    for h in hyperparameters(plugin.method):
        grid.add_row(*map(escape, (h.name, str(h.default), str(h.range) if h.range else "not searched", h.description)))
    console.print(grid)
