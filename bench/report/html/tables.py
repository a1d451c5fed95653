"""The tables of the page: results, tasks, the ledger, and every two recipes compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bench.accounting.budget import CURRENCIES
from bench.analysis import Group, columns
from bench.analysis.columns import Column
from bench.analysis.rows import Row
from bench.analysis.words import percent, short, signed
from bench.records.schema import BASE

WHOLE, TUNING = "all of a run", "tuning"
UNKNOWN = "not counted"


@dataclass(frozen=True)
class Grid:
    """The table of one group."""

    id: str
    rows: list[Row]
    columns: list[Column]
    pairs: dict[str, str]
    """The default row of each recipe's pair, or itself: what is kept together."""
    everywhere: list[str]
    """Marks of every trained row: shown once below the table instead of in each line."""
    remarks: bool
    """Whether any line has a remark."""
    ids: dict[str, str]
    """Of each recipe's line, for links."""


def grid(group_rows: list[Row], number: int) -> Grid:
    """The table of a group, the base first, a tuned row right after its default."""
    known = {row.recipe for row in group_rows}
    pairs = {
        row.recipe: row.tuned_from if row.tuned_from in known else row.recipe for row in group_rows
    }
    rows = _ordered(group_rows, pairs)
    trained = [row for row in rows if row.recipe != BASE and row.means]
    first = trained[0].marks if len(trained) > 1 else []
    measured = columns.measured(rows)
    everywhere = [mark for mark in first if all(mark in row.marks for row in trained)]
    return Grid(
        id=f"table-{number}",
        rows=rows,
        columns=[c for c in measured if not c.task and not c.name.startswith("spent_")],
        pairs=pairs,
        everywhere=everywhere,
        remarks=any(
            row.imported or row.status != "ok" or set(row.marks) - set(everywhere) for row in rows
        ),
        ids={row.recipe: f"row-{number}-{place}" for place, row in enumerate(rows)},
    )


def _ordered(rows: list[Row], pairs: dict[str, str]) -> list[Row]:
    """In the order given, but the base first and each tuned row right after its default."""
    ranked = sorted(rows, key=lambda row: row.recipe != BASE)
    place: dict[str, int] = {}
    for number, row in enumerate(ranked):
        place.setdefault(pairs[row.recipe], number)
    return sorted(ranked, key=lambda row: (place[pairs[row.recipe]], row.tuned_from is not None))


def tasks(rows: list[Row]) -> list[tuple[str, str, Column]]:
    """Every task with its role and the column of its scores; empty where there is none."""
    every, retained = columns.tasks(rows, "score"), columns.tasks(rows, "forgetting")
    if not every and not columns.tasks(rows, "measured"):
        return []
    found = [("target", "mean over targets", "target_accuracy")]
    found += [(task, "target", f"score[{task}]") for task in every if task not in retained]
    found += [(task, "retained", f"score[{task}]") for task in retained]
    found += [(t, "measured too", f"measured[{t}]") for t in columns.tasks(rows, "measured")]
    return [(task, role, columns.named(name)) for task, role, name in found]


def change(row: Row, column: Column, rows: list[Row]) -> str:
    """Against the base, where both have a value."""
    base = next((other for other in rows if other.recipe == BASE), row)
    known = base is not row and column.name in row.means and column.name in base.means
    return signed(row.means[column.name] - base.means[column.name]) if known else ""


def currencies(rows: list[Row]) -> list[str]:
    """The budget's own first."""
    return sorted(CURRENCIES, key=lambda currency: currency != rows[0].budget[0])


def counted(rows: list[Row]) -> list[str]:
    """Currencies whose purpose is known: seconds and steps pass for several at once."""
    known = {
        c
        for row in rows
        for purpose in row.ledger.items()
        if purpose[0] != TUNING
        for c in purpose[1]
    }
    return [currency for currency in currencies(rows) if currency in known]


def purposes(rows: list[Row]) -> list[str]:
    """What something was spent for."""
    return list(dict.fromkeys(purpose for row in rows for purpose in row.ledger))


def spending(rows: list[Row]) -> list[tuple[str, str, list[str], str]]:
    """Recipe, purpose, amount per currency, share of the budget: by purpose where it is known, in
    all, and for the search before.
    """
    return [line for row in rows for line in _lines(row, currencies(rows))]


def _lines(row: Row, currencies: list[str]) -> list[tuple[str, str, list[str], str]]:
    whole = {c: row.means[f"spent_{c}"] for c in currencies if f"spent_{c}" in row.means}
    parts = {purpose: spent for purpose, spent in row.ledger.items() if purpose != TUNING}
    if whole:
        parts[next(iter(parts)) if len(parts) == 1 else WHOLE] = whole
    if TUNING in row.ledger:
        parts[TUNING] = row.ledger[TUNING]
    own, budget = row.budget
    return [
        (
            row.recipe,
            purpose,
            [short(spent[c]) if c in spent else UNKNOWN for c in currencies],
            f"{percent(spent[own] / budget)}%"
            if own in spent and budget and not math.isnan(budget)
            else UNKNOWN,
        )
        for purpose, spent in parts.items()
    ]


def pairs(group: Group) -> dict[str, Any]:
    """Thousands in a large suite, so they travel as numbers and the page writes them out: names
    once, then a line per pair: places of the two names, difference and bounds in points, p,
    adjusted p, chance in %.
    """
    names = list(dict.fromkeys(name for pair in group.pairs for name in (pair.one, pair.other)))
    place = {name: number for number, name in enumerate(names)}
    chances = {names: round(100 * chance) for names, chance in group.chances.items()}
    lines = [
        [place[pair.one], place[pair.other]]
        + [round(100 * value, 1) for value in (pair.difference, pair.low, pair.high)]
        + [round(value, 6) for value in (pair.p, pair.adjusted)]
        + [chances.get((pair.one, pair.other))]
        for pair in group.pairs
    ]
    return {"names": names, "lines": lines, "chances": bool(group.chances)}
