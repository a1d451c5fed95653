"""Right→wrong and wrong→right counts between two models, as in Toneva et al. 2019."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Flips:
    """Number of items for each outcome before and after training."""

    kept: int
    """Right before and after (n11)."""
    lost: int
    """Right→wrong (n10)."""
    gained: int
    """Wrong→right (n01)."""
    missed: int
    """Wrong before and after (n00)."""

    @property
    def forgetting_rate(self) -> float:
        """Share of right items that went wrong, n10 / (n10 + n11); NaN if none was right."""
        return _share(self.lost, self.kept)

    @property
    def gain_rate(self) -> float:
        """Share of wrong items that went right, n01 / (n01 + n00); NaN if none was wrong."""
        return _share(self.gained, self.missed)

    @property
    def net_change(self) -> float:
        """Accuracy after minus accuracy before."""
        return (self.gained - self.lost) / (self.kept + self.lost + self.gained + self.missed)

    @property
    def p(self) -> float:
        """Two-sided p of the exact test that both directions are equally likely (McNemar 1947); 1
        if no item changed.
        """
        flipped = self.lost + self.gained
        tail = sum(math.comb(flipped, k) for k in range(min(self.lost, self.gained) + 1))
        return min(1.0, 2 * tail / 2**flipped)


def flips(before: Iterable[float], after: Iterable[float]) -> Flips:
    """Count outcomes in the same order, 1 for right and 0 for wrong. Raises ValueError for other
    values, different lengths or no items.
    """
    counts = Counter(zip(before, after, strict=True))
    if not counts:
        raise ValueError("no items")
    for outcome in (outcome for pair in counts for outcome in pair):
        if outcome not in (0, 1):
            raise ValueError(f"an outcome is 1 (right) or 0 (wrong), not {outcome}")
    return Flips(counts[1, 1], counts[1, 0], counts[0, 1], counts[0, 0])


def _share(part: int, rest: int) -> float:
    return part / (part + rest) if part + rest else math.nan
