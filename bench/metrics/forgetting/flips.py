"""What happened to each item between two models: kept, lost, gained or never right. Counted as
Toneva et al. 2019 do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Flips:
    """Items by what they were before and are after."""

    kept: int
    lost: int
    """Right before, wrong after (n10)."""
    gained: int
    """Wrong before, right after (n01)."""
    missed: int

    @property
    def forgetting_rate(self) -> float:
        """Share of what was right that is lost, n10 / (n10 + n11); NaN where nothing was right."""
        return _share(self.lost, self.kept)

    @property
    def gain_rate(self) -> float:
        """Share of what was wrong that is gained, n01 / (n01 + n00); NaN where nothing was wrong."""
        return _share(self.gained, self.missed)

    @property
    def net_change(self) -> float:
        """Accuracy after minus accuracy before; losses and gains cancel in it."""
        return (self.gained - self.lost) / (self.kept + self.lost + self.gained + self.missed)

    @property
    def p(self) -> float:
        """Two-sided exact p that an item flips one way as easily as the other (McNemar 1947); 1
        where none flipped.
        """
        flipped = self.lost + self.gained
        tail = sum(math.comb(flipped, k) for k in range(min(self.lost, self.gained) + 1))
        return min(1.0, 2 * tail / 2**flipped)


def flips(before: Iterable[float], after: Iterable[float]) -> Flips:
    """Count aligned outcomes, 1 for right and 0 for wrong. Raises ValueError where they are
    something else, unaligned or none.
    """
    counts: dict[tuple[float, float], int] = {(1, 1): 0, (1, 0): 0, (0, 1): 0, (0, 0): 0}
    for pair in zip(before, after, strict=True):
        if pair not in counts:
            raise ValueError(
                "an outcome is 1 (right) or 0 (wrong), not"
                f" {pair[0] if pair[0] not in (0, 1) else pair[1]}"
            )
        counts[pair] += 1
    if not any(counts.values()):
        raise ValueError("no items")
    return Flips(*counts.values())


def _share(part: int, rest: int) -> float:
    return part / (part + rest) if part + rest else math.nan
