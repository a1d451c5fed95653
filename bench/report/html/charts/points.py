"""Recipes as points between two axes, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from bench.analysis import columns
from bench.analysis.columns import Column
from bench.analysis.rows import Row
from bench.records.schema import BASE
from bench.report.html.charts import Chart, Key, vega
from bench.report.html.families import colour, families, family, shape


def scatter(rows: list[Row], id: str) -> Chart | None:
    """A chart whose axes the reader chooses, and the numbers for it."""
    rows = [row for row in rows if row.means]
    shown = [c for c in columns.measured(rows) if sum(c.name in row.means for row in rows) > 1]
    if len(rows) < 2 or len(shown) < 2:
        return None
    choices = {
        "metrics": [
            {
                "name": c.name,
                "title": c.title_and_unit,
                "axis": c.axis,
                "task": c.task,
                "better": c.better,
            }
            for c in shown
        ],
        "points": [
            {
                "recipe": row.recipe,
                "family": family(row),
                "values": {c.name: _value(row, c) for c in shown if c.name in row.means},
            }
            for row in rows
        ],
    }
    alt = "Scatter plot of two measurements chosen above; the table holds the same numbers."
    several = len(set(families(rows)) - {BASE}) > 1
    legend = keys(rows) if several else ()
    return Chart(id, spec([], rows, "@x", "@y"), alt, legend=legend, choices=choices)


def _value(row: Row, column: Column) -> list[Any]:
    return [row.means[column.name] * column.scale, *column.bounds(row), column.text(row)]


def points(rows: Iterable[Row], x: Column, y: Column) -> list[dict[str, Any]]:
    """The place of every row that has both values; `front` where no other beats it in both."""
    made: list[dict[str, Any]] = []
    for row in (row for row in rows if {x.name, y.name} <= row.means.keys()):
        point: dict[str, Any] = {"recipe": row.recipe, "family": family(row)}
        for axis, column in (("x", x), ("y", y)):
            names = (axis, f"{axis}1", f"{axis}2", f"t{axis}")
            point |= dict(zip(names, _value(row, column), strict=True))
        made.append(point)
    signs = [1 if column.better == "higher" else -1 for column in (x, y)]
    places = {(signs[0] * p["x"], signs[1] * p["y"]): p for p in made}
    best = -math.inf
    for place in sorted(places, reverse=True):  # from the right, and from the top
        places[place]["front"] = place[1] > best
        best = max(best, place[1])
    return [{"front": False} | point for point in made]


def spec(
    points: list[dict[str, Any]], rows: list[Row], x: str, y: str, names: Sequence[Any] = ()
) -> dict[str, Any]:
    """The chart of such points, with the titles of its axes, and names where no browser puts them
    there.
    """
    return vega("points", points=points, keys=keys(rows), x_title=x, y_title=y, names=names)


def keys(rows: list[Row]) -> tuple[Key, ...]:
    """What stands for each family."""
    return tuple(Key(name, colour(name), shape(name)) for name in families(rows))
