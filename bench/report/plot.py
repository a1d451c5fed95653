"""Pictures of a result: what was learned against what was forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..plan import BASE
from ..stats import Row

NAME = "learning-forgetting"


def learning_against_forgetting(found: list[Row], folder: Path) -> list[Path]:
    """Target accuracy over forgetting, one point per recipe, as SVG and PNG; nothing where forgetting was not measured."""
    points = [_point(row) for row in found if {"target_accuracy", "forgetting"} <= row.means.keys()]
    if len(points) < 2:
        return []
    chart = _chart(points)
    files = [folder / f"{NAME}.svg", folder / f"{NAME}.png"]
    chart.save(files[0])
    chart.save(files[1], scale_factor=2)
    return files


def _point(row: Row) -> dict[str, Any]:
    x, y = 100 * row.means["forgetting"], 100 * row.means["target_accuracy"]
    dx, dy = 100 * row.spreads.get("forgetting", 0.0), 100 * row.spreads.get("target_accuracy", 0.0)
    kind = "base" if row.recipe == BASE else "method"
    return {"recipe": row.recipe, "kind": kind, "x": x, "y": y, "x1": x - dx, "x2": x + dx, "y1": y - dy, "y2": y + dy}


def _chart(points: list[dict[str, Any]]) -> Any:
    import altair as alt

    reach = max(10.0, *(p["x2"] for p in points))
    left = min(0.0, *(p["x1"] for p in points))
    x = alt.X("x:Q", title="forgetting, points of accuracy (less is better)", scale=alt.Scale(domain=[left - 2, reach * 1.15]))
    y = alt.Y("y:Q", title="target accuracy, %", scale=alt.Scale(domain=[0, 100]))
    colour = alt.Color("kind:N", scale=alt.Scale(domain=["base", "method"], range=["#6b7280", "#1d4ed8"]), legend=None)
    data = alt.Chart(alt.Data(values=points))
    dots = data.mark_circle(size=90, opacity=1).encode(x=x, y=y, color=colour)
    names = data.mark_text(align="left", dx=9, dy=-7, fontSize=13).encode(x=x, y=y, text="recipe:N", color=colour)
    across = data.mark_rule().encode(x=alt.X("x1:Q"), x2="x2:Q", y=y, color=colour)
    along = data.mark_rule().encode(x=x, y=alt.Y("y1:Q"), y2="y2:Q", color=colour)
    return (
        alt.layer(across, along, dots, names)
        .properties(width=560, height=340, background="white")
        .configure_axis(labelFontSize=12, titleFontSize=13, gridColor="#e5e7eb")
        .configure_view(stroke=None)
    )
