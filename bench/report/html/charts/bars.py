"""Stacked and paired bars, one line per recipe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bench.analysis.columns import named
from bench.analysis.rows import Row
from bench.analysis.words import listed, short
from bench.report.html.charts import Chart, Key, vega
from bench.report.html.tables import counted, purposes

TIMES = ("load_seconds", "train_seconds", "save_seconds", "eval_seconds")
PEAKS = ("peak_train_bytes", "peak_eval_bytes")
COLOURS = [f"var(--part-{number})" for number in range(1, 7)]
LINE = 18
"""Pixels for one recipe."""


def time(rows: list[Row], id: str) -> Chart | None:
    """Wall-clock seconds of one run, split."""
    return _of_columns(rows, id, TIMES, "seconds per run", "zero")


def memory(rows: list[Row], id: str) -> Chart | None:
    """Peak memory of training and of evaluation, one bar each."""
    return _of_columns(rows, id, PEAKS, "peak memory, MiB", None)


def _of_columns(
    rows: list[Row], id: str, names: Sequence[str], title: str, stack: str | None
) -> Chart | None:
    """Bars of some columns: on one another, or beside one another where `stack` is None."""
    shown = [named(name) for name in names]
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
    return _chart("bars", id, values, [c.title for c in shown], title, title=title, stack=stack)


def ledger(rows: list[Row], id: str) -> Chart | None:
    """What was spent by purpose, in every currency that is counted by purpose."""
    parts, shown = purposes(rows), counted(rows)
    values = [
        {
            "recipe": row.recipe,
            "part": purpose,
            "currency": currency,
            "amount": value,
            "text": f"{short(value)} {currency}",
            "place": parts.index(purpose),
        }
        for row in rows
        for purpose, amounts in row.ledger.items()
        for currency, value in amounts.items()
        if currency in shown
    ]
    currency, budget = rows[0].budget
    given = {
        "currency": next(iter(shown), ""),
        "budget": [] if math.isnan(budget) else [{"currency": currency, "budget": budget}],
    }
    return _chart("ledger", id, values, parts, "what was spent, by purpose", **given)


def _chart(
    template: str, id: str, values: list[dict[str, Any]], parts: list[str], of: str, **given: Any
) -> Chart | None:
    """With room for one line per recipe, a legend, and a text for those who do not see it."""
    if not values:
        return None
    recipes = list(dict.fromkeys(value["recipe"] for value in values))
    present = [part for part in parts if any(value["part"] == part for value in values)]
    legend = tuple(Key(part, COLOURS[n % len(COLOURS)]) for n, part in enumerate(present))
    spec = vega(
        template,
        values=values,
        recipes=recipes,
        legend=legend,
        parts=parts,
        height=LINE * max(2, len(recipes)),
        **given,
    )
    alt = f"Bars of {of}, one line per recipe ({listed(parts, 12)}), as in the table below."
    return Chart(id, spec, alt, legend=legend)
