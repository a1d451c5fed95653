"""Pictures of a result: what was learned against what was forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.analysis.rows import Row
from bench.records.schema import BASE

NAME = "learning-forgetting"
MOST_NAMES = 8  # with more points than these only those on the front have their names
LABEL_WIDTH, LABEL_HEIGHT = 25.0, 5.0  # in units of the axes: names nearer than this would overlap


def learning_against_forgetting(found: list[Row], folder: Path) -> list[Path]:
    """Target accuracy over forgetting, one point per recipe, as SVG and PNG; nothing where
    forgetting was not measured.
    """
    points = [_point(row) for row in found if {"target_accuracy", "forgetting"} <= row.means.keys()]
    if len(points) < 2:
        return []
    chart = _chart(points, points if len(points) <= MOST_NAMES else _front(points))
    files = [folder / f"{NAME}.svg", folder / f"{NAME}.png"]
    chart.save(files[0])
    chart.save(files[1], scale_factor=2)
    return files


def _point(row: Row) -> dict[str, Any]:
    x, y = 100 * row.means["forgetting"], 100 * row.means["target_accuracy"]
    (x1, x2), (y1, y2) = _extent(row, "forgetting"), _extent(row, "target_accuracy")
    kind = "base" if row.recipe == BASE else "method"
    return {
        "recipe": row.recipe,
        "kind": kind,
        "x": x,
        "y": y,
        "x1": x1,
        "x2": x2,
        "y1": y1,
        "y2": y2,
    }


def _extent(row: Row, column: str) -> tuple[float, float]:
    """The confidence interval where there is one, else a standard deviation to both sides."""
    mean, spread = row.means[column], row.spreads.get(column, 0.0)
    low, high = row.intervals.get(column, (mean - spread, mean + spread))
    return 100 * low, 100 * high


def _front(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The base, and each point than which no other learned as much and forgot less, or more and
    forgot as much.
    """
    places = {(p["x"], p["y"]) for p in points}
    return [
        p
        for p in points
        if p["kind"] == "base" or not any(_beats(other, (p["x"], p["y"])) for other in places)
    ]


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] <= other[0] and one[1] >= other[1]


def _labelled(points: list[dict[str, Any]], middle: float) -> list[dict[str, Any]]:
    """Each point with the side and the height of its name, so that names stay inside and off one
    another.
    """
    placed: list[dict[str, Any]] = []
    for point in sorted(points, key=lambda p: -p["y"]):
        side = "left" if point["x"] > middle else "right"
        height = point["y"]
        for other in placed:
            if (
                other["side"] == side
                and abs(other["x"] - point["x"]) < LABEL_WIDTH
                and abs(other["label_y"] - height) < LABEL_HEIGHT
            ):
                height = other["label_y"] + (
                    LABEL_HEIGHT if other["label_y"] < LABEL_HEIGHT else -LABEL_HEIGHT
                )
        placed.append({**point, "side": side, "label_y": height})
    return placed


def _chart(points: list[dict[str, Any]], named: list[dict[str, Any]]) -> Any:
    import altair as alt

    left = min(0.0, *(p["x1"] for p in points)) - 2
    right = max(10.0, *(p["x2"] for p in points)) * 1.05
    x_scale, y_scale = (
        alt.Scale(domain=[left, right], nice=False),
        alt.Scale(domain=[-4, 104], nice=False),
    )
    x = alt.X("x:Q", title="forgetting, points of accuracy (less is better)", scale=x_scale)
    y = alt.Y(
        "y:Q",
        title="target accuracy, %",
        scale=y_scale,
        axis=alt.Axis(values=list(range(0, 101, 20))),
    )
    colour = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=["base", "method"], range=["#6b7280", "#1d4ed8"]),
        legend=None,
    )
    data = alt.Chart(alt.Data(values=points))
    names = alt.Chart(alt.Data(values=_labelled(named, (left + right) / 2)))
    layers = [
        data.mark_rule().encode(x=alt.X("x1:Q"), x2="x2:Q", y=y, color=colour),
        data.mark_rule().encode(x=x, y=alt.Y("y1:Q"), y2="y2:Q", color=colour),
        data.mark_circle(size=90, opacity=1).encode(x=x, y=y, color=colour),
    ]
    sides: list[tuple[str, Any, int]] = [("left", "right", -10), ("right", "left", 10)]
    for side, align, shift in sides:
        text = names.transform_filter(alt.datum.side == side).mark_text(
            align=align, dx=shift, fontSize=13
        )
        layers.append(text.encode(x=x, y=alt.Y("label_y:Q"), text="recipe:N", color=colour))
    return (
        alt.layer(*layers)
        .properties(
            width=560,
            height=340,
            background="white",
            title=alt.Title(_caption(points, named), fontSize=12, fontWeight="normal"),
        )
        .configure_axis(labelFontSize=12, titleFontSize=13, gridColor="#e5e7eb")
        .configure_view(stroke=None)
    )


def _caption(points: list[dict[str, Any]], named: list[dict[str, Any]]) -> str:
    if len(named) == len(points):
        return ""
    return (
        f"Of {len(points)} points, named are those that no other beats in learning and forgetting"
        " at once."
    )
