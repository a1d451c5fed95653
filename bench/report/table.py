"""The table for people: the same rows in the terminal, in Markdown and, unrounded, in CSV."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bench.analysis import Group
from bench.analysis.rows import Row


@dataclass(frozen=True)
class Column:
    """A column of the table: its title with the unit, and how a value in it is written."""

    name: str
    title: str
    write: Callable[[float], str]
    short: str = ""
    """Its title in the terminal; columns without one stand only in the files."""


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def whole(value: float) -> str:
    return f"{value:,.0f}"


def nats(value: float) -> str:
    return f"{value:.3f}"


def mebibytes(value: float) -> str:
    return f"{value / 2**20:,.0f}" if value >= 100 * 2**20 else f"{value / 2**20:,.2f}"


def seconds(value: float) -> str:
    return f"{value:,.1f}"


COLUMNS = (
    Column("target_accuracy", "target accuracy, %", percent, "target\n%"),
    Column("forgetting", "forgetting, points", percent, "forgot\npoints"),
    Column("items_lost", "items lost", whole, "items\nlost"),
    Column("items_gained", "items gained", whole, "items\ngained"),
    Column("drift_nll", "drift NLL, nats/token", nats),
    Column("drift_kl", "drift KL, nats/token", nats, "drift KL\nnats"),
    Column("peak_train_bytes", "peak memory in training, MiB", mebibytes, "peak\nMiB"),
    Column("peak_eval_bytes", "peak memory in evaluation, MiB", mebibytes),
    Column("train_tokens_per_second", "training, tokens/s", whole, "tokens/s"),
    Column("decode_tokens_per_second", "decoding, tokens/s", whole),
    Column("trainable_parameters", "trainable parameters", whole, "trainable"),
    Column("artifact_bytes", "artifact, MiB", mebibytes, "artifact\nMiB"),
    Column("train_seconds", "training, s", seconds, "train\ns"),
)


def cell(row: Row, column: Column) -> str:
    """A mean with its interval, or else its spread over seeds, or why there is nothing to tell.
    Never blank.
    """
    if column.name not in row.means:
        return row.missing.get(column.name, row.status)
    text = minus(column.write(row.means[column.name]))
    if column.name in row.intervals:
        low, high = (minus(column.write(bound)) for bound in row.intervals[column.name])
        return f"{text} ({low} to {high})"
    spread = row.spreads.get(column.name)
    return text if spread is None else f"{text} ± {column.write(spread)}"


def minus(text: str) -> str:
    """With the sign of subtraction, and none before a zero."""
    return text.lstrip("-") if not text.strip("-0.,") else text.replace("-", "−")


def reach_of(group: Group) -> str:
    """Which differences the table could have shown; nothing where nothing was compared."""
    if group.smallest is None or group.typical is None:
        return ""
    half, most = percent(group.typical), percent(group.smallest)
    return (
        f"Differences that would be found four times of five: {half} points for half of the pairs,"
        f" {most} for three quarters. Smaller ones may be there and stay unseen."
    )


def spent(row: Row) -> str:
    """What was spent of the budget, in its own currency."""
    value = row.means.get(f"spent_{row.budget[0]}")
    return (
        spent_share(row)
        if value is None
        else (
            f"{value:,.0f} ({spent_share(row)})"
            if value >= 100
            else f"{value:.1f} ({spent_share(row)})"
        )
    )


def spent_share(row: Row) -> str:
    currency, amount = row.budget
    value = row.means.get(f"spent_{currency}")
    return (
        row.missing.get(f"spent_{currency}", row.status)
        if value is None
        else f"{100 * value / amount:.1f}%"
    )


def budget_title(found: list[Row]) -> str:
    currency, amount = found[0].budget
    return f"spent of {amount:,.10g} {currency}" if math.isfinite(amount) else "spent"


def measured(found: list[Row]) -> list[Column]:
    """The columns in which at least one row has a value."""
    return [c for c in COLUMNS if any(c.name in row.means for row in found)]


def header(found: list[Row]) -> list[str]:
    return [
        "method",
        *(["letters"] if lettered(found) else []),
        *(c.title for c in measured(found)),
        budget_title(found),
        "seeds",
        "status",
    ]


def lines(found: list[Row]) -> list[list[str]]:
    return [
        [
            row.recipe,
            *letters(row, found),
            *(cell(row, c) for c in measured(found)),
            spent(row),
            str(row.seeds),
            ", ".join((row.status, *row.marks)),
        ]
        for row in found
    ]


def status(row: Row) -> str:
    """How its runs ended, and what weakens it."""
    return ", ".join((row.status, *row.marks))


def lettered(found: list[Row]) -> bool:
    return any(row.letters for row in found)


def letters(row: Row, found: list[Row]) -> list[str]:
    """The row's letters, where rows have letters at all."""
    return [row.letters or "–"] if lettered(found) else []


def summary(found: list[Row]) -> str:
    """The columns of the terminal as a Markdown table, for a README."""
    columns = [c for c in measured(found) if c.short]
    head = [
        "method",
        *(["letters"] if lettered(found) else []),
        *(c.short.replace("\n", " ") for c in columns),
        budget_title(found),
        "status",
    ]
    return (
        grid(
            head,
            [
                [
                    r.recipe,
                    *letters(r, found),
                    *(cell(r, c) for c in columns),
                    spent_share(r),
                    r.status,
                ]
                for r in found
            ],
        )
        + "\n"
    )


def grid(head: list[str], body: list[list[str]]) -> str:
    numeric = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join(
        "| " + " | ".join(escaped(c) for c in line) + " |" for line in (head, numeric, *body)
    )


def escaped(text: str) -> str:
    """Plugins and suites choose names, so nothing in them may act as markup."""
    one_line = " ".join(text.split()).replace("\\", "\\\\")
    return one_line.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
