"""What `bench run` and `bench report` print at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.analysis import Analysis
from bench.analysis.frame import frame
from bench.analysis.rows import Row
from bench.records.schema import BASE
from bench.records.store import Store
from bench.report import table, write
from bench.report.cut import cut, told
from bench.system.location import Location

MOST_LINES = 100
"""Rows that the terminal shows."""
WIDE = 190
"""Columns of characters for the table where there is no terminal to fit."""


def report(
    folder: Location, as_json: bool, together: bool = False, notes: Iterable[str] = ()
) -> None:
    """Tell what was noted, write the report of a results folder from its records, and show it."""
    for note in notes:
        typer.echo(note, err=True)
    store = Store(folder)
    show(write(store, together), store.report, as_json)


def show(analysis: Analysis, folder: Location, as_json: bool) -> None:
    """The tables, what they come to, and where the report is."""
    if as_json:
        records = json.loads(str(frame(analysis.whole_rows()).to_json(orient="records")))
        data = {
            "report": str(folder),
            "headline": analysis.headline,
            "caveats": analysis.caveats,
            "rows": records,
        }
        print(json.dumps(data, indent=1, ensure_ascii=False))
        return
    console, analysis = Console(highlight=False), cut(analysis, MOST_LINES)
    for group in analysis.groups:
        if group.apart:
            console.print(f"\nNot comparable with the first table: {escape(group.apart)}")
        _show_rows(group.rows, console)
        console.print(table.reach_of(group))
    if analysis.left_out:
        console.print(told(analysis))
    console.print(f"[bold]{escape(analysis.headline)}[/]")
    for sentence in analysis.ranking:
        console.print(f"• {escape(sentence)}")
    if analysis.caveats:
        console.print("Caveats:")
    for sentence in analysis.caveats:
        console.print(f"• {escape(sentence)}")
    for row in analysis.rows:
        if row.reason:
            why = f"[bold]{escape(row.recipe)}[/]: {escape(row.status)}: {escape(row.reason)}"
            console.print(why)
    console.print(f"Report: {folder / 'report.html'} (also table.md, table.csv, table.tex)")


def _show_rows(rows: list[Row], console: Console) -> None:
    columns = table.main_columns(rows)
    heads = table.heads(rows, [column.head for column in columns])
    grid = Table(header_style="bold")
    for place, head in enumerate(heads):
        title = head.replace("spent of", "spent\nof").replace("tie group", "tie\ngroup")
        grid.add_column(title, justify="right" if 0 < place < len(heads) - 1 else "left")
    grid.columns[0].min_width = max(len(row.recipe) for row in rows)
    grid.columns[0].overflow = "fold"
    for row, cells in zip(rows, table.lines(rows, columns), strict=True):
        grid.add_row(*map(escape, cells), style="dim" if row.recipe == BASE else None)
    (console if console.is_terminal else Console(width=max(console.width, WIDE))).print(grid)
