"""What is known about a column: its name for people, its unit, and which way is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.accounting.budget import CURRENCIES
from bench.analysis.rows import Row
from bench.report import table
from bench.report.html.words import general, short, signed, span

Better = Literal["higher", "lower"]

SCALES = {"%": 100.0, "points": 100.0, "MiB": 2.0**-20}
"""From what stands in the records to what stands on an axis, by unit."""
BETTER: dict[str, Better] = {
    **dict.fromkeys(
        (
            "target_accuracy",
            "score",
            "items_gained",
            "train_tokens_per_second",
            "decode_tokens_per_second",
        ),
        "higher",
    ),
    **dict.fromkeys(
        (
            "forgetting",
            "items_lost",
            "drift_nll",
            "drift_kl",
            "peak_train_bytes",
            "peak_eval_bytes",
            "artifact_bytes",
        ),
        "lower",
    ),
    **dict.fromkeys(("load_seconds", "train_seconds", "save_seconds", "eval_seconds"), "lower"),
}
MORE = (
    table.Column("score", "accuracy, %", table.percent),
    table.Column("load_seconds", "loading, s", table.seconds),
    table.Column("save_seconds", "saving, s", table.seconds),
    table.Column("eval_seconds", "evaluation, s", table.seconds),
    table.Column("total_parameters", "total parameters", table.whole),
    *(table.Column(f"spent_{currency}", f"spent, {currency}", short) for currency in CURRENCIES),
)
KNOWN = {column.name: column for column in (*table.COLUMNS, *MORE)}


@dataclass(frozen=True)
class Metric:
    """One column of the results, as the page speaks of it."""

    name: str
    title: str
    unit: str
    write: Callable[[float], str]
    better: Better | None = None
    short: bool = False
    """Whether it belongs in the table before anybody asks for more."""
    task: str = ""
    """The task that it is about, where it is about one."""

    @property
    def scale(self) -> float:
        return SCALES.get(self.unit, 1.0)

    @property
    def name_and_unit(self) -> str:
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def axis(self) -> str:
        """Title of an axis: unit and direction included."""
        better = {"higher": " (more is better)", "lower": " (less is better)", None: ""}[
            self.better
        ]
        return f"{self.name_and_unit}{better}"

    def value(self, row: Row) -> str:
        """The mean alone."""
        return signed(self.write(row.means[self.name]))

    def text(self, row: Row) -> str:
        """The value with its interval or spread, on one line."""
        extent, value = self.extent(row), self.value(row)
        return (
            value
            if not extent
            else f"{value} {extent}"
            if extent.startswith("±")
            else f"{value} ({extent})"
        )

    def extent(self, row: Row) -> str:
        """The interval where there is one, else the spread over seeds, else nothing."""
        if (interval := row.intervals.get(self.name)) is not None:
            return span(*interval, self.write)
        spread = row.spreads.get(self.name)
        return (
            ""
            if spread is None
            else f"± {self._like(self.write(row.means[self.name]), self.write(spread))}"
        )

    @staticmethod
    def _like(value: str, spread: str) -> str:
        """No more digits after the point than the value has."""
        digits = spread.replace(",", "")
        plain = digits.replace(".", "", 1).isdigit() and "." in digits
        return f"{float(digits):,.0f}" if plain and "." not in value else spread

    def bounds(self, row: Row) -> tuple[float, float]:
        """Interval, or one spread to both sides, or the value itself; in units of the axis."""
        value, spread = row.means[self.name], row.spreads.get(self.name, 0.0)
        low, high = row.intervals.get(self.name, (value - spread, value + spread))
        return low * self.scale, high * self.scale


def metric(name: str) -> Metric:
    """What is known about a column, by its name in `Row.means`; a stranger's column keeps its own
    name.
    """
    whole, _, task = name.removesuffix("]").partition("[")
    column = KNOWN.get(whole) or table.Column(whole, whole.replace("_", " "), general)
    title, _, unit = column.title.partition(", ")
    if task:
        title = f"{title}: {task}"
    return Metric(
        name, title, unit, column.write, BETTER.get(whole), bool(column.short) and not task, task
    )


def measured(rows: list[Row]) -> list[Metric]:
    """Every column in which a row has a value: the table's own in their order, then others, then
    those of single tasks.
    """
    found = dict.fromkeys(name for row in rows for name in row.means)
    order = {name: place for place, name in enumerate(KNOWN)}
    ranked = sorted(
        found, key=lambda name: ("[" in name, order.get(name.partition("[")[0], len(order)))
    )
    return [metric(name) for name in ranked]
