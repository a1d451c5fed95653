"""Recipes as points between two axes, with their intervals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.analysis import columns
from bench.analysis.columns import Column
from bench.analysis.rows import Row
from bench.records.schema import BASE
from bench.report.html.charts import Chart, Key, plain
from bench.report.html.families import colour, families, family, shape


def scatter(rows: list[Row], id: str) -> tuple[Chart, dict[str, Any]] | None:
    """A chart whose axes the reader chooses, and the numbers for it."""
    rows = [row for row in rows if row.means]
    shown = [c for c in columns.measured(rows) if sum(c.name in row.means for row in rows) > 1]
    if len(rows) < 2 or len(shown) < 2:
        return None
    numbers = {
        "metrics": [
            {"name": c.name, "title": c.title_and_unit, "axis": c.axis, "task": c.task}
            | {"better": c.better}
            for c in shown
        ],
        "points": [
            {"recipe": row.recipe, "family": family(row)}
            | {"values": {c.name: _value(row, c) for c in shown if c.name in row.means}}
            for row in rows
        ],
    }
    alt = "Scatter plot of two measurements chosen above; the table holds the same numbers."
    return Chart(id, spec([], families(rows), "@x", "@y"), alt, legend=_legend(rows)), numbers


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
    for (a, b), point in places.items():
        beaten = any(c >= a and d >= b and (c, d) != (a, b) for c, d in places)
        point["front"] = not beaten
    return [{"front": False} | point for point in made]


def _legend(rows: list[Row]) -> tuple[Key, ...]:
    """The families, where there is more than one."""
    found = families(rows)
    if len(found) - (BASE in found) < 2:
        return ()
    return tuple(Key(name, colour(name), shape(name)) for name in found)


def spec(
    points: list[dict[str, Any]], domain: list[str], x_title: str, y_title: str
) -> dict[str, Any]:
    """Intervals below, then the front's staircase, then the points."""
    import altair as alt

    scale = alt.Scale(nice=False, zero=False, padding=24)
    x = alt.X("x:Q", title=x_title, scale=scale, axis=alt.Axis(labelBound=True))
    y = alt.Y("y:Q", title=y_title, scale=scale)
    colours, shapes = (
        alt.Scale(domain=domain, range=[of(name) for name in domain]) for of in (colour, shape)
    )
    coloured = alt.Color("family:N", scale=colours, legend=None)
    tooltip = [
        alt.Tooltip("recipe:N"),
        alt.Tooltip("family:N"),
        alt.Tooltip("ty:N", title=y_title.partition(" (")[0]),
        alt.Tooltip("tx:N", title=x_title.partition(" (")[0]),
    ]
    data = alt.Chart(alt.Data(values=points))
    rule = data.mark_rule(opacity=0.4)
    front = data.transform_filter("datum.front").mark_line(
        interpolate="step-after", strokeDash=[2, 3], strokeWidth=1.25, color="var(--muted)"
    )
    layers = [
        rule.encode(x=alt.X("x1:Q"), x2="x2:Q", y=y, color=coloured),
        rule.encode(x=x, y=alt.Y("y1:Q"), y2="y2:Q", color=coloured),
        front.encode(x=x, y=y, order="x:Q").properties(name="front"),
        data.mark_point(filled=True, size=80, opacity=1)
        .encode(
            x=x,
            y=y,
            color=coloured,
            shape=alt.Shape("family:N", scale=shapes, legend=None),
            tooltip=tooltip,
        )
        .properties(name="points"),
    ]
    return plain(alt.layer(*layers).properties(width="container", height=420))
