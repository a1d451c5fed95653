"""A row of the table: one recipe, with means and standard deviations over seeds."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from bench.records.schema import Record


@dataclass(frozen=True)
class Objective:
    """One number that a stage of a recipe itself optimizes or reports, averaged over seeds."""

    stage: str
    method: str
    name: str
    better: str | None
    """lower or higher, where it is what the method optimizes."""
    before: float
    after: float


@dataclass
class Row:
    """One recipe: each column's mean and spread over seeds, or the reason why there is none."""

    recipe: str
    status: str
    reason: str | None
    seeds: int
    budget: tuple[str, float]
    records: list[Record] = field(default_factory=list)
    """What it is made from, one per seed."""
    family: str = ""
    references: dict[str, str] = field(default_factory=dict)
    """The paper or implementation that each method in the recipe follows."""
    tuned_from: str | None = None
    """The row with default hyper-parameters, where those of this one were chosen among trials."""
    environment: str = ""
    """Hardware and versions that speed and memory were measured with."""
    imported: str | None = None
    """Who published it, where others measured it."""
    answered: bool = False
    """Whether the outcome of every item of its targets is kept."""
    means: dict[str, float] = field(default_factory=dict)
    spreads: dict[str, float] = field(default_factory=dict)
    """Standard deviation between seeds (n - 1), where there are two seeds or more."""
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Confidence interval by column, at the level of `Analysis.level`."""
    gain: tuple[float, float] | None = None
    """Confidence interval of target accuracy minus the base's on the same items, where known."""
    tie_groups: str = ""
    """One letter per tie group; rows in one group are statistically indistinguishable in target
    accuracy.
    """
    marks: list[str] = field(default_factory=list)
    """What weakens the row, in a few words each: one seed, untuned, not verified, mixed
    environments.
    """
    missing: dict[str, str] = field(default_factory=dict)
    ledger: dict[str, dict[str, float]] = field(default_factory=dict)
    """What was spent, by purpose (train, reference, rollout, …, and tuning apart), in each
    currency; a mean over seeds.
    """
    objectives: list[Objective] = field(default_factory=list)

    def ties_with(self, other: Row) -> bool | None:
        """Whether one tie group holds both; None where no test compared them."""
        if not (self.tie_groups and other.tie_groups):
            return None
        return bool(_signs(self.tie_groups) & _signs(other.tie_groups))

    @property
    def fine(self) -> list[Record]:
        """Its records with a result."""
        return [record for record in self.records if record.ok]


def _signs(tie_groups: str) -> set[str]:
    """The letters, those with primes whole."""
    return set(re.findall("[a-zA-Z]′*", tie_groups))
