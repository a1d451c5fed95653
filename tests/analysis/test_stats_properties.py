"""Statistics by their properties, on tables drawn at random."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.analyze import LEVEL
from bench.analysis.measure import spread
from bench.analysis.outcomes import Outcomes
from bench.analysis.statistics import (
    Comparison,
    accuracy,
    changes,
    compare,
    holm,
    letters,
)

NAMES = "abcdef"
DIFFER = st.sets(st.sampled_from([frozenset((a, b)) for a in NAMES for b in NAMES if a < b]))


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Outcomes]:
    """Two to five recipes of one to four seeds on one or two tasks of a few items."""
    items = draw(st.lists(st.integers(2, 12), min_size=1, max_size=2))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    difficulty = draw(st.sampled_from([0.02, 0.5, 0.98]))
    seeds = draw(st.lists(st.integers(1, 4), min_size=2, max_size=5))
    return {
        f"r{i}": Outcomes.of_items(
            [(generator.random((s, n)) < difficulty).astype(float) for n in items]
        )
        for i, s in enumerate(seeds)
    }


def by_names(compared: Comparison) -> dict[tuple[str, ...], list[float]]:
    return {
        tuple(sorted((p.one, p.other))): [p.difference, p.high - p.low, p.p, p.adjusted]
        for p in compared.pairs
    }


@given(DIFFER, st.permutations(list(NAMES)))
def test_letters_are_shared_if_and_only_if_nothing_is_known_to_differ(
    differ: set[frozenset[str]], order: Sequence[str]
) -> None:
    found = letters(order, differ)
    assert found[order[0]].startswith("a")
    for a in NAMES:
        assert found[a]
        for b in NAMES:
            assert bool(set(found[a]) & set(found[b])) == (
                frozenset((a, b)) not in differ or a == b
            )


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_raises_and_keeps_the_order(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(x <= y <= 1 for x, y in zip(p, adjusted, strict=True))
    ranked = [adjusted[i] for i in np.argsort(p, kind="stable")]
    assert ranked == sorted(ranked)
    assert not p or min(adjusted) == pytest.approx(min(1, len(p) * min(p)))


@settings(deadline=None)
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_names_is_nothing(table: dict[str, Outcomes], random: Any) -> None:
    names = list(table)
    random.shuffle(names)
    one, other = compare(table), compare({name: table[name] for name in names})
    assert one.letters == other.letters
    found, again = by_names(one), by_names(other)
    assert found.keys() == again.keys()
    for pair, numbers in found.items():
        assert numbers == pytest.approx(again[pair])


@settings(deadline=None)
@given(tables())
def test_right_and_wrong_are_mirrors(table: dict[str, Outcomes]) -> None:
    mirrored = {name: Outcomes.of_items([1 - s for s in o.scores]) for name, o in table.items()}
    one, other = compare(table), compare(mirrored)
    found, again = by_names(one), by_names(other)
    for pair, numbers in found.items():
        assert numbers == pytest.approx(again[pair], abs=1e-9)
    for name, estimate in one.accuracies.items():
        turned = other.accuracies[name]
        assert (estimate.low, estimate.high) == pytest.approx(
            (1 - turned.high, 1 - turned.low), abs=1e-9
        )


@settings(deadline=None)
@given(tables())
def test_intervals_hold_their_value_and_stay_in_range(table: dict[str, Outcomes]) -> None:
    compared = compare(table)
    for name, outcomes in table.items():
        for found in (accuracy(outcomes), compared.accuracies[name]):
            assert 0 <= found.low <= found.value <= found.high <= 1
            assert found.low < found.high
    for pair in compared.pairs:
        assert -1 <= pair.low <= pair.difference <= pair.high <= 1
        assert 0 < pair.p <= pair.adjusted <= 1
        assert (pair.low > 0) == (pair.p < 1 - LEVEL)
        assert bool(set(compared.letters[pair.one]) & set(compared.letters[pair.other])) == (
            pair.adjusted > 1 - LEVEL
        )
    first = next(iter(table.values()))
    for name, found in changes(first, table).items():
        assert -1 <= found.low <= found.value <= found.high <= 1
        assert found.value == pytest.approx(table[name].value - first.value)


@given(st.lists(st.floats(-1e12, 1e12), min_size=2, max_size=6), st.integers(2, 9))
def test_the_spread_is_the_standard_deviation_of_a_sample(found: list[float], times: int) -> None:
    largest = max(map(abs, found))
    assert spread(found) == pytest.approx(statistics.stdev(found), rel=1e-12, abs=largest * 1e-15)
    assert spread(found[:1] * times) == 0
