"""The table of tasks, each cell shaded by its value."""

from __future__ import annotations

from bench.analysis import columns
from bench.analysis.columns import Column
from bench.analysis.rows import Row
from bench.analysis.words import signed
from bench.records.schema import BASE


def tasks(rows: list[Row]) -> list[tuple[str, str, Column]]:
    """Every task with its role and the column of its scores; empty where there is none."""
    every, retained = columns.tasks(rows, "score"), columns.tasks(rows, "forgetting")
    if not every:
        return []
    targets = [task for task in every if task not in retained]
    found = [(task, "target", f"score[{task}]") for task in targets]
    found = found or [("target", "mean over targets", "target_accuracy")]
    found += [(task, "retained", f"score[{task}]") for task in retained]
    return [(task, role, columns.named(name)) for task, role, name in found]


def change(row: Row, column: Column, rows: list[Row]) -> str:
    """Against the base, where both have a value."""
    base = next((other for other in rows if other.recipe == BASE), row)
    known = base is not row and column.name in row.means and column.name in base.means
    return signed(row.means[column.name] - base.means[column.name]) if known else ""
