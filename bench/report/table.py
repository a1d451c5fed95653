"""The table for people: the same rows in the terminal, in Markdown and, unrounded, in CSV."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..plan import BASE
from ..rows import Row


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


NOTES = (
    "Forgetting is accuracy lost against the base, averaged over the retained tasks; items lost were right before and are wrong now, items "
    "gained the reverse. Drift is the change on plain text. Peak memory on a CPU is the resident set of the whole process, libraries "
    "included; on a GPU it is what torch allocated. Values with ± are mean and standard deviation over seeds."
)
OBJECTIVES = (
    "What each method itself optimises, on validation rows, before and after its stage: it tells a method that ran from one that worked."
)
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
    """Mean ± spread over seeds, or why there is nothing to tell. Never blank."""
    if column.name not in row.means:
        return row.missing.get(column.name, row.status)
    text = column.write(row.means[column.name])
    spread = row.spreads.get(column.name)
    return text if spread is None else f"{text} ± {column.write(spread)}"


def spent(row: Row) -> str:
    """What was spent of the budget, in its own currency."""
    value = row.means.get(f"spent_{row.budget[0]}")
    return (
        spent_share(row) if value is None else f"{value:,.0f} ({spent_share(row)})" if value >= 100 else f"{value:.1f} ({spent_share(row)})"
    )


def spent_share(row: Row) -> str:
    currency, amount = row.budget
    value = row.means.get(f"spent_{currency}")
    return row.missing.get(f"spent_{currency}", row.status) if value is None else f"{100 * value / amount:.1f}%"


def budget_title(found: list[Row]) -> str:
    currency, amount = found[0].budget
    return f"spent of {amount:,.10g} {currency}"


def measured(found: list[Row]) -> list[Column]:
    """The columns in which at least one row has a value."""
    return [c for c in COLUMNS if any(c.name in row.means for row in found)]


def header(found: list[Row]) -> list[str]:
    return ["method", *(c.title for c in measured(found)), budget_title(found), "seeds", "status"]


def lines(found: list[Row]) -> list[list[str]]:
    return [[row.recipe, *(cell(row, c) for c in measured(found)), spent(row), str(row.seeds), row.status] for row in found]


def markdown(found: list[Row]) -> str:
    """The main table, the retained tasks one by one, and what went wrong."""
    parts = [_grid(header(found), lines(found))]
    if retained := retained_tasks(found):
        parts.append("Retained tasks: accuracy in %, and items lost / gained against the base.\n\n" + _grid(*_retained(found, retained)))
    if own := [row for row in found if row.objectives]:
        parts.append(OBJECTIVES + "\n\n" + _grid(["method", "stage", "objective", "before", "after"], _objectives(own)))
    if reasons := [row for row in found if row.reason]:
        parts.append("\n".join(f"* **{_escaped(row.recipe)}**: {row.status}: {_escaped(row.reason or '')}" for row in reasons))
    parts.append(NOTES)
    return "\n\n".join(parts) + "\n"


def summary(found: list[Row]) -> str:
    """The columns of the terminal as a Markdown table, for a README."""
    columns = [c for c in measured(found) if c.short]
    head = ["method", *(c.short.replace("\n", " ") for c in columns), budget_title(found), "status"]
    return _grid(head, [[row.recipe, *(cell(row, c) for c in columns), spent_share(row), row.status] for row in found]) + "\n"


def retained_tasks(found: list[Row]) -> list[str]:
    return list(dict.fromkeys(c[len("score[") : -1] for row in found for c in row.means if c.startswith("score[")))


def _retained(found: list[Row], tasks: list[str]) -> tuple[list[str], list[list[str]]]:
    body = []
    for row in found:
        cells = [row.recipe]
        for task in tasks:
            if (score := row.means.get(f"score[{task}]")) is None:
                cells.append(row.missing.get("forgetting", row.status))
                continue
            flips = f"{row.means[f'items_lost[{task}]']:.0f} / {row.means[f'items_gained[{task}]']:.0f}"
            cells.append(percent(score) if row.recipe == BASE else f"{percent(score)} (−{flips.replace(' / ', ' / +')})")
        body.append(cells)
    return ["method", *tasks], body


def _objectives(found: list[Row]) -> list[list[str]]:
    """A line for every number that a stage watches; an arrow marks the one that it strives for, and where to."""
    arrows = {"lower": " ↓", "higher": " ↑", None: ""}
    return [
        [row.recipe, " ".join((o.stage, o.method)).strip(), o.name + arrows[o.better], f"{o.before:.4g}", f"{o.after:.4g}"]
        for row in found
        for o in row.objectives
    ]


def _grid(head: list[str], body: list[list[str]]) -> str:
    numeric = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(_escaped(c) for c in line) + " |" for line in (head, numeric, *body))


def _escaped(text: str) -> str:
    """Plugins and suites choose names, so nothing in them may act as markup."""
    one_line = " ".join(text.split()).replace("\\", "\\\\")
    return one_line.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
