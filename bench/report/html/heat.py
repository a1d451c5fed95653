"""The table of tasks, each cell shaded by its value."""

from __future__ import annotations

from dataclasses import dataclass

from bench.analysis import columns
from bench.analysis.rows import Row
from bench.analysis.words import signed
from bench.records.schema import BASE


@dataclass(frozen=True)
class Shade:
    """A cell: its text, the change against the base, and its value 0..1, if it has one."""

    text: str
    change: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Heat:
    """A shaded table."""

    columns: list[tuple[str, str]]
    """Name and role of each."""
    lines: list[tuple[str, list[Shade]]]


def tasks(rows: list[Row]) -> Heat | None:
    """Accuracy on every task, and the change against the base; None where there is none."""
    every, retained = columns.tasks(rows, "score"), columns.tasks(rows, "forgetting")
    if not every:
        return None
    targets = [task for task in every if task not in retained]
    heads = [(task, "target") for task in targets] or [("target", "mean over targets")]
    names = [f"score[{task}]" for task in targets] or ["target_accuracy"]
    heads += [(task, "retained") for task in retained]
    names += [f"score[{task}]" for task in retained]
    base = next((row for row in rows if row.recipe == BASE), None)
    return Heat(heads, [(row.recipe, [_shade(row, n, base) for n in names]) for row in rows])


def _shade(row: Row, name: str, base: Row | None) -> Shade:
    column, value = columns.named(name), row.means.get(name)
    if value is None:
        return Shade(row.missing.get("forgetting") or column.why(row))
    compared = base is not None and base is not row and name in base.means
    return Shade(
        column.value(row), signed(value - base.means[name]) if base and compared else "", value
    )
