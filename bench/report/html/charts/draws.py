"""Tuning: what each draw of hyper-parameters gave, and what tuning changed."""

from __future__ import annotations

import math
from typing import Any

from bench.analysis import Trial
from bench.analysis.columns import named
from bench.analysis.rows import Row
from bench.analysis.words import listed
from bench.report.html.charts import Chart, Key, limit, names, plain
from bench.report.html.families import CIRCLE, SHAPES

ACCURACY = "target_accuracy"
KINDS = ("default", "tuned")
KEYS = (Key("default", "var(--dim)", CIRCLE), Key("tuned", "var(--accent)", SHAPES[3]))
WIDE = 20.0
"""A hyper-parameter whose greatest draw is so many times its smallest is shown on a logarithmic
axis.
"""
LINE = 24
"""Pixels for one recipe."""


def draws(trials: list[Trial], parameter: str, id: str) -> Chart | None:
    """Score over one hyper-parameter of one recipe, the chosen draw as a diamond."""
    import altair as alt

    shown = [t for t in trials if t.score is not None and parameter in t.drawn]
    if not shown:
        return None
    raw = [t.drawn[parameter] for t in shown]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in raw)
    values = [
        {
            "value": value if numeric else str(value),
            "text": f"{value:.3g}" if numeric else str(value),
        }
        | {"score": 100 * (t.score or 0.0), "number": t.number, "chosen": t.chosen}
        for t, value in zip(shown, raw, strict=True)
    ]
    tooltip = [alt.Tooltip("number:Q", title="draw"), alt.Tooltip("text:N", title="value")]
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_point(filled=True, opacity=1)
        .encode(
            x=_axis(parameter, raw if numeric else None),
            y=alt.Y(
                "score:Q",
                title=None,
                scale=alt.Scale(domain=[0, 100]),
                axis=alt.Axis(values=[0, 50, 100]),
            ),
            color=alt.condition(
                "datum.chosen", alt.value("var(--accent)"), alt.value("var(--dim)")
            ),
            size=alt.condition("datum.chosen", alt.value(110), alt.value(34)),
            shape=alt.condition("datum.chosen", alt.value("diamond"), alt.value("circle")),
            order=alt.Order("chosen:Q"),
            tooltip=[*tooltip, alt.Tooltip("score:Q", title="accuracy, %", format=".1f")],
        )
    )
    return Chart(
        id, plain(chart.properties(width="container", height=110)), _told(shown, parameter)
    )


def _told(shown: list[Trial], parameter: str) -> str:
    scores = [100 * (t.score or 0.0) for t in shown]
    best = next((t for t in shown if t.chosen), None)
    chosen = (
        f"; chosen: {best.drawn[parameter]} with {100 * (best.score or 0.0):.1f}%" if best else ""
    )
    return (
        f"Validation accuracy of {len(shown)} draws over {parameter}, {min(scores):.0f} to"
        f" {max(scores):.0f}%{chosen}."
    )


def _axis(parameter: str, numbers: list[float] | None) -> Any:
    """Logarithmic for learning rates and wide ranges; names where values are no numbers."""
    import altair as alt

    if numbers is None:
        return alt.X("value:N", title=parameter, axis=alt.Axis(labelAngle=0, labelLimit=90))
    if min(numbers) > 0 and (
        parameter.rsplit(".", maxsplit=1)[-1] == "lr" or max(numbers) / min(numbers) >= WIDE
    ):
        axis = alt.Axis(format="~g", labelOverlap=True, values=_decades(numbers))
        return alt.X(
            "value:Q",
            title=parameter,
            scale=alt.Scale(type="log", nice=False, padding=10),
            axis=axis,
        )
    axis = alt.Axis(tickCount=3, format="~f", labelOverlap=True)
    return alt.X(
        "value:Q", title=parameter, scale=alt.Scale(zero=False, nice=False, padding=10), axis=axis
    )


def _decades(numbers: list[float]) -> list[float]:
    """Powers of ten within the draws, or the ends where there are no two."""
    low, high = min(numbers), max(numbers)
    powers = [10.0**k for k in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    return powers if len(powers) > 1 else [low, high]


def changes(rows: list[Row], id: str) -> Chart | None:
    """Target accuracy with default hyper-parameters and with tuned ones, a line from one to the
    other.
    """
    by_name = {row.recipe: row for row in rows if ACCURACY in row.means}
    pairs = [
        (by_name[row.tuned_from], row)
        for row in by_name.values()
        if row.tuned_from in by_name and row.tuned_from
    ]
    if not pairs:
        return None
    pairs.sort(key=lambda pair: -pair[1].means[ACCURACY])
    accuracy = named(ACCURACY)
    told = [
        f"{before.recipe} from {accuracy.value(before)} to {accuracy.value(after)}"
        for before, after in pairs
    ]
    alt_text = (
        f"Target accuracy in % with default and with tuned hyper-parameters: {listed(told, 12)}."
    )
    return Chart(id, _changes(pairs), alt_text, legend=KEYS)


def _changes(pairs: list[tuple[Row, Row]]) -> dict[str, Any]:
    import altair as alt

    data = alt.Chart(alt.Data(values=[value for pair in pairs for value in _ends(*pair)]))
    y = alt.Y("recipe:N", sort=[before.recipe for before, _ in pairs], title=None, axis=names())
    x = alt.X("x:Q", title="target accuracy, %", scale=alt.Scale(domain=[0, 100]))
    colours = alt.Color(
        "kind:N", scale=alt.Scale(domain=KINDS, range=[key.colour for key in KEYS]), legend=None
    )
    shapes = alt.Shape(
        "kind:N", scale=alt.Scale(domain=KINDS, range=[key.shape for key in KEYS]), legend=None
    )
    tooltip = [
        alt.Tooltip("recipe:N"),
        alt.Tooltip("kind:N", title="hyper-parameters"),
        alt.Tooltip("text:N", title="target accuracy"),
    ]
    line = data.transform_filter("datum.kind == 'tuned'").mark_rule(
        color="var(--dim)", strokeWidth=1.5
    )
    layers = [
        line.encode(x=alt.X("from:Q"), x2="to:Q", y=y),
        data.mark_rule(opacity=0.3, strokeWidth=6).encode(
            x=alt.X("low:Q"), x2="high:Q", y=y, color=colours
        ),
        data.mark_point(filled=True, size=80, opacity=1).encode(
            x=x, y=y, color=colours, shape=shapes, tooltip=tooltip
        ),
    ]
    return plain(
        alt.layer(*layers)
        .add_params(limit())
        .properties(width="container", height=LINE * max(2, len(pairs)))
    )


def _ends(before: Row, after: Row) -> list[dict[str, Any]]:
    """The two points of one line."""
    accuracy = named(ACCURACY)
    line = {
        "recipe": before.recipe,
        "from": 100 * before.means[ACCURACY],
        "to": 100 * after.means[ACCURACY],
    }
    made = []
    for kind, row in zip(KINDS, (before, after), strict=True):
        low, high = accuracy.bounds(row)
        made.append(
            {
                **line,
                "kind": kind,
                "x": 100 * row.means[ACCURACY],
                "low": low,
                "high": high,
                "text": f"{accuracy.text(row)} %",
            }
        )
    return made
