"""The columns: everything that is known about each measurement, one entry each in columns.yaml.

Records are read, averaged and compared, and CSV, Markdown, LaTeX, terminal, page and charts are
written from this list alone, so a new measurement is one new entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import yaml

from bench.accounting.budget import CURRENCIES
from bench.analysis.rows import Row
from bench.analysis.words import general, mebibytes, minus, percent, short, whole

UNITS: dict[str | None, tuple[float, Callable[[float], str]]] = {
    "%": (100.0, percent),
    "points": (100.0, percent),
    "items": (1.0, whole),
    "nats/token": (1.0, "{:.3f}".format),
    "MiB": (2.0**-20, mebibytes),
    "tokens/s": (1.0, whole),
    "s": (1.0, "{:,.1f}".format),
    "": (1.0, whole),
    None: (1.0, general),
}
"""Scale from the value in a record to the value on an axis, and how it is written, by unit."""
AMOUNT = (1.0, short)
"""The same of a currency."""


@dataclass(frozen=True)
class Column:
    """One measurement."""

    name: str
    """In the CSV file and in `Row.means`; `score[task]` for one task."""
    title: str
    unit: str | None = ""
    """None where nothing is known of it."""
    better: Literal["higher", "lower"] | None = None
    head: str = ""
    """Two short lines for the terminal. Columns with a head are also in the paper's tables and
    shown on the page at once.
    """
    about: Literal["quality", "cost"] = "cost"
    """Which of the paper's two tables it is in."""
    source: str = ""
    """Where a record holds it, as `train.seconds.load`; empty where it is computed in `measure`."""
    otherwise: str = "not measured"
    """Why it may be missing there."""
    machine: bool = False
    """Whether it depends on hardware and library versions."""
    detail: bool = False
    """Left out of the Markdown table: a reader finds it in the CSV file and on the page."""
    task: str = ""
    """The task that it is about, where it is about one."""

    @property
    def scale(self) -> float:
        return UNITS.get(self.unit, AMOUNT)[0]

    def write(self, value: float) -> str:
        """A value as text, without its unit."""
        return minus(UNITS.get(self.unit, AMOUNT)[1](value))

    @property
    def title_and_unit(self) -> str:
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def axis(self) -> str:
        """Title of an axis: unit and direction included."""
        return self.title_and_unit + (f" ({self.better} is better)" if self.better else "")

    def value(self, row: Row) -> str:
        """The mean alone."""
        return self.write(row.means[self.name])

    def quantity(self, value: float) -> str:
        """A value with its unit, for a sentence."""
        text = self.write(value)
        return f"{text}%" if self.unit == "%" else f"{text} {self.unit or ''}".rstrip()

    def ends(self, row: Row) -> tuple[str, str] | None:
        """Both bounds of the confidence interval, where there is one."""
        interval = row.intervals.get(self.name)
        return interval and (self.write(interval[0]), self.write(interval[1]))

    def extent(self, row: Row) -> str:
        """The interval where there is one, else the deviation over seeds, else nothing."""
        if ends := self.ends(row):
            return " to ".join(ends)
        return f"± {self.write(row.spreads[self.name])}" if self.name in row.spreads else ""

    def text(self, row: Row) -> str:
        """The value with its interval or deviation, or why there is no value; never blank."""
        if self.name not in row.means:
            return self.why(row)
        value, extent = self.value(row), self.extent(row)
        if not extent:
            return value
        return f"{value} {extent}" if extent.startswith("±") else f"{value} ({extent})"

    def why(self, row: Row) -> str:
        """Why there is no value."""
        return row.missing.get(self.name) or (row.status if row.status != "ok" else "not measured")

    def bounds(self, row: Row) -> tuple[float, float]:
        """Interval, or one deviation to both sides, or the value itself; in units of the axis."""
        value, spread = row.means[self.name], row.spreads.get(self.name, 0.0)
        low, high = row.intervals.get(self.name, (value - spread, value + spread))
        return low * self.scale, high * self.scale


_ENTRIES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
COLUMNS, DERIVED = (
    tuple(Column(**entry) for entry in _ENTRIES[name]) for name in ("measured", "derived")
)
SPENT = tuple(
    Column(
        f"spent_{currency}",
        "spent",
        currency,
        source=f"train.ledger.spent.{currency}",
        machine=currency == "seconds",
        detail=True,
    )
    for currency in CURRENCIES
)


@cache
def every() -> Mapping[str, Column]:
    """All columns by name, in the order in which they are shown."""
    return MappingProxyType({column.name: column for column in (*COLUMNS, *SPENT, *DERIVED)})


@cache
def named(name: str) -> Column:
    """What is known of a column in `Row.means`; an unknown one keeps its own name."""
    plain, _, task = name.removesuffix("]").partition("[")
    found = every().get(plain) or Column(plain, plain.replace("_", " "), None)
    if not task:
        return found
    return replace(found, name=name, title=f"{found.title}: {task}", head="", task=task)


def table(rows: Iterable[Row]) -> list[Column]:
    """The columns of the Markdown table in which at least one row has a value."""
    found = {name for row in rows for name in row.means}
    return [column for column in COLUMNS if column.name in found and not column.detail]


def measured(rows: Iterable[Row]) -> list[Column]:
    """Every column in which a row has a value: known ones first, those of single tasks last."""
    order = {name: place for place, name in enumerate(every())}
    found = dict.fromkeys(name for row in rows for name in row.means)
    ranked = sorted(
        found, key=lambda name: ("[" in name, order.get(name.partition("[")[0], len(order)))
    )
    return [named(name) for name in ranked]


def tasks(rows: Iterable[Row], name: str) -> list[str]:
    """The tasks for which some row has this column."""
    found = (named(column) for row in rows for column in row.means if column.startswith(f"{name}["))
    return list(dict.fromkeys(column.task for column in found))
