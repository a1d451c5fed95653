"""Intervals, paired tests and ties: what may be said of differences between methods, given items
and seeds that vary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bench.analysis.outcomes import (
    Array,
    Noise,
    Outcomes,
    binomial_variance,
    item_variances,
    same_items,
    seed_noise,
)

POWER = 0.8
MOST = 0.75
RESAMPLES = 2000
ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A number and the bounds of its confidence interval, in the unit of the number."""

    value: float
    low: float
    high: float

    @property
    def bounds(self) -> tuple[float, float]:
        return self.low, self.high


@dataclass(frozen=True)
class Pair:
    """Two recipes compared on the same items: one minus the other."""

    one: str
    other: str
    difference: float
    low: float
    high: float
    """Bounds of the confidence interval of this one difference."""
    p: float
    adjusted: float
    """p after Holm's correction for all pairs of the group, also those that were not tested."""


@dataclass(frozen=True)
class Comparison:
    """A table of recipes, each with each, best first."""

    accuracies: dict[str, Estimate]
    pairs: list[Pair]
    """The better one minus the other."""
    letters: dict[str, str]
    """Recipes that share a letter are not known to differ."""
    smallest: float | None
    """The least difference that three pairs of four would show with probability 0.8; None where
    there is nothing to compare.
    """
    typical: float | None
    """The same for half of the pairs."""


def accuracy(outcomes: Outcomes, level: float = 0.95) -> Estimate:
    """The mean over tasks, with an interval for other items and other seeds; items alone where
    there is one seed.
    """
    return _accuracies([outcomes], seed_noise([outcomes]), level)[0]


def changes(
    before: Outcomes, after: Mapping[str, Outcomes], level: float = 0.95
) -> dict[str, Estimate]:
    """`after` minus `before` for each recipe of a table, paired on items. `before` is taken as
    without seeds, as a model before training is; few seeds borrow from those of other recipes.
    """
    same_items({"before": before, **after})
    ranked = list(after.values())
    noise = seed_noise(ranked)
    error, freedom = _error(item_variances([before, *ranked], first=1)[0, 1:], noise, before)
    differences = np.array([o.value for o in ranked]) - before.value
    low, high = _around(differences, error, freedom, level)
    return {
        name: Estimate(*map(float, row))
        for name, row in zip(after, zip(differences, low, high, strict=True), strict=True)
    }


def compare(
    outcomes: Mapping[str, Outcomes], level: float = 0.95, of: int | None = None
) -> Comparison:
    """Each recipe with each: t tests on item-paired differences, corrected by Holm, and letters for
    what remains tied. Where these are the best `of` so many recipes, the correction is for the
    pairs of all of them, so that the choice of the best is paid for.

    Raises ValueError where the recipes were not scored on the same number of tasks and items.
    """
    from scipy import stats

    same_items(outcomes)
    order = sorted(outcomes, key=lambda name: (-outcomes[name].value, name))
    ranked = [outcomes[name] for name in order]
    noise = seed_noise(ranked)
    accuracies = dict(zip(order, _accuracies(ranked, noise, level), strict=True))
    if len(order) < 2:
        return Comparison(accuracies, [], dict.fromkeys(order, "a"), None, None)
    one, other = np.triu_indices(len(order), 1)
    values = np.array([o.value for o in ranked])
    differences = values[one] - values[other]
    error, freedom = _error(
        item_variances(ranked)[one, other], Noise(*(n[one] + n[other] for n in noise)), ranked[0]
    )
    tests = len(one) if of is None else of * (of - 1) // 2
    p = 2 * stats.t.sf(differences / error, freedom)
    low, high = _around(differences, error, freedom, level)
    columns = zip(
        *(differences.tolist(), low.tolist(), high.tolist(), p.tolist(), holm(p.tolist(), tests)),
        strict=True,
    )
    pairs = [
        Pair(order[a], order[b], *numbers)
        for a, b, numbers in zip(one, other, columns, strict=True)
    ]
    differ = {frozenset((pair.one, pair.other)) for pair in pairs if pair.adjusted <= 1 - level}
    found_at = stats.t.ppf(1 - (1 - level) / 2 / tests, freedom) + stats.t.ppf(POWER, freedom)
    typical, smallest = (
        min(1.0, float(reach)) for reach in np.quantile(found_at * error, (0.5, MOST))
    )
    return Comparison(accuracies, pairs, letters(order, differ), smallest, typical)


def holm(p: Sequence[float], tests: int | None = None) -> list[float]:
    """Step-down adjusted p in the given order (Holm 1979): family-wise, under any dependence.
    `tests` counts those of the family whose p is not given as well: they are never significant.
    """
    most = len(p) if tests is None else tests
    order = np.argsort(p, kind="stable")
    raised = (
        np.maximum.accumulate(
            np.asarray(p, dtype=float)[order] * np.arange(most, most - len(p), -1)
        )
        if len(p)
        else np.empty(0)
    )
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(raised, 1)
    return adjusted.tolist()


