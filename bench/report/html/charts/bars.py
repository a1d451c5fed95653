"""Stacked and paired bars, one line per recipe."""

from __future__ import annotations

import math
from typing import Any

from bench.analysis.columns import Column, named
from bench.analysis.rows import Row
from bench.analysis.words import listed, short
from bench.report.html.charts import Chart, Key, limit, names, plain
from bench.report.html.spending import Spending

TIMES = ("load_seconds", "train_seconds", "save_seconds", "eval_seconds")
PEAKS = ("peak_train_bytes", "peak_eval_bytes")
COLOURS = [f"var(--part-{number})" for number in range(1, 7)]
TUNING = "tuning"
LINE = 18
"""Pixels for one recipe."""


def time(rows: list[Row], id: str) -> Chart | None:
    """Wall-clock seconds of one run, split."""
    return _of_columns(rows, id, [named(name) for name in TIMES], "seconds per run", "zero")


def memory(rows: list[Row], id: str) -> Chart | None:
    """Peak memory of training and of evaluation, one bar each."""
    return _of_columns(rows, id, [named(name) for name in PEAKS], "peak memory, MiB", None)


def _of_columns(
    rows: list[Row], id: str, shown: list[Column], title: str, stack: str | None
) -> Chart | None:
    """Bars of some columns: on one another, or beside one another where `stack` is None."""
    import altair as alt

    values = [
        {
            "recipe": row.recipe,
            "part": column.title,
            "amount": column.scale * row.means[column.name],
            "text": f"{column.text(row)} {column.unit}",
            "place": place,
        }
        for row in rows
        for place, column in enumerate(shown)
        if column.name in row.means
    ]
    if not values:
        return None
    parts = [column.title for column in shown]
    chart = _bars(values, parts, title, stack)
    if stack is None:
        chart = chart.encode(yOffset=alt.YOffset("part:N", sort=parts))
    return _chart(id, chart, values, parts, title)


def ledger(rows: list[Row], spent: Spending, id: str) -> Chart | None:
    """What was spent by purpose; the reader chooses the currency, and whether tuning counts."""
    import altair as alt

    values = [
        {
            "recipe": row.recipe,
            "part": purpose,
            "currency": currency,
            "amount": value,
            "text": f"{short(value)} {currency}",
        }
        | {"place": spent.purposes.index(purpose)}
        for row in rows
        for purpose, amounts in row.ledger.items()
        for currency, value in amounts.items()
    ]
    if not values:
        return None
    bars = _bars(values, spent.purposes, None, format="~s").add_params(
        alt.param(name="currency", value=spent.currencies[0]), alt.param(name=TUNING, value=True)
    )
    bars = bars.transform_filter(
        f"datum.currency == currency && ({TUNING} || datum.part != '{TUNING}')"
    )
    currency, budget = rows[0].budget
    whole = [] if math.isnan(budget) else [{"currency": currency, "budget": budget}]
    line = (
        alt.Chart(alt.Data(values=whole))
        .mark_rule(strokeDash=[4, 3], color="var(--ink)")
        .encode(x="budget:Q")
    )
    layers = alt.layer(bars, line.transform_filter("datum.currency == currency"))
    return _chart(id, layers, values, spent.purposes, "what was spent, by purpose")


def _chart(id: str, drawn: Any, values: list[dict[str, Any]], parts: list[str], of: str) -> Chart:
    """With room for one line per recipe, a legend, and a text for those who do not see it."""
    recipes = len({value["recipe"] for value in values})
    spec = drawn.add_params(limit()).properties(width="container", height=LINE * max(2, recipes))
    alt = f"Bars of {of}, one line per recipe ({listed(parts, 12)}), as in the table below."
    return Chart(id, plain(spec), alt, legend=_legend(values, parts))


def _bars(
    values: list[dict[str, Any]],
    parts: list[str],
    title: str | None,
    stack: Any = "zero",
    format: str = ",~r",
) -> Any:
    import altair as alt

    keys = _legend(values, parts)
    scale = alt.Scale(domain=[key.name for key in keys], range=[key.colour for key in keys])
    amounts = alt.Axis(tickCount=5, labelExpr=f"format(datum.value, '{format}')")
    recipes = list(dict.fromkeys(value["recipe"] for value in values))
    tooltip = [
        alt.Tooltip("recipe:N"),
        alt.Tooltip("part:N"),
        alt.Tooltip("text:N", title="amount"),
    ]
    return (
        alt.Chart(alt.Data(values=values))
        .mark_bar()
        .encode(
            x=alt.X("amount:Q", title=title, stack=stack, axis=amounts),
            y=alt.Y(
                "recipe:N",
                sort=recipes,
                title=None,
                scale=alt.Scale(paddingInner=0.28),
                axis=names(),
            ),
            color=alt.Color("part:N", scale=scale, legend=None),
            order=alt.Order("place:Q"),
            tooltip=tooltip,
        )
    )


def _legend(values: list[dict[str, Any]], parts: list[str]) -> tuple[Key, ...]:
    present = [part for part in parts if any(value["part"] == part for value in values)]
    return tuple(Key(part, COLOURS[place % len(COLOURS)]) for place, part in enumerate(present))
