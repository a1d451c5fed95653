"""What `bench check` prints."""

from __future__ import annotations

import gc
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from bench.methods import registry
from bench.methods.method import Merger
from bench.system.errors import Skipped, UserError

if TYPE_CHECKING:
    from bench.testing import Finding


def show(name: str, as_json: bool) -> bool:
    """Check one method or merger on the tiny model and print the results; False when it does not
    conform.
    """
    from bench.execution.worker import quieten
    from bench.methods.recipe import Recipe
    from bench.testing import check, check_merger

    plugin = registry.mergers().get(name) or registry.find(name)
    if plugin.method is None:
        raise UserError(f"{name} of {plugin.origin} cannot be used: {plugin.problem}")
    if issubclass(plugin.method, Recipe):
        raise UserError(f"{name} is composed of other methods: check those")
    quieten()
    gc.freeze()  # a collection, of which each training makes many, need not look through libraries
    console = Console(quiet=as_json, highlight=False)
    console.print(f"[bold]{escape(name)}[/] from {escape(plugin.origin)}, on the embedded model")
    findings: list[Finding] = []
    skipped, kind = None, plugin.method
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = check_merger(kind) if issubclass(kind, Merger) else check(kind, Path(folder))
            findings.extend(_printed(found, console))
        except Skipped as reason:
            skipped = str(reason)
            console.print(f"  [yellow]–[/] cannot run here: {escape(skipped)}")
    ok = all(finding.ok for finding in findings)
    if as_json:
        checks = [vars(finding) for finding in findings]
        told = {"method": name, "ok": ok, "skipped": skipped, "checks": checks}
        print(json.dumps(told, indent=1))
    return ok


def _printed(findings: Iterator[Finding], console: Console) -> Iterator[Finding]:
    """Prints each finding at once, with a spinner in between."""
    while True:
        with console.status("training …"):
            finding = next(findings, None)
        if finding is None:
            return
        mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
        detail = f" [dim]({escape(finding.detail)})[/]" if finding.detail else ""
        console.print(f"  {mark} {escape(finding.what)}{detail}")
        yield finding