def letters(order: Sequence[str], differ: Iterable[frozenset[str]]) -> dict[str, str]:
    """Names share a letter if and only if they are not said to differ; the first name has an a.

    Each letter is a largest set of names of which no two differ (insert and absorb, Piepho 2004).
    """
    place = {name: number for number, name in enumerate(order)}
    columns = [frozenset(order)]
    for pair in sorted(differ, key=lambda names: sorted(map(place.__getitem__, names))):
        split = [column - {name} for column in columns if pair <= column for name in pair]
        kept = [column for column in columns if not pair <= column]
        columns = kept + [s for s in set(split) if not any(s <= k for k in kept)]
    columns.sort(key=lambda column: sorted(map(place.__getitem__, column)))
    return {
        name: "".join(_letter(i) for i, column in enumerate(columns) if name in column)
        for name in order
    }


def iqm(scores: ArrayLike, level: float = 0.95) -> Estimate:
    """Mean of the middle half of all scores [seeds, tasks] (Agarwal 2021), with a percentile
    interval: each of `RESAMPLES` draws takes seeds anew within each task.
    """
    from scipy import stats

    table = np.asarray(scores, dtype=float)
    seeds = np.random.default_rng(0).integers(len(table), size=(RESAMPLES, *table.shape))
    draws = np.take_along_axis(table[None], seeds, axis=1).reshape(RESAMPLES, -1)
    middles = np.asarray(stats.trim_mean(draws, 0.25, axis=1))
    low, high = np.quantile(middles, ((1 - level) / 2, (1 + level) / 2))
    return Estimate(float(stats.trim_mean(table.ravel(), 0.25)), float(low), float(high))


def chance(x: ArrayLike, y: ArrayLike) -> float:
    """P(X > Y), ties half, mean over tasks; scores [seeds, tasks] of two recipes (Agarwal 2021)."""
    one, other = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    return float((1 + np.sign(one[:, None] - other[None])).mean() / 2)


def _error(items: Array, noise: Noise, like: Outcomes) -> tuple[Array, Array]:
    """Standard errors of differences and their degrees of freedom (Satterthwaite): items and seeds,
    what they share once.
    """
    variance = np.maximum(items + noise.extra, noise.part)
    item_freedom = max(sum(like.items) - len(like.items), 1)
    return np.sqrt(variance), variance**2 / (items**2 / item_freedom + noise.doubt)


def _around(values: Array, error: Array, freedom: Array, level: float) -> tuple[Array, Array]:
    from scipy import stats

    reach = stats.t.ppf((1 + level) / 2, freedom) * error
    return np.maximum(values - reach, -1.0), np.minimum(values + reach, 1.0)


def _accuracies(outcomes: Sequence[Outcomes], noise: Noise, level: float) -> list[Estimate]:
    """Wilson's interval at each task's effective number of items; tasks combined as Zou and Donner
    2008 do.
    """
    from scipy import stats

    found = []
    for o, part, extra, doubt in zip(outcomes, *noise, strict=True):
        tasks, means, counts = len(o.items), np.array(o.means), np.array(o.items)
        binomial = means * (1 - means)
        spread = np.array([s.mean(axis=0).var() for s in o.scores]) if o.scores else binomial
        spread = np.where(spread < ROUNDING, 0.0, spread)
        items = float((spread / counts).sum()) / tasks**2
        inflation = max(items + extra, part) / items if items else 1.0
        least = max(items, sum(map(binomial_variance, o.means, o.items)) / tasks**2)
        quantile = float(
            stats.t.ppf((1 + level) / 2, max(least + extra, part) ** 2 / doubt if doubt else np.inf)
        )
        effective = (
            counts / inflation * np.divide(binomial, spread, out=np.ones(tasks), where=spread > 0)
        )
        low, high = _wilson(means, effective, quantile)
        below, above = (
            float(np.sqrt((gap**2).sum())) / tasks for gap in (means - low, high - means)
        )
        found.append(Estimate(o.value, max(o.value - below, 0.0), min(o.value + above, 1.0)))
    return found


def _wilson(mean: Array, items: Array, quantile: float) -> tuple[Array, Array]:
    """Score interval of a proportion (Wilson 1927)."""
    weight = quantile**2 / items
    centre = (mean + weight / 2) / (1 + weight)
    reach = np.sqrt(weight * (mean * (1 - mean) + weight / 4)) / (1 + weight)
    return np.minimum(centre - reach, mean), np.maximum(centre + reach, mean)


def _letter(index: int) -> str:
    """a to z, A to Z, then each again with a prime."""
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return alphabet[index % len(alphabet)] + "′" * (index // len(alphabet))
