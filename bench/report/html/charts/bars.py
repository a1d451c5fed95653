"""Stacked and paired bars, one line per recipe."""

from __future__ import annotations

import math
from typing import Any

from bench.analysis.rows import Row
from bench.report.html.charts import Chart, Key, limit, names, plain
from bench.report.html.metrics import metric
from bench.report.html.spending import Spending
from bench.report.html.words import listed, short

PARTS = {
    "load_seconds": "loading",
    "train_seconds": "training",
    "save_seconds": "saving",
    "eval_seconds": "evaluation",
}
PEAKS = {"peak_train_bytes": "training", "peak_eval_bytes": "evaluation"}
COLOURS = [f"var(--part-{number})" for number in range(1, 7)]
TUNING = "tuning"
LINE = 18
"""Pixels for one recipe."""


def time(rows: list[Row], id: str) -> Chart | None:
    """Wall-clock seconds, split."""
    values = _values(rows, PARTS, "s", 1.0)
    if not values:
        return None
    totals = {
        row.recipe: sum(row.means.get(name, 0.0) for name in PARTS)
        for row in rows
        if PARTS.keys() & row.means.keys()
    }
    alt = f"Stacked bars of seconds per run: {_extremes(totals, ' s')}."
    return Chart(
        id,
        _drawn(_bars(values, list(PARTS.values()), "seconds per run"), values),
        alt,
        legend=_legend(values, list(PARTS.values())),
    )


def memory(rows: list[Row], id: str) -> Chart | None:
    """Peak memory of training and of evaluation."""
    import altair as alt

    values = _values(rows, PEAKS, "MiB", 2.0**-20)
    if not values:
        return None
    chart = _bars(values, list(PEAKS.values()), "peak memory, MiB", stack=None)
    chart = chart.encode(yOffset=alt.YOffset("part:N", sort=list(PEAKS.values())))
    peaks = {
        row.recipe: row.means["peak_train_bytes"] / 2**20
        for row in rows
        if "peak_train_bytes" in row.means
    }
    told = f": in training {_extremes(peaks, ' MiB')}" if peaks else ""
    return Chart(
        id,
        _drawn(chart, values),
        f"Bars of peak memory in training and evaluation{told}.",
        legend=_legend(values, list(PEAKS.values())),
    )


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
    first = spent.currencies[0]
    totals = {
        row.recipe: sum(amounts.get(first, 0.0) for amounts in row.ledger.values())
        for row in rows
        if row.ledger
    }
    told = (
        f"Stacked bars of what was spent, by purpose ({listed(spent.purposes, 12)}). In {first}:"
        f" {_extremes(totals, '')}."
    )
    return Chart(id, _drawn(layers, values), told, legend=_legend(values, spent.purposes))


def _values(
    rows: list[Row], names: dict[str, str], unit: str, scale: float
) -> list[dict[str, Any]]:
    return [
        {
            "recipe": row.recipe,
            "part": part,
            "amount": scale * row.means[name],
            "text": f"{metric(name).text(row)} {unit}",
            "place": place,
        }
        for row in rows
        for place, (name, part) in enumerate(names.items())
        if name in row.means
    ]


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


def _drawn(chart: Any, values: list[dict[str, Any]]) -> dict[str, Any]:
    recipes = len({value["recipe"] for value in values})
    return plain(
        chart.add_params(limit()).properties(width="container", height=LINE * max(2, recipes))
    )


def _extremes(totals: dict[str, float], unit: str) -> str:
    low, high = min(totals, key=totals.__getitem__), max(totals, key=totals.__getitem__)
    return f"from {short(totals[low])}{unit} ({low}) to {short(totals[high])}{unit} ({high})"
