"""What recipes scored, item by item and seed by seed, and how much of it the choice of items and of
seeds makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
WILD = 20.0
"""Times the median seed variance of a table: what a recipe has beyond that tells nothing of the
others.
"""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What one recipe scored, in 0..1: each task's mean and number of items, and each answer where
    answers are known.

    Item i is the same for every recipe that is compared.
    """

    means: tuple[float, ...]
    items: tuple[int, ...]
    scores: tuple[Array, ...] = ()
    """Per task [seeds, items], the same seeds in each; empty where others published means alone."""

    @classmethod
    def of_items(cls, scores: Iterable[ArrayLike]) -> Outcomes:
        """From an array [seeds, items] per task. Raises ValueError where the shapes or the scores
        are none.
        """
        arrays = tuple(np.asarray(s, dtype=float) for s in scores)
        if (
            not arrays
            or any(a.ndim != 2 or not a.size for a in arrays)
            or len({len(a) for a in arrays}) != 1
        ):
            raise ValueError(
                "expected one array [seeds, items] per task, all with the same seeds, not"
                f" {[a.shape for a in arrays]}"
            )
        if not all(((a >= 0) & (a <= 1)).all() for a in arrays):
            raise ValueError("scores lie between 0 and 1")
        return cls(
            tuple(float(a.mean()) for a in arrays), tuple(a.shape[1] for a in arrays), arrays
        )

    @classmethod
    def of_summary(cls, tasks: Iterable[tuple[float, int]]) -> Outcomes:
        """From the mean and the number of items of each task. Raises ValueError where a mean is
        outside 0..1.
        """
        means, items = zip(*tasks, strict=True)
        if not all(0 <= m <= 1 for m in means) or min(items) < 1:
            raise ValueError("a task's mean lies between 0 and 1, over one item or more")
        return cls(tuple(map(float, means)), tuple(map(int, items)))

    @property
    def value(self) -> float:
        """The mean over tasks of their means."""
        return sum(self.means) / len(self.means)

    @property
    def seeds(self) -> int:
        return len(self.scores[0]) if self.scores else 1


class Noise(NamedTuple):
    """What seeds add to the variance of each recipe's mean: arrays [recipes]."""

    part: Array
    """Between seeds, over the number of seeds; it holds a share of what varies between answers."""
    extra: Array
    """The same without that share, which the variance between items holds too."""
    doubt: Array
    """part² over its degrees of freedom, as Satterthwaite adds them up."""


def same_items(outcomes: Mapping[str, Outcomes]) -> None:
    """Raises ValueError where the numbers of tasks or items differ; that the items are the same is
    the caller's to see.
    """
    shapes = {name: o.items if o.scores else len(o.items) for name, o in outcomes.items()}
    tasks = {len(o.items) for o in outcomes.values()}
    if len(tasks) > 1 or len({o.items for o in outcomes.values() if o.scores}) > 1:
        raise ValueError(f"only scores on the same items compare; items by task: {shapes}")


def seed_noise(outcomes: Sequence[Outcomes]) -> Noise:
    """Seed variances, borrowed between recipes in units of the binomial variance at each recipe's
    accuracy.
    """
    units = np.array(
        [
            sum(map(binomial_variance, o.means, o.items)) / len(o.items) ** 2 / o.seeds
            for o in outcomes
        ]
    )
    own = np.array([_seed_variance(o) / o.seeds for o in outcomes])
    answers = np.array([_answer_variance(o) / o.seeds for o in outcomes])
    ratios, doubt = _borrow(own / units, np.array([o.seeds - 1.0 for o in outcomes]))
    return Noise(ratios * units, np.maximum(ratios * units - answers, 0), doubt * units**2)


def item_variances(outcomes: Sequence[Outcomes], first: int | None = None) -> Array:
    """Variances [recipes, recipes] of differences, from the choice of items; paired where the
    answers of both are known. With `first`, only those of the first so many with all.

    One item more that is lost and one that is won in each task (Bonett and Price 2012), so that it
    is never nothing.
    """
    tasks, known = len(outcomes[0].items), np.array([bool(o.scores) for o in outcomes])
    total = np.zeros((len(outcomes[:first]), len(outcomes)))
    paired = int(known[:first].sum())
    for task in range(tasks):
        own = np.array([binomial_variance(o.means[task], o.items[task]) for o in outcomes])
        variance = own[:first, None] + own
        if known.sum() > 1:
            means = np.array([o.scores[task].mean(axis=0) for o in outcomes if o.scores])
            count, centre = means.shape[1], means.mean(axis=1)
            centred = means - centre[:, None]
            squares, apart = (centred**2).sum(axis=1), centre[:paired, None] - centre
            products = centred[:paired] @ centred.T
            within = np.maximum(squares[:paired, None] + squares - 2 * products, 0)
            raw, shifted = within + count * apart**2 + 2, count * apart / (count + 2)
            both = np.ix_(known[:first], known)
            variance[both] = (raw / (count + 2) - shifted**2) / (count + 2)
        total += variance
    return total / tasks**2


def binomial_variance(mean: float, items: int) -> float:
    """Variance of a mean of 0s and 1s after one more 0 and one more 1 (Agresti and Caffo 2000):
    never nothing.
    """
    smooth = (mean * items + 1) / (items + 2)
    return smooth * (1 - smooth) / (items + 2)


def _borrow(variances: Array, freedom: Array) -> tuple[Array, Array]:
    """Each recipe's own variance or the mean of all, whichever is greater; and these squared over
    their degrees of freedom.

    Three seeds that agree by chance thus prove nothing. One recipe that runs wild does not blur the
    others: in the mean no variance counts for more than WILD times the median. What a recipe has
    beyond the mean has only its own degrees of freedom.
    """
    from scipy.special import chdtri  # scipy.stats takes a second to import

    known = freedom > 0
    if not known.any():
        return np.zeros_like(variances), np.zeros_like(variances)
    d, own = freedom[known], variances[known]
    tame = np.minimum(own, WILD * np.median(own * d / chdtri(d, 0.5)))
    mean = float(np.average(tame, weights=d))
    mean_freedom = min(
        float((d * tame).sum() ** 2 / (d * tame**2 / (1 + 2 / d)).sum()), float(d.sum())
    )
    beyond = np.where(known, np.maximum(variances - mean, 0), 0)
    return mean + beyond, mean**2 / mean_freedom + beyond**2 / np.maximum(freedom, 1)


def _seed_variance(o: Outcomes) -> float:
    """Between the seeds' means over tasks; and what rounding to whole items hides, so that it is
    never nothing.
    """
    if o.seeds < 2:
        return 0.0
    rounding = sum(1 / n**2 for n in o.items) / len(o.items) ** 2 / 12
    return float(np.mean([s.mean(axis=1) for s in o.scores], axis=0).var(ddof=1)) + rounding


def _answer_variance(o: Outcomes) -> float:
    """Of one seed's mean, from what is neither seed nor item: the residual mean square."""
    if o.seeds < 2:
        return 0.0
    total = 0.0
    for s in o.scores:
        rest = s - s.mean(axis=0) - s.mean(axis=1, keepdims=True) + s.mean()
        total += float((rest**2).sum()) / (o.seeds - 1) / max(s.shape[1] - 1, 1) / s.shape[1]
    return total / len(o.scores) ** 2
