"""Recipes as points between two axes, with their intervals."""

from __future__ import annotations

from typing import Any

from bench.analysis.rows import Row
from bench.records.schema import BASE
from bench.report.html.charts import Chart, Key, plain
from bench.report.html.families import colour, families, family, shape
from bench.report.html.metrics import Metric, measured, metric
from bench.report.html.words import listed

X, Y = "forgetting", "target_accuracy"


def learning_against_forgetting(rows: list[Row], id: str) -> Chart | None:
    """Target accuracy over forgetting with the front; nothing where there are no two points."""
    shown = [row for row in rows if {X, Y} <= row.means.keys()]
    if len(shown) < 2:
        return None
    x, y = metric(X), metric(Y)
    front = {row.recipe for row in shown if not any(_beats(other, row) for other in shown)}
    points = [{**point(row, x, y), "front": row.recipe in front} for row in shown]
    alt = (
        f"Scatter plot of target accuracy against forgetting for {len(shown)} rows. Not beaten in"
        " both at once: "
        + listed(
            [
                f"{r.recipe} ({y.value(r)}% right, {x.value(r)} points forgotten)"
                for r in shown
                if r.recipe in front
            ],
            8,
        )
        + "."
    )
    return Chart(id, spec(points, families(shown), x.axis, y.axis), alt, legend=legend(shown))


def any_two(rows: list[Row], id: str) -> tuple[Chart, dict[str, Any]] | None:
    """A picture whose axes the reader chooses, and the numbers for it."""
    shown = [row for row in rows if row.means]
    metrics = [m for m in measured(shown) if sum(m.name in row.means for row in shown) > 1]
    if len(shown) < 2 or len(metrics) < 2:
        return None
    numbers = {
        "metrics": [
            {"name": m.name, "title": m.name_and_unit, "axis": m.axis, "task": m.task}
            for m in metrics
        ],
        "points": [
            {"recipe": row.recipe, "family": family(row)}
            | {
                "values": {
                    m.name: [row.means[m.name] * m.scale, *m.bounds(row), m.text(row)]
                    for m in metrics
                    if m.name in row.means
                }
            }
            for row in shown
        ],
    }
    alt = "Scatter plot of two metrics chosen above; the same numbers stand in the table."
    return Chart(id, spec([], families(shown), "@x", "@y"), alt, legend=legend(shown)), numbers


def legend(rows: list[Row]) -> tuple[Key, ...]:
    """The families, where there is more than one."""
    found = families(rows)
    return (
        tuple(Key(name, colour(name), shape(name)) for name in found)
        if len(found) - (BASE in found) > 1
        else ()
    )


def point(row: Row, x: Metric, y: Metric) -> dict[str, Any]:
    """One recipe's place, its rules, and what its tooltip says."""
    (x1, x2), (y1, y2) = x.bounds(row), y.bounds(row)
    place = {
        "x": x.scale * row.means[x.name],
        "y": y.scale * row.means[y.name],
        "x1": x1,
        "x2": x2,
        "y1": y1,
        "y2": y2,
    }
    return {
        "recipe": row.recipe,
        "family": family(row),
        **place,
        "tx": x.text(row),
        "ty": y.text(row),
        "front": False,
    }


def spec(
    points: list[dict[str, Any]], domain: list[str], x_title: str, y_title: str
) -> dict[str, Any]:
    """Rules below, the front's staircase, then the points; the page writes names beside them where
    there is room.
    """
    import altair as alt

    x = alt.X(
        "x:Q",
        title=x_title,
        scale=alt.Scale(nice=False, zero=False, padding=24),
        axis=alt.Axis(labelBound=True),
    )
    y = alt.Y("y:Q", title=y_title, scale=alt.Scale(nice=False, zero=False, padding=24))
    colours = alt.Color(
        "family:N",
        scale=alt.Scale(domain=domain, range=[colour(name) for name in domain]),
        legend=None,
    )
    shapes = alt.Shape(
        "family:N",
        scale=alt.Scale(domain=domain, range=[shape(name) for name in domain]),
        legend=None,
    )
    tooltip = [
        alt.Tooltip("recipe:N"),
        alt.Tooltip("family:N"),
        alt.Tooltip("ty:N", title=_short(y_title)),
        alt.Tooltip("tx:N", title=_short(x_title)),
    ]
    data = alt.Chart(alt.Data(values=points))
    layers = [
        data.mark_rule(opacity=0.4).encode(x=alt.X("x1:Q"), x2="x2:Q", y=y, color=colours),
        data.mark_rule(opacity=0.4).encode(x=x, y=alt.Y("y1:Q"), y2="y2:Q", color=colours),
    ]
    if points:
        front = data.transform_filter("datum.front").mark_line(
            interpolate="step-after", strokeDash=[2, 3], color="var(--muted)"
        )
        layers.append(front.encode(x=x, y=y, order="x:Q", strokeWidth=alt.value(1.25)))
    shown = data.mark_point(filled=True, size=80, opacity=1).properties(name="points")
    layers.append(shown.encode(x=x, y=y, color=colours, shape=shapes, tooltip=tooltip))
    return plain(alt.layer(*layers).properties(width="container", height=420))


def _short(axis: str) -> str:
    return axis.partition(" (")[0]


def _beats(one: Row, other: Row) -> bool:
    a, b = (one.means[X], -one.means[Y]), (other.means[X], -other.means[Y])
    return a != b and a[0] <= b[0] and a[1] <= b[1]
