"""Right→wrong and wrong→right counts between two models, as in Toneva et al. 2019."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


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


def flips(before: ArrayLike, after: ArrayLike) -> Flips:
    """Count outcomes [items] in the same order, 1 for right and 0 for wrong. Raises ValueError for
    other values, different lengths or no items.
    """
    was, now = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    if len(was) != len(now):
        raise ValueError(f"{len(was)} items before and {len(now)} after")
    if not len(was):
        raise ValueError("no items")
    for outcomes in (was, now):
        other = outcomes[(outcomes != 0) & (outcomes != 1)]
        if len(other):
            raise ValueError(f"an outcome is 1 (right) or 0 (wrong), not {other[0]}")
    both, old, new = int(was @ now), int(was.sum()), int(now.sum())
    return Flips(both, old - both, new - both, len(was) - old - new + both)


def _share(part: int, rest: int) -> float:
    return part / (part + rest) if part + rest else math.nan
