"""How much an order of methods depends on the learning rate and on the seed, as far as records
tell.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from bench.analysis import Analysis
from bench.analysis.rows import Row
from bench.records.schema import BASE, Record

Scores = Mapping[str, Mapping[float, float]]
"""By name, then by seed or rate."""
Changes = Callable[[str, str], bool]


@dataclass(frozen=True)
class Point:
    """One run: whose it is, its seed or its rate, and its target accuracy, 0..1."""

    name: str
    at: float
    score: float


@dataclass(frozen=True)
class Dependence:
    """What was varied, and how many pairs of names change their order with it."""

    points: list[Point]
    changing: int
    pairs: int


def on_seed(rows: Sequence[Row]) -> Dependence | None:
    """A pair changes its order if one seed puts the first ahead and another seed the second. None
    where fewer than two rows have two seeds.
    """
    own = [row for row in rows if row.recipe != BASE and len(row.fine) > 1]
    scores = {r.recipe: {float(one.seed): one.target_score for one in r.fine} for r in own}

    def changes(one: str, other: str) -> bool:
        a, b = scores[one], scores[other]
        signs = {(a[seed] > b[seed]) - (a[seed] < b[seed]) for seed in a.keys() & b.keys()}
        return {1, -1} <= signs

    return _counted(scores, changes)


def on_rate(rows: Sequence[Row]) -> Dependence | None:
    """Of rows that are one method at several rates: a pair changes its order if some of the rates
    that were tried put the first ahead, and some the second.
    """
    found: dict[str, dict[float, list[float]]] = {}
    for record in (r for row in rows if not row.tuned_from for r in row.fine):
        rate = record.parameters.get("lr")
        if record.method and isinstance(rate, float):
            found.setdefault(_but_rate(record), {}).setdefault(rate, []).append(record.target_score)
    several = {key: by_rate for key, by_rate in found.items() if len(by_rate) > 1}
    methods = Counter(key.partition(" ")[0] for key in several)
    scores = {
        name if methods[name := key.partition(" ")[0]] == 1 else key: {
            rate: sum(own) / len(own) for rate, own in by_rate.items()
        }
        for key, by_rate in several.items()
    }
    return _counted(scores, _overlap(scores))


def on_draw(analysis: Analysis) -> Dependence | None:
    """The same for the draws of a search, which vary more than the rate, of recipes with one rate;
    on validation data.
    """
    scores: dict[str, dict[float, float]] = {}
    for trial in analysis.trials:
        rates = [v for name, v in trial.drawn.items() if name.rpartition(".")[2] == "lr"]
        if trial.score is not None and len(rates) == 1:
            scores.setdefault(trial.recipe, {})[rates[0]] = trial.score
    scores = {name: own for name, own in scores.items() if len(own) > 1}
    return _counted(scores, _overlap(scores))


def _but_rate(record: Record) -> str:
    rest = {name: value for name, value in record.parameters.items() if name != "lr"}
    return f"{record.method} {json.dumps(rest, sort_keys=True)}"


def _overlap(scores: Scores) -> Changes:
    def overlap(one: str, other: str) -> bool:
        a, b = scores[one].values(), scores[other].values()
        return max(a) > min(b) and max(b) > min(a)

    return overlap


def _counted(scores: Scores, changes: Changes) -> Dependence | None:
    if len(scores) < 2:
        return None
    pairs = list(combinations(scores, 2))
    points = [Point(n, float(at), s) for n, own in scores.items() for at, s in sorted(own.items())]
    return Dependence(points, sum(changes(*pair) for pair in pairs), len(pairs))
