"""The main table: cells with their intervals, and each tuned row beside its default."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.analysis import columns
from bench.analysis.columns import Column
from bench.analysis.rows import Row
from bench.analysis.words import amount, percent
from bench.records.schema import BASE
from bench.report.html.families import colour, family


@dataclass(frozen=True)
class Head:
    """The head of a column."""

    title: str
    unit: str
    shown: bool
    first: str = "descending"
    """The direction in which a first click sorts: the best on top."""


@dataclass(frozen=True)
class Cell:
    """A cell of the table; never blank."""

    text: str
    extent: str = ""
    value: float | None = None
    """What it is sorted by. Cells without a number come last."""


@dataclass(frozen=True)
class Line:
    """One recipe in the table."""

    row: Row
    colour: str
    pair: str
    """The default row of this one's pair, or itself: what is kept together."""
    tuned_to: list[str]
    marks: list[str]
    cells: list[Cell]


@dataclass(frozen=True)
class Grid:
    """The table of one group."""

    id: str
    heads: list[Head]
    lines: list[Line]
    everywhere: list[str]
    """Marks of every trained row: shown once below the table instead of in each line."""
    families: list[str]
    statuses: list[str]
    tied: bool
    tuned: bool
    remarks: bool
    """Whether any line has a remark."""
    ids: dict[str, str]
    """Of each recipe's line, for links."""


def grid(group_rows: list[Row], number: int) -> Grid:
    """The table of a group, the base first, a tuned row right after its default."""
    rows = _ordered(group_rows)
    shown = [c for c in columns.measured(rows) if not c.task and not c.name.startswith("spent_")]
    trained = [row for row in rows if row.recipe != BASE and row.means]
    shared = set[str]()
    if len(trained) > 1:
        shared = set.intersection(*(set(row.marks) for row in trained))
    lines = [_line(row, rows, shown, shared) for row in rows]
    others = [row for row in rows if row.recipe != BASE]
    return Grid(
        id=f"table-{number}",
        heads=[*map(_head, shown), _budget_head(rows), Head("seeds", "", True)],
        lines=lines,
        everywhere=[
            mark for mark in dict.fromkeys(m for r in trained for m in r.marks) if mark in shared
        ],
        families=list(dict.fromkeys(row.family for row in rows if row.family)),
        statuses=list(dict.fromkeys(row.status for row in others)),
        tied=any(row.tie_groups for row in rows),
        tuned=any(row.tuned_from for row in rows),
        remarks=any(one.marks or one.row.imported or one.row.status != "ok" for one in lines),
        ids={row.recipe: f"row-{number}-{place}" for place, row in enumerate(rows)},
    )


def _ordered(rows: list[Row]) -> list[Row]:
    """In the order given, but the base first and each tuned row right after its default."""
    ranked = sorted(rows, key=lambda row: row.recipe != BASE)
    place: dict[str, int] = {}
    for number, row in enumerate(ranked):
        place.setdefault(_pair(row, rows), number)
    return sorted(ranked, key=lambda row: (place[_pair(row, rows)], row.tuned_from is not None))


def _pair(row: Row, rows: list[Row]) -> str:
    known = any(other.recipe == row.tuned_from for other in rows)
    return row.tuned_from if known and row.tuned_from else row.recipe


def _line(row: Row, rows: list[Row], shown: list[Column], shared: set[str]) -> Line:
    return Line(
        row=row,
        colour=colour(family(row)),
        pair=_pair(row, rows),
        tuned_to=[other.recipe for other in rows if other.tuned_from == row.recipe],
        marks=[mark for mark in row.marks if mark not in shared],
        cells=[
            *(_cell(row, column) for column in shown),
            _spent(row),
            Cell(str(row.seeds), value=row.seeds),
        ],
    )


def _cell(row: Row, column: Column) -> Cell:
    if column.name not in row.means:
        return Cell(column.why(row))
    return Cell(column.value(row), column.extent(row), row.means[column.name])


def _spent(row: Row) -> Cell:
    currency, budget = row.budget
    column = columns.named(f"spent_{currency}")
    value = row.means.get(column.name)
    if value is None or not budget or math.isnan(budget):
        return Cell(column.why(row))
    return Cell(percent(value / budget), value=value / budget)


def _head(column: Column) -> Head:
    first = "ascending" if column.better == "lower" else "descending"
    return Head(column.title, column.unit, bool(column.head), first)


def _budget_head(rows: list[Row]) -> Head:
    currency, budget = rows[0].budget
    known = not math.isnan(budget)
    return Head("spent", f"% of {amount(budget)} {currency}" if known else "budget unknown", known)
