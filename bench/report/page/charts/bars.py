"""Stacked and paired bars, one line per recipe."""

from __future__ import annotations

from typing import Any

from ....rows import Row
from ..metrics import metric
from ..words import listed, short
from . import LABELS, Chart, plain

PARTS = {"load_seconds": "loading", "train_seconds": "training", "save_seconds": "saving", "eval_seconds": "evaluation"}
PEAKS = {"peak_train_bytes": "training", "peak_eval_bytes": "evaluation"}
RAMP = ("var(--part-1)", "var(--part-2)", "var(--part-3)", "var(--part-4)", "var(--part-5)", "var(--part-6)")


def time(rows: list[Row], id: str) -> Chart | None:
    """Wall-clock seconds, split."""
    values = [
        {"recipe": row.recipe, "part": part, "amount": row.means[name], "text": f"{metric(name).text(row)} s", "place": place}
        for row in rows
        for place, (name, part) in enumerate(PARTS.items())
        if name in row.means
    ]
    if not values:
        return None
    totals = {row.recipe: sum(row.means.get(name, 0.0) for name in PARTS) for row in rows if any(name in row.means for name in PARTS)}
    alt = f"Stacked bars of seconds per run: {_extremes(totals, ' s')}."
    return Chart(id, _bars(values, list(PARTS.values()), "seconds per run", stacked=True), alt)


def memory(rows: list[Row], id: str) -> Chart | None:
    """Peak memory of training and of evaluation."""
    values = [
        {"recipe": row.recipe, "part": part, "amount": row.means[name] / 2**20, "text": f"{metric(name).text(row)} MiB", "place": place}
        for row in rows
        for place, (name, part) in enumerate(PEAKS.items())
        if name in row.means
    ]
    if not values:
        return None
    peaks = {row.recipe: row.means["peak_train_bytes"] / 2**20 for row in rows if "peak_train_bytes" in row.means}
    alt = f"Bars of peak memory in training and evaluation{': in training ' + _extremes(peaks, ' MiB') if peaks else ''}."
    return Chart(id, _bars(values, list(PEAKS.values()), "peak memory, MiB", stacked=False), alt)


def ledger(rows: list[Row], currencies: list[str], purposes: list[str], id: str) -> Chart | None:
    """What was spent by purpose; the reader chooses the currency."""
    values = [
        {"recipe": row.recipe, "part": purpose, "currency": currency, "amount": value, "text": f"{short(value)} {currency}"}
        | {"place": purposes.index(purpose)}
        for row in rows
        for purpose, spent in row.ledger.items()
        for currency, value in spent.items()
    ]
    if not values:
        return None
    first = currencies[0]
    totals = {row.recipe: sum(spent.get(first, 0.0) for spent in row.ledger.values()) for row in rows if row.ledger}
    alt = f"Stacked bars of what was spent, by purpose ({listed(purposes, 12)}). In {first}: {_extremes(totals, '')}."
    return Chart(id, _bars(values, purposes, "", stacked=True, choice=currencies[0]), alt)


def _bars(values: list[dict[str, Any]], parts: list[str], title: str, stacked: bool, choice: str | None = None) -> dict[str, Any]:
    import altair as alt

    present = [part for part in parts if any(value["part"] == part for value in values)]
    recipes = list(dict.fromkeys(value["recipe"] for value in values))
    scale = alt.Scale(domain=present, range=[RAMP[place % len(RAMP)] for place in range(len(present))])
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_bar()
        .encode(
            x=alt.X(
                "amount:Q",
                title=title or None,
                stack="zero" if stacked else None,
                axis=alt.Axis(tickCount=5, format="~s" if choice else ",~r"),
            ),
            y=alt.Y(
                "recipe:N",
                sort=recipes,
                title=None,
                scale=alt.Scale(paddingInner=0.28),
                axis=alt.Axis(labelLimit=alt.ExprRef(LABELS["expr"])),
            ),
            color=alt.Color("part:N", scale=scale, legend=alt.Legend(orient="top", title=None)),
            order=alt.Order("place:Q"),
            tooltip=[alt.Tooltip("recipe:N"), alt.Tooltip("part:N", title="part"), alt.Tooltip("text:N", title="amount")],
        )
    )
    if not stacked:
        chart = chart.encode(yOffset=alt.YOffset("part:N", sort=present))
    if choice:
        chart = chart.add_params(alt.param(name="currency", value=choice)).transform_filter("datum.currency == currency")
    return plain(chart.properties(width="container", height=alt.Step(18) if stacked else alt.Step(9)))


def _extremes(totals: dict[str, float], unit: str) -> str:
    low, high = min(totals, key=totals.__getitem__), max(totals, key=totals.__getitem__)
    least, most = (f"{short(totals[name]).strip()}{unit} ({name})" for name in (low, high))
    return f"from {least} to {most}"
