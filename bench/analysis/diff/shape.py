"""What a comparison of two results folders tells."""

from __future__ import annotations

from dataclasses import dataclass, field

ACCURACY, FORGETTING = "target_accuracy", "forgetting"


@dataclass(frozen=True)
class Change:
    """One measure of one recipe, in 0..1: B minus A, with its confidence interval and its p after
    Holm's correction.
    """

    measure: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    adjusted: float = 1.0
    verdict: str = ""
    """worse, better, or nothing where the difference is within noise."""


@dataclass
class RecipeDiff:
    """One recipe that both folders hold."""

    recipe: str
    status: tuple[str, str]
    changes: list[Change] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    """Speed, memory and seconds: B over A, where both ran on the same hardware and library
    versions.
    """
    not_comparable: str = ""
    """Why there are no ratios."""

    @property
    def broken(self) -> bool:
        """Whether it had a result in A and has none in B."""
        return self.status[0] == "ok" and self.status[1] != "ok"

    @property
    def worse(self) -> bool:
        return self.broken or any(change.verdict == "worse" for change in self.changes)


@dataclass
class Diff:
    """All that two folders differ in."""

    a: str
    b: str
    level: float
    recipes: list[RecipeDiff]
    only_a: list[str]
    only_b: list[str]
    notes: list[str]
    """What limits the comparison, a sentence each."""

    @property
    def worse(self) -> bool:
        return any(recipe.worse for recipe in self.recipes)
