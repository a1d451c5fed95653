"""Statistics against values worked out elsewhere, and in cases where all is known."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.analysis.outcomes import Array, Outcomes, seed_noise
from bench.analysis.statistics import (
    Comparison,
    accuracy,
    chance,
    changes,
    compare,
    holm,
    iqm,
    letters,
)


def answers(right: int, items: int) -> Array:
    """One seed that answers the first items right."""
    return (np.arange(items) < right)[None].astype(float)


def flipped(lost: int, gained: int, items: int) -> dict[str, Outcomes]:
    """Two recipes of one seed that differ on lost + gained items."""
    one = np.zeros((1, items))
    other = np.zeros((1, items))
    one[0, :lost] = 1
    other[0, lost : lost + gained] = 1
    return {"one": Outcomes.of_items([one]), "other": Outcomes.of_items([other])}


# ---- against values from elsewhere


def test_holm_as_r_has_it() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


def test_letters_by_hand() -> None:
    chain = [("A", "C"), ("A", "D"), ("B", "D")]
    assert letters("ABCD", set(map(frozenset, chain))) == {"A": "a", "B": "ab", "C": "bc", "D": "c"}
    assert letters("ABC", {frozenset("AB")}) == {"A": "a", "B": "b", "C": "ab"}
    assert letters("ABC", {frozenset("AB"), frozenset("AC"), frozenset("BC")}) == {
        "A": "a",
        "B": "b",
        "C": "c",
    }
    assert letters("AB", set()) == {"A": "a", "B": "a"}


def test_letters_do_not_run_out() -> None:
    names = [f"r{i}" for i in range(60)]
    found = letters(names, {frozenset((a, b)) for a in names for b in names if a != b})
    assert len(set(found.values())) == 60
    assert (found["r0"], found["r26"], found["r52"]) == ("a", "A", "a′")


@pytest.mark.parametrize(("right", "items"), [(0, 256), (1, 256), (200, 256), (256, 256), (7, 10)])
def test_accuracy_of_one_seed_is_wilsons(right: int, items: int) -> None:
    wanted = scipy_stats.binomtest(right, items).proportion_ci(method="wilson")
    for outcomes in (
        Outcomes.of_items([answers(right, items)]),
        Outcomes.of_summary([(right / items, items)]),
    ):
        found = accuracy(outcomes)
        assert found.value == right / items
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_perfect_at_every_seed_is_as_uncertain_as_its_items() -> None:
    wanted = scipy_stats.binomtest(256, 256).proportion_ci(method="wilson")
    assert accuracy(Outcomes.of_items([np.ones((3, 256))])).low == pytest.approx(
        wanted.low, abs=0.001
    )


def test_two_tasks_combine_like_their_variances() -> None:
    one, two = (
        accuracy(Outcomes.of_items([answers(60, 100)])),
        accuracy(Outcomes.of_items([answers(60, 100)] * 2)),
    )
    assert two.value == one.value
    assert two.high - two.value == pytest.approx((one.high - one.value) / 2**0.5)


@pytest.mark.parametrize(("lost", "gained"), [(12, 3), (20, 5), (30, 20), (8, 8), (9, 2)])
def test_one_seed_agrees_with_mcnemar(lost: int, gained: int) -> None:
    (pair,) = compare(flipped(lost, gained, 256)).pairs
    exact = scipy_stats.binomtest(lost, lost + gained).pvalue
    assert exact / 2 < pair.p <= min(1, 2 * exact)
    p10, p01 = (lost + 1) / 258, (gained + 1) / 258
    error = ((p10 + p01 - (p10 - p01) ** 2) / 258) ** 0.5  # Bonett and Price 2012
    assert pair.high - pair.difference == pytest.approx(scipy_stats.t.ppf(0.975, 255) * error)


def test_published_results_are_not_paired() -> None:
    compared = compare(
        {"a": Outcomes.of_summary([(0.7, 100)]), "b": Outcomes.of_summary([(0.6, 100)])}
    )
    error = (71 / 102 * 31 / 102 / 102 + 61 / 102 * 41 / 102 / 102) ** 0.5  # Agresti and Caffo 2000
    assert compared.pairs[0].p == pytest.approx(2 * scipy_stats.t.sf(0.1 / error, 99))


def test_iqm_by_hand() -> None:
    scores = np.array([[1.0, 2, 3, 4], [5, 6, 7, 1000]])
    found = iqm(scores)
    assert found.value == 4.5 == scipy_stats.trim_mean(scores.ravel(), 0.25)
    assert found.low <= found.value <= found.high


def test_probability_of_improvement_by_hand() -> None:
    x, y = np.array([[1.0, 5], [2, 5]]), np.array([[1.0, 9], [0, 5], [3, 1]])
    # task 1: 1 beats 0 and ties 1, 2 beats 1 and 0; task 2: 5 beats 1 and ties 5, twice
    assert chance(x, y) == pytest.approx(((1.5 + 2) / 6 + (1.5 + 1.5) / 6) / 2)
    assert chance(y, x) == pytest.approx(1 - chance(x, y))


# ---- what must not happen


def test_one_item_is_no_difference_even_at_the_ceiling() -> None:
    perfect, almost = np.ones((3, 256)), np.ones((3, 256))
    almost[:, 0] = 0
    compared = compare(
        {"perfect": Outcomes.of_items([perfect]), "almost": Outcomes.of_items([almost])}
    )
    assert compared.pairs[0].p > 0.3
    assert set(compared.letters.values()) == {"a"}


def test_equal_answers_do_not_differ() -> None:
    same = Outcomes.of_items([answers(100, 256)])
    compared = compare({"a": same, "b": same})
    assert (compared.pairs[0].p, compared.pairs[0].difference) == (1, 0)
    assert changes(same, {"a": same})["a"].value == 0


def test_seeds_that_agree_by_chance_borrow_from_those_that_do_not() -> None:
    generator = np.random.default_rng(0)
    agreeing = Outcomes.of_items([np.repeat(answers(128, 256), 3, axis=0)])
    others = [
        Outcomes.of_items(
            [np.vstack([answers(int(r), 256) for r in generator.integers(100, 156, 3)])]
        )
        for _ in range(5)
    ]
    alone, together = seed_noise([agreeing]).part[0], seed_noise([agreeing, *others]).part
    assert together[0] > 10 * alone
    assert together[0] <= together[1:].max()


def test_a_recipe_that_runs_wild_does_not_blur_the_others() -> None:
    generator = np.random.default_rng(0)
    calm = [
        Outcomes.of_items(
            [np.vstack([answers(int(r), 256) for r in generator.integers(126, 131, 3)])]
        )
        for _ in range(8)
    ]
    wild = Outcomes.of_items([np.vstack([answers(r, 256) for r in (0, 128, 256)])])
    noise = seed_noise([wild, *calm]).part
    assert noise[1:].max() < noise[0] / 100


def test_one_seed_among_several_gets_the_noise_of_the_table() -> None:
    noisy = Outcomes.of_items([np.vstack([answers(r, 256) for r in (100, 128, 156)])])
    single = Outcomes.of_items([answers(128, 256)])
    assert seed_noise([single]).part[0] == 0
    assert seed_noise([single, noisy]).part[0] == pytest.approx(
        3 * seed_noise([noisy]).part[0], rel=0.01
    )


def test_nothing_to_compare() -> None:
    assert compare({}) == Comparison({}, [], {}, None, None)
    alone = compare({"a": Outcomes.of_items([answers(1, 2)])})
    assert (alone.letters, alone.pairs, alone.smallest, alone.typical) == (
        {"a": "a"},
        [],
        None,
        None,
    )


def test_other_items_are_refused() -> None:
    one, other = Outcomes.of_items([answers(1, 2)]), Outcomes.of_items([answers(1, 3)])
    with pytest.raises(ValueError, match="same items"):
        compare({"one": one, "other": other})
    with pytest.raises(ValueError, match="same items"):
        changes(one, {"a": Outcomes.of_items([answers(1, 2)] * 2)})


@pytest.mark.parametrize(
    "scores",
    [
        [],
        [np.zeros(3)],
        [np.zeros((0, 3))],
        [np.zeros((1, 2)), np.zeros((2, 2))],
        [np.full((1, 2), 1.5)],
    ],
)
def test_scores_of_another_shape_are_refused(scores: list[Array]) -> None:
    with pytest.raises(ValueError, match="expected|between"):  # noqa: RUF043
        Outcomes.of_items(scores)


def test_summaries_outside_their_range_are_refused() -> None:
    with pytest.raises(ValueError, match="between"):
        Outcomes.of_summary([(1.2, 10)])


def test_the_shape_of_a_pair_is_had_without_scipy() -> None:
    code = "import sys, bench.analysis.statistics; print('scipy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "False"
