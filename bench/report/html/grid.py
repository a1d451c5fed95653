"""The main table: cells with their intervals, defaults beside what was tuned from them, and the
reason for every gap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from bench.analysis import Group
from bench.analysis.rows import Row
from bench.records.schema import BASE
from bench.report import table
from bench.report.html.families import colour, family
from bench.report.html.metrics import Metric, measured
from bench.report.html.words import amount


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    key: str
    title: str
    unit: str
    shown: bool
    first: str = "descending"
    """The direction in which a first click sorts: the best on top."""


@dataclass(frozen=True)
class Cell:
    """What stands in a place of the table; never blank."""

    text: str
    extent: str = ""
    value: float | None = None
    """What it is sorted by; nothing where there is no number, which comes last."""


@dataclass(frozen=True)
class Line:
    """One recipe in the table."""

    id: str
    row: Row
    family: str
    colour: str
    base: bool
    pair: str
    """The default row of this one's pair, or itself: what is kept together."""
    tuned_to: list[str]
    linked: str
    """first, inner or last of a default with its tuned rows; empty where it stands alone."""
    marks: list[str]
    cells: list[Cell]


@dataclass(frozen=True)
class Grid:
    """The table of one group."""

    id: str
    columns: list[Column]
    lines: list[Line]
    everywhere: list[str]
    """Marks that every trained row bears: said once below the table instead of in each line."""
    families: list[str]
    statuses: list[str]
    letters: bool
    tuned: bool
    remarks: bool
    """Whether any line has something beside its numbers."""
    ids: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Elsewhere:
    """Speed and memory as measured in another environment."""

    environment: str
    metrics: list[Metric]
    lines: list[tuple[str, list[Cell]]]


def elsewhere(group: Group) -> list[Elsewhere]:
    """A small table for each environment other than the group's first."""
    made = []
    for environment, rows in group.elsewhere:
        metrics = [m for m in measured(rows) if not m.task]
        made.append(
            Elsewhere(
                environment,
                metrics,
                [(row.recipe, [_cell(row, m) for m in metrics]) for row in rows],
            )
        )
    return [place for place in made if place.metrics]


def grid(group: Group, number: int) -> Grid:
    """The table of a group, the base first, a default and what was tuned from it side by side."""
    rows = _together(group.rows)
    metrics = [m for m in measured(rows) if not m.task and not m.name.startswith("spent_")]
    trained = [row for row in rows if row.recipe != BASE and row.means]
    shared = [
        mark
        for mark in dict.fromkeys(m for row in trained for m in row.marks)
        if all(mark in row.marks for row in trained)
    ]
    everywhere = shared if len(trained) > 1 else []
    ids = {row.recipe: f"row-{number}-{place}" for place, row in enumerate(rows)}
    tuned = {row.tuned_from for row in rows if row.tuned_from}
    lines = [_line(row, rows, place, metrics, everywhere, ids) for place, row in enumerate(rows)]
    others = [line for line in lines if not line.base]
    return Grid(
        id=f"table-{number}",
        columns=[*map(_column, metrics), _budget_column(rows), Column("seeds", "seeds", "", True)],
        lines=lines,
        everywhere=everywhere,
        families=list(dict.fromkeys(row.family for row in rows if row.family)),
        statuses=list(dict.fromkeys(line.row.status for line in others)),
        letters=any(row.letters for row in rows),
        tuned=bool(tuned),
        remarks=any(line.marks or line.row.imported or line.row.status != "ok" for line in lines),
        ids=ids,
    )


def _together(rows: list[Row]) -> list[Row]:
    """In the order given, but each tuned row right after its default; the base first."""
    names = {row.recipe for row in rows}
    ranked = sorted(rows, key=lambda row: row.recipe != BASE)
    place: dict[str, int] = {}
    for number, row in enumerate(ranked):
        place.setdefault(_pair(row, names), number)
    return sorted(
        ranked,
        key=lambda row: (place[_pair(row, names)], _pair(row, names), row.tuned_from is not None),
    )


def _pair(row: Row, names: set[str]) -> str:
    return row.tuned_from if row.tuned_from in names and row.tuned_from else row.recipe


def _line(
    row: Row,
    rows: list[Row],
    number: int,
    metrics: list[Metric],
    everywhere: list[str],
    ids: dict[str, str],
) -> Line:
    pairs = [_pair(other, set(ids)) for other in rows]
    pair = pairs[number]
    before = number > 0 and pairs[number - 1] == pair
    after = number + 1 < len(rows) and pairs[number + 1] == pair
    return Line(
        id=ids[row.recipe],
        row=row,
        family=family(row),
        colour=colour(family(row)),
        base=row.recipe == BASE,
        pair=pair,
        tuned_to=[other.recipe for other in rows if other.tuned_from == row.recipe],
        linked="inner" if before and after else "last" if before else "first" if after else "",
        marks=[mark for mark in row.marks if mark not in everywhere],
        cells=[
            *(_cell(row, m) for m in metrics),
            _spent(row),
            Cell(str(row.seeds), value=row.seeds),
        ],
    )


def _cell(row: Row, metric: Metric) -> Cell:
    if metric.name not in row.means:
        return Cell(why(row, metric.name))
    return Cell(metric.value(row), metric.extent(row), row.means[metric.name])


def why(row: Row, name: str) -> str:
    """Why there is no value."""
    return row.missing.get(name) or (row.status if row.status != "ok" else "not measured")


def _spent(row: Row) -> Cell:
    currency, budget = row.budget
    value = row.means.get(f"spent_{currency}")
    if value is None or not budget or math.isnan(budget):
        return Cell(why(row, f"spent_{currency}"))
    return Cell(table.percent(value / budget), value=value / budget)


def _column(metric: Metric) -> Column:
    return Column(
        metric.name,
        metric.title,
        metric.unit,
        metric.short,
        "ascending" if metric.better == "lower" else "descending",
    )


def _budget_column(rows: list[Row]) -> Column:
    currency, budget = rows[0].budget
    unit = "budget unknown" if math.isnan(budget) else f"% of {amount(budget)} {currency}"
    return Column("spent", "spent", unit, not math.isnan(budget))
