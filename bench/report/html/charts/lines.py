"""Learning curves: each recipe in its own small picture, all others in grey behind it."""

from __future__ import annotations

from typing import Any

from bench.analysis import CurvePoint
from bench.analysis.words import listed
from bench.report.html.charts import Chart, plain

DATA = "curve"
"""Name of the numbers that all the small pictures share."""


def points(curve: list[CurvePoint]) -> list[dict[str, Any]]:
    """Shares and accuracies in percent."""
    return [
        {
            "recipe": p.recipe,
            "share": 100 * p.share,
            "mean": 100 * p.mean,
            "low": 100 * p.low,
            "high": 100 * p.high,
        }
        | {"text": f"{100 * p.mean:.1f}% ({100 * p.low:.1f}–{100 * p.high:.1f})"}
        for p in sorted(curve, key=lambda p: (p.recipe, p.share))
    ]


def curves(curve: list[CurvePoint]) -> list[Chart]:
    """One picture per recipe, in order of appearance."""
    recipes = list(dict.fromkeys(p.recipe for p in curve))
    return [
        Chart(f"curve-{number}", _spec(recipe, curve), _alt(recipe, curve), recipe)
        for number, recipe in enumerate(recipes)
    ]


def _alt(recipe: str, curve: list[CurvePoint]) -> str:
    steps = [
        f"{100 * p.mean:.0f}% with {100 * p.share:g}% of the budget"
        for p in sorted(curve, key=lambda p: p.share)
        if p.recipe == recipe
    ]
    return f"Learning curve of {recipe}: {listed(steps, 12)}."


def _spec(recipe: str, curve: list[CurvePoint]) -> dict[str, Any]:
    import altair as alt

    shares = sorted({100 * p.share for p in curve})
    x = alt.X(
        "share:Q",
        title=None,
        scale=alt.Scale(type="log"),
        axis=alt.Axis(values=shares, format="~g", labelExpr="datum.label + '%'"),
    )
    y = alt.Y(
        "mean:Q", title=None, scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(values=[0, 50, 100])
    )
    everybody = alt.Chart(alt.NamedData(DATA))
    own = everybody.transform_filter(alt.FieldEqualPredicate(field="recipe", equal=recipe))
    tooltip = [
        alt.Tooltip("recipe:N"),
        alt.Tooltip("share:Q", title="% of the budget"),
        alt.Tooltip("text:N", title="target accuracy"),
    ]
    layers = [
        everybody.mark_line(color="var(--faint)", strokeWidth=1).encode(
            x=x, y=y, detail="recipe:N"
        ),
        own.mark_area(opacity=0.18, color="var(--accent)").encode(
            x=x, y=alt.Y("low:Q"), y2="high:Q"
        ),
        own.mark_line(color="var(--accent)", strokeWidth=2).encode(x=x, y=y),
        own.mark_circle(color="var(--accent)", size=36, opacity=1).encode(
            x=x, y=y, tooltip=tooltip
        ),
    ]
    return plain(alt.layer(*layers).properties(width="container", height=120))
