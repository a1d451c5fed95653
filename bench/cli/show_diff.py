"""What `bench diff` prints."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.analysis import columns
from bench.analysis.diff.shape import ACCURACY, FORGETTING, Change, Diff, RecipeDiff
from bench.analysis.words import percent

TITLE = 14  # characters in a line of a head
COLOURS = {"worse": "red", "better": "green"}


def show(found: Diff, as_json: bool) -> None:
    """Print a table, or JSON with every number."""
    if as_json:
        recipes = [{**asdict(recipe), "worse": recipe.worse} for recipe in found.recipes]
        told = {**asdict(found), "recipes": recipes, "worse": found.worse}
        print(json.dumps(told, indent=1, ensure_ascii=False))
        return
    console = Console(highlight=False)
    wide = console if console.is_terminal else Console(width=max(console.width, 170))
    console.print(f"A {escape(found.a)}\nB {escape(found.b)}")
    wide.print(_scores(found))
    console.print(
        f"In points, with {found.level:.0%} intervals; p after Holm's correction. A change is worse"
        f" or better if p is at most {1 - found.level:.2g}."
    )
    if any(recipe.ratios for recipe in found.recipes):
        wide.print(_costs(found))
    for line in _remarks(found):
        console.print(line)


def _scores(found: Diff) -> Table:
    grid = Table(header_style="bold")
    grid.add_column("recipe", overflow="fold")
    told = [
        measure
        for measure in (ACCURACY, FORGETTING)
        if any(c.measure == measure for r in found.recipes for c in r.changes)
    ]
    for measure in told:
        for title in (f"{columns.named(measure).title}\nA", "\nB", "\nB − A", "\np"):
            grid.add_column(title, justify="right")
    grid.add_column("verdict")
    for recipe in found.recipes:
        changes = {change.measure: change for change in recipe.changes}
        cells = [cell for measure in told for cell in _cells(changes.get(measure))]
        grid.add_row(escape(recipe.recipe), *cells, _verdict(recipe))
    return grid


def _cells(change: Change | None) -> list[str]:
    if change is None:
        return ["–"] * 4
    low, high = 100 * change.low, 100 * change.high
    difference = rf"{100 * change.difference:+.1f} \[{low:+.1f}, {high:+.1f}]".replace("-", "−")
    if change.verdict:
        difference = f"[{COLOURS[change.verdict]}]{difference}[/]"
    p = "<0.001" if change.adjusted < 0.001 else f"{change.adjusted:.3f}"
    return [percent(change.a), percent(change.b), difference, p]


def _verdict(recipe: RecipeDiff) -> str:
    if recipe.broken:
        return f"[red]worse: {escape(recipe.status[1])} in B[/]"
    if recipe.status != ("ok", "ok"):
        return escape(" in A, ".join(recipe.status)) + " in B"
    told = [
        f"[{COLOURS[c.verdict]}]{'accuracy' if c.measure == ACCURACY else 'forgetting'}"
        f" {c.verdict}[/]"
        for c in recipe.changes
        if c.verdict
    ]
    return ", ".join(told) or ("within noise" if recipe.changes else "not compared")


def _costs(found: Diff) -> Table:
    """B over A; recipes that ran on different machines have no ratios."""
    grid = Table(header_style="bold", title="B / A", title_justify="left")
    grid.add_column("recipe", overflow="fold")
    known = {name for recipe in found.recipes for name in recipe.ratios}
    shown = [column for column in columns.COLUMNS if column.name in known]
    for column in shown:
        grid.add_column(column.title, justify="right", max_width=TITLE)
    for recipe in (recipe for recipe in found.recipes if recipe.ratios):
        ratios = (recipe.ratios.get(column.name) for column in shown)
        cells = ("–" if ratio is None else f"{ratio:.2f}" for ratio in ratios)
        grid.add_row(escape(recipe.recipe), *cells)
    return grid


def _remarks(found: Diff) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for recipe in found.recipes:
        if recipe.not_comparable:
            by_reason.setdefault(recipe.not_comparable, []).append(recipe.recipe)
    lines = []
    for reason, names in by_reason.items():
        which = "all recipes" if len(names) == len(found.recipes) else ", ".join(names)
        lines.append(f"Speed, memory and time are not comparable ({which}): {reason}")
    lines += [note[0].upper() + note[1:] for note in found.notes]
    lines += [
        f"Only in {side}: {', '.join(names)}"
        for side, names in (("A", found.only_a), ("B", found.only_b))
        if names
    ]
    return [escape(line) for line in lines]
