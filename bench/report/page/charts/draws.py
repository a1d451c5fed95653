"""Tuning: what each draw of hyper-parameters gave, and what tuning changed."""

from __future__ import annotations

import math
from typing import Any

from ....findings import Trial
from ....rows import Row
from ..metrics import metric
from ..words import listed
from . import LABELS, Chart, plain

ACCURACY = "target_accuracy"
WIDE = 20.0
"""A hyper-parameter whose greatest draw is so many times its smallest is shown on a logarithmic axis."""


def draws(trials: list[Trial], parameter: str, id: str) -> Chart | None:
    """Score over one hyper-parameter of one recipe, the chosen draw filled."""
    import altair as alt

    shown = [t for t in trials if t.score is not None and parameter in t.drawn]
    if not shown:
        return None
    raw = [t.drawn[parameter] for t in shown]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in raw)
    values = [
        {"value": t.drawn[parameter] if numeric else str(t.drawn[parameter]), "score": 100 * (t.score or 0.0), "number": t.number}
        | {"chosen": t.chosen, "text": f"{t.drawn[parameter]:.3g}" if numeric else str(t.drawn[parameter])}
        for t in shown
    ]
    if numeric:
        log = min(raw) > 0 and (parameter.rsplit(".", maxsplit=1)[-1] == "lr" or max(raw) / min(raw) >= WIDE)
        scale = alt.Scale(type="log" if log else "linear", zero=False, nice=False, padding=10)
        x = alt.X(
            "value:Q",
            title=parameter,
            scale=scale,
            axis=alt.Axis(tickCount=3, format="~g", labelOverlap=True, values=_decades(raw) if log else alt.Undefined),
        )
    else:
        x = alt.X("value:N", title=parameter, axis=alt.Axis(labelAngle=0, labelLimit=90))
    chosen = alt.condition("datum.chosen", alt.value("var(--accent)"), alt.value("var(--dim)"))
    tooltip = [
        alt.Tooltip("number:Q", title="draw"),
        alt.Tooltip("text:N", title="value"),
        alt.Tooltip("score:Q", title="accuracy, %", format=".1f"),
    ]
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_point(filled=True, opacity=1)
        .encode(
            x=x,
            y=alt.Y("score:Q", title=None, scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(values=[0, 50, 100])),
            color=chosen,
            size=alt.condition("datum.chosen", alt.value(110), alt.value(34)),
            shape=alt.condition("datum.chosen", alt.value("diamond"), alt.value("circle")),
            tooltip=tooltip,
        )
    )
    best = next((t for t in shown if t.chosen), None)
    told = f"; chosen: {best.drawn[parameter]} with {100 * (best.score or 0.0):.1f}%" if best else ""
    scores = [v["score"] for v in values]
    alt_text = f"Validation accuracy of {len(shown)} draws over {parameter}, {min(scores):.0f} to {max(scores):.0f}%{told}."
    return Chart(id, plain(chart.properties(width="container", height=110)), alt_text)


def _decades(raw: list[float]) -> list[float]:
    """Powers of ten within the draws, or the ends where there is none."""
    low, high = min(raw), max(raw)
    powers = [10.0**k for k in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    return powers if len(powers) > 1 else [low, high]


def changes(rows: list[Row], id: str) -> Chart | None:
    """Target accuracy with default hyper-parameters and with tuned ones, a line from one to the other."""
    import altair as alt

    by_name = {row.recipe: row for row in rows}
    pairs = [(by_name[row.tuned_from], row) for row in rows if row.tuned_from in by_name and row.tuned_from]
    pairs = [(a, b) for a, b in pairs if ACCURACY in a.means and ACCURACY in b.means]
    if not pairs:
        return None
    accuracy = metric(ACCURACY)
    pairs.sort(key=lambda pair: -pair[1].means[ACCURACY])
    values: list[dict[str, Any]] = []
    for before, after in pairs:
        line = {"recipe": before.recipe, "from": 100 * before.means[ACCURACY], "to": 100 * after.means[ACCURACY]}
        for kind, row in (("default", before), ("tuned", after)):
            low, high = accuracy.bounds(row)
            values.append(
                {**line, "kind": kind, "x": 100 * row.means[ACCURACY], "low": low, "high": high, "text": f"{accuracy.text(row)} %"}
            )
    data = alt.Chart(alt.Data(values=values))
    y = alt.Y("recipe:N", sort=[a.recipe for a, _ in pairs], title=None, axis=alt.Axis(labelLimit=alt.ExprRef(LABELS["expr"]), grid=False))
    x = alt.X("x:Q", title="target accuracy, %", scale=alt.Scale(domain=[0, 100]))
    scale = alt.Scale(domain=["default", "tuned"], range=["var(--dim)", "var(--accent)"])
    colour = alt.Color("kind:N", scale=scale, legend=alt.Legend(orient="top", title=None))
    shapes = alt.Shape(
        "kind:N", scale=alt.Scale(domain=["default", "tuned"], range=["circle", "diamond"]), legend=alt.Legend(orient="top", title=None)
    )
    tooltip = [alt.Tooltip("recipe:N"), alt.Tooltip("kind:N", title="hyper-parameters"), alt.Tooltip("text:N", title="target accuracy")]
    layers = [
        data.transform_filter("datum.kind == 'tuned'")
        .mark_rule(color="var(--dim)", strokeWidth=1.5)
        .encode(x=alt.X("from:Q"), x2="to:Q", y=y),
        data.mark_rule(opacity=0.35, strokeWidth=5).encode(x=alt.X("low:Q"), x2="high:Q", y=y, color=colour),
        data.mark_point(filled=True, size=80, opacity=1).encode(x=x, y=y, color=colour, shape=shapes, tooltip=tooltip),
    ]
    told = [f"{a.recipe} from {accuracy.value(a)} to {accuracy.value(b)}" for a, b in pairs]
    alt_text = f"Target accuracy in % with default and with tuned hyper-parameters: {listed(told, 12)}."
    return Chart(id, plain(alt.layer(*layers).properties(width="container", height=alt.Step(24))), alt_text)
