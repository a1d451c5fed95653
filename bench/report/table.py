"""The table for people: the same cells in the terminal, in Markdown and in a README."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.analysis import Group, columns
from bench.analysis.columns import Column
from bench.analysis.rows import Row
from bench.analysis.words import amount, percent


def heads(rows: list[Row], titles: Sequence[str]) -> list[str]:
    """The head of every column, `titles` being those of the measurements."""
    groups = ["tie group"] if tied(rows) else []
    return ["method", *groups, *titles, budget_title(rows), "seeds", "status"]


def lines(rows: list[Row], measurements: Sequence[Column]) -> list[list[str]]:
    """A line per row, as `heads` names the cells. No cell is blank."""
    groups = tied(rows)
    return [
        [
            row.recipe,
            *([row.tie_groups or "–"] if groups else []),
            *(column.text(row) for column in measurements),
            spent(row),
            str(row.seeds),
            row.status,
        ]
        for row in rows
    ]


def tied(rows: list[Row]) -> bool:
    """Whether rows were compared, so that they have tie groups."""
    return any(row.tie_groups for row in rows)


def main_columns(rows: list[Row]) -> list[Column]:
    """Those that have a head for the terminal."""
    return [column for column in columns.table(rows) if column.head]


def markdown(rows: list[Row]) -> str:
    """Every column of the rows, and what weakens a row as its last cell."""
    measurements = columns.table(rows)
    head, body = heads(rows, [c.title_and_unit for c in measurements]), lines(rows, measurements)
    if any(row.marks for row in rows):
        head = [*head, "remarks"]
        body = [[*own, ", ".join(row.marks) or "–"] for own, row in zip(body, rows, strict=True)]
    return grid(head, body)


def summary(rows: list[Row]) -> str:
    """The columns of the terminal as a Markdown table, for a README."""
    measurements = main_columns(rows)
    titles = [column.head.replace("→\n", "→").replace("\n", " ") for column in measurements]
    return grid(heads(rows, titles), lines(rows, measurements)) + "\n"


def reach_of(group: Group) -> str:
    """What the comparison could not have found; empty where nothing was compared."""
    if group.smallest is None or group.typical is None:
        return ""
    half, most = percent(group.typical), percent(group.smallest)
    worst = f", and in a quarter of the pairs those under {most}" if half != most else ""
    return (
        "Rows in one tie group are statistically indistinguishable. Differences under"
        f" {half} points would usually be missed{worst}."
    )


def spent_share(row: Row) -> float | str:
    """What was spent, as a share of the budget, or why that is not known."""
    currency, budget = row.budget
    value = row.means.get(f"spent_{currency}")
    if value is None or not budget or math.isnan(budget):
        return columns.named(f"spent_{currency}").why(row)
    return value / budget


def spent(row: Row) -> str:
    """The same as text."""
    share = spent_share(row)
    return share if isinstance(share, str) else f"{percent(share)}%"


def budget_title(rows: list[Row]) -> str:
    currency, budget = rows[0].budget
    return f"spent of {amount(budget)} {currency}" if math.isfinite(budget) else "spent"


def grid(head: list[str], body: list[list[str]]) -> str:
    """A Markdown table, all but the first column aligned to the right."""
    numeric = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join(
        "| " + " | ".join(escaped(c) for c in line) + " |" for line in (head, numeric, *body)
    )


def escaped(text: str, signs: str = "|") -> str:
    """Plugins and suites choose names, so nothing in them may act as markup: `signs` besides those
    that always do.
    """
    one_line = " ".join(text.split()).replace("\\", "\\\\")
    one_line = one_line.replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{sign}" if sign in signs else sign for sign in one_line)
