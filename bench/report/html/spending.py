"""The ledger: what was spent, by purpose, in every currency."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.accounting.budget import CURRENCIES
from bench.analysis.rows import Row
from bench.analysis.words import percent, short

WHOLE = "all"
UNKNOWN = "not counted"


@dataclass(frozen=True)
class Spending:
    """The ledger of a group's rows."""

    currencies: list[str]
    """The budget's own first."""
    purposes: list[str]
    lines: list[tuple[str, str, list[str], str]]
    """Recipe, purpose, amount per currency, share of the budget."""


def spending(rows: list[Row]) -> Spending | None:
    """By purpose where it is known, and in all; None where nothing was spent."""
    own = rows[0].budget[0]
    currencies: list[str] = sorted(CURRENCIES, key=lambda c: c != own)
    lines = [line for row in rows for line in _lines(row, currencies)]
    purposes = list(dict.fromkeys(purpose for row in rows for purpose in row.ledger))
    return Spending(currencies, purposes, lines) if lines else None


def _lines(row: Row, currencies: list[str]) -> list[tuple[str, str, list[str], str]]:
    whole = {c: row.means[f"spent_{c}"] for c in currencies if f"spent_{c}" in row.means}
    parts = dict(row.ledger)
    if whole:
        only = next(iter(parts)) if len(parts) == 1 else WHOLE
        parts = {**parts, only: whole}
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
