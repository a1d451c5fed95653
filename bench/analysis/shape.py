"""What a report says, as data; its files only write it down, each in its own way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from bench.analysis.again import Again
from bench.analysis.columns import Column, named
from bench.analysis.rows import Row
from bench.analysis.statistics import Comparison, Estimate, Pair
from bench.records.schema import BASE


@dataclass
class Group:
    """Rows that may be compared: the same budget, data and evaluation."""

    rows: list[Row]
    apart: str = ""
    """What sets these rows apart from the first group's; empty for the first."""
    pairs: list[Pair] = field(default_factory=list)
    """Every two methods compared in target accuracy."""
    smallest: float | None = None
    """The difference in target accuracy, 0..1, that three pairs of four would have shown in four
    suites of five.
    """
    environments: list[str] = field(default_factory=list)
    """Hardware and library versions that rows were measured with, the most common first. Speed and
    memory of rows from another one are in `elsewhere`, not among the rows' own numbers.
    """
    elsewhere: list[tuple[str, list[Row]]] = field(default_factory=list)
    """Environment, and rows that hold nothing but their speed and memory in it."""
    chances: dict[tuple[str, str], float] = field(default_factory=dict)
    """By pair of recipes: how often a run of the first scores above one of the second, over seeds
    and targets.
    """
    compared: dict[tuple[str, ...], Comparison] = field(default_factory=dict)
    """The same comparison on some of the targets alone, and on all of them."""
    typical: float | None = None
    """The same for half of the pairs: far less than `smallest` where a few recipes are unstable."""
    least_forgetful: list[str] = field(default_factory=list)
    """Of the recipes that tie with the best, the one that forgets least and those tied with it."""
    best: int | None = None
    """How many rows, the best ones, were compared with one another; None: all of them."""

    @property
    def base(self) -> Row | None:
        """The row of the start model, where there is one."""
        return next((row for row in self.rows if row.recipe == BASE), None)

    def whole_rows(self) -> list[Row]:
        """See `Analysis.whole_rows`."""
        apart = {row.recipe: row for _, rows in self.elsewhere for row in rows}
        measured = ("means", "spreads", "intervals")
        return [
            replace(row, **{kind: getattr(row, kind) | getattr(own, kind) for kind in measured})
            if (own := apart.get(row.recipe))
            else row
            for row in self.rows
        ]


@dataclass(frozen=True)
class Trial:
    """One draw of hyper-parameters, and what it gave on validation data."""

    recipe: str
    number: int
    drawn: dict[str, Any]
    """Hyper-parameters by dotted name, such as lr or 1.dpo.beta."""
    status: str
    score: float | None
    """Target accuracy on the validation split, 0..1."""
    chosen: bool


@dataclass(frozen=True)
class CurvePoint:
    """What a recipe learned and forgot that was given only a share of the budget, its learning rate
    annealed within it.
    """

    recipe: str
    share: float
    accuracy: Estimate
    forgetting: Estimate | None = None
    """None where no retained task was scored."""


@dataclass(frozen=True)
class Sequence:
    """How one recipe went through several targets, as a mean over seeds."""

    recipe: str
    tasks: list[str]
    """The targets in their order, then the retained tasks."""
    matrix: list[list[float]]
    """R[i][j]: score on task j after stage i; row 0 is the base."""
    metrics: dict[str, float]
    """average_accuracy, backward_transfer, forward_transfer, forgetting."""

    def columns(self) -> list[tuple[Column, float]]:
        """What is known of each metric, with its value."""
        return [(named(name), value) for name, value in self.metrics.items()]


@dataclass
class Analysis:
    """What may be concluded from one results folder."""

    name: str
    headline: str
    groups: list[Group]
    level: float
    """Of every confidence interval and family of tests, such as 0.95."""
    suite: str = ""
    """The suite as resolved, YAML; empty where records came from elsewhere."""
    trials: list[Trial] = field(default_factory=list)
    curve: list[CurvePoint] = field(default_factory=list)
    sequences: list[Sequence] = field(default_factory=list)
    ranking: list[str] = field(default_factory=list)
    """What tuning did to the ranking, in sentences made from the numbers; empty where nothing was
    tuned.
    """
    caveats: list[str] = field(default_factory=list)
    """What limits these numbers, a sentence each."""
    provenance: dict[str, str] = field(default_factory=dict)
    """Where the numbers come from: commit, versions, hardware, fingerprints of data and model."""
    again: dict[str, Again] = field(default_factory=dict)
    """Rows whose runs were done once more, by recipe."""
    left_out: int = 0
    """Rows that are not among the groups, because a person would not read so many."""

    @property
    def rows(self) -> list[Row]:
        return [row for group in self.groups for row in group.rows]

    def whole_rows(self) -> list[Row]:
        """All rows with all that was measured, on whatever machine; the column `environment` says
        which.
        """
        return [row for group in self.groups for row in group.whole_rows()]
