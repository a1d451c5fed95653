"""The ledger: what was spent, by purpose, in every currency."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.accounting.budget import CURRENCIES
from bench.analysis.rows import Row
from bench.report.html.words import short

WHOLE = "all"


@dataclass(frozen=True)
class Spending:
    """The ledger of a group's rows."""

    currencies: list[str]
    """The budget's own first."""
    purposes: list[str]
    lines: list[tuple[str, str, list[str], str]]
    """Recipe, purpose, amount per currency, share of the budget."""


def spending(rows: list[Row]) -> Spending | None:
    """By purpose where it is known, else in all; nothing where nothing was spent."""
    own = rows[0].budget[0]
    currencies: list[str] = sorted(CURRENCIES, key=lambda c: c != own)
    lines = [line for row in rows for line in _lines(row, currencies)]
    purposes = list(dict.fromkeys(purpose for row in rows for purpose in row.ledger))
    return Spending(currencies, purposes, lines) if lines else None


def _lines(row: Row, currencies: list[str]) -> list[tuple[str, str, list[str], str]]:
    whole = {c: row.means[f"spent_{c}"] for c in currencies if f"spent_{c}" in row.means}
    parts = [*row.ledger.items()] if len(row.ledger) > 1 or not whole else []
    if whole:
        parts.append((next(iter(row.ledger)) if len(row.ledger) == 1 else WHOLE, whole))
    own, budget = row.budget
    return [
        (
            row.recipe,
            purpose,
            [short(spent[c]) if c in spent else "not counted" for c in currencies],
            _share(spent.get(own), budget),
        )
        for purpose, spent in parts
    ]


def _share(spent: float | None, budget: float) -> str:
    return (
        "not counted"
        if spent is None or not budget or math.isnan(budget)
        else f"{100 * spent / budget:.1f}%"
    )
