"""Merging: golden values by hand, and properties of every merger."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from bench_merge import Dare, Slerp, TaskArithmetic, Ties, merging
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench import Merger, Skipped
from bench.accounting.budget import Budget
from bench.methods.composition import Linear, Merge
from bench.testing import tiny_session

MERGERS: list[Merger] = [
    Linear(),
    Slerp(),
    TaskArithmetic(scaling_coefficient=0.5),
    Ties(density=1.0),
    Dare(drop_rate=0.0),
]

vectors = st.lists(st.floats(-8, 8, width=32), min_size=6, max_size=6).map(torch.tensor)


# ── formulas ──


def test_slerp_by_hand() -> None:
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    assert torch.allclose(
        merging.slerp(first, second, 0.5), torch.tensor([math.sqrt(0.5), math.sqrt(2.0)])
    )
    assert torch.allclose(merging.slerp(first, second, 0.0), first)
    assert torch.allclose(merging.slerp(first, second, 1.0), second)


def test_slerp_sees_a_matrix_as_one_vector() -> None:
    first, second = torch.randn(3, 4), torch.randn(3, 4)
    flat = merging.slerp(first.flatten(), second.flatten(), 0.3)
    assert torch.allclose(merging.slerp(first, second, 0.3), flat.reshape(3, 4))


@given(vectors, st.floats(0, 1))
def test_slerp_of_parallel_opposed_and_zero_vectors_is_a_straight_line(
    vector: Tensor, t: float
) -> None:
    for other in (vector, 2 * vector, -vector, 0 * vector):
        straight = (1 - t) * vector + t * other
        if other.any() or not vector.any():
            assert torch.allclose(merging.slerp(vector, other, t), straight, atol=1e-5)
        assert bool(merging.slerp(vector, other, t).isfinite().all())


@given(st.floats(0.1, 3.0), st.floats(0, 1))
def test_slerp_of_unit_vectors_walks_along_the_circle(angle: float, t: float) -> None:
    ahead = torch.tensor([math.cos(angle), math.sin(angle)])
    expected = torch.tensor([math.cos(t * angle), math.sin(t * angle)])
    assert torch.allclose(merging.slerp(torch.tensor([1.0, 0.0]), ahead, t), expected, atol=1e-4)


def test_ties_by_hand() -> None:
    start = {"w": torch.zeros(3)}
    parts = [{"w": torch.tensor([3.0, -1.0, 0.2])}, {"w": torch.tensor([-2.0, 2.0, 0.1])}]
    assert torch.equal(Ties(density=2 / 3).merge(start, parts)["w"], torch.tensor([3.0, 2.0, 0.0]))
    assert torch.equal(
        Ties(density=2 / 3, scaling_coefficient=0.5).merge(start, parts)["w"],
        torch.tensor([1.5, 1.0, 0.0]),
    )


def test_ties_trims_over_the_whole_model_not_each_tensor() -> None:
    change = {"large": torch.tensor([5.0, -6.0]), "small": torch.tensor([0.1, 0.2])}
    trimmed = merging.trim(change, 0.5)
    assert torch.equal(trimmed["large"], change["large"])
    assert not trimmed["small"].any()


def test_ties_takes_the_mean_over_those_that_agree_alone() -> None:
    changes = [
        torch.tensor([1.0, 1.0, 0.0]),
        torch.tensor([2.0, -1.0, 0.0]),
        torch.tensor([-1.5, 0.0, 0.0]),
    ]
    assert torch.equal(merging.agreed(changes), torch.tensor([1.5, 0.0, 0.0]))


@given(st.lists(vectors, min_size=2, max_size=4), st.sampled_from([0.2, 0.5, 1.0]))
def test_ties_as_the_algorithm_reads(changes: list[Tensor], density: float) -> None:
    merged = Ties(density=density).merge(
        {"w": torch.zeros(6)}, [{"w": change} for change in changes]
    )["w"]
    kept = []
    for change in changes:
        least = sorted(map(abs, change.tolist()), reverse=True)[max(1, round(density * 6)) - 1]
        kept.append([x if abs(x) >= least else 0.0 for x in change.tolist()])
    for place, values in enumerate(zip(*kept, strict=True)):
        total = float(torch.tensor(values).sum())
        agreeing = [x for x in values if x * total > 0]
        assert float(merged[place]) == pytest.approx(
            sum(agreeing) / max(len(agreeing), 1), rel=1e-4, abs=1e-6
        )


def test_linear_and_task_arithmetic_by_hand() -> None:
    start, parts = (
        {"w": torch.tensor([1.0, 1.0])},
        [
            {"w": torch.tensor([2.0, 0.0])},
            {"w": torch.tensor([4.0, 1.0])},
        ],
    )
    assert torch.equal(Linear().merge(start, parts)["w"], torch.tensor([3.0, 0.5]))
    assert torch.equal(
        Linear(weights=(0.25, 0.75)).merge(start, parts)["w"], torch.tensor([3.5, 0.75])
    )
    assert torch.equal(
        TaskArithmetic(scaling_coefficient=0.5).merge(start, parts)["w"], torch.tensor([3.0, 0.5])
    )
    assert torch.equal(
        TaskArithmetic(scaling_coefficient=1.0).merge(start, parts[:1])["w"], parts[0]["w"]
    ), "one part at λ = 1 is itself"


def test_dare_keeps_the_mean_and_drops_the_rate() -> None:
    start, parts = (
        {"w": torch.ones(20_000)},
        [
            {"w": torch.full((20_000,), 2.0)},
            {"w": torch.full((20_000,), 4.0)},
        ],
    )
    merged = Dare(drop_rate=0.9).merge(start, parts)["w"]
    average = 1 + (1.0 + 3.0) / 2
    deviation = math.sqrt((1.0 + 9.0) * 0.9 / 0.1) / 2 / math.sqrt(20_000)
    assert float(merged.mean()) == pytest.approx(average, abs=4 * deviation)
    assert sorted(set(merged.tolist())) == pytest.approx([1.0, 6.0, 16.0, 21.0]), (
        "each entry is dropped, or ten times as large, in each part"
    )
    assert float((merged == 1).float().mean()) == pytest.approx(0.81, abs=0.02), (
        "parts are drawn independently"
    )


def test_dare_draws_by_its_seed_alone() -> None:
    start, parts = {"w": torch.zeros(200)}, [{"w": torch.ones(200)}] * 2
    torch.manual_seed(1)
    one = Dare(seed=3).merge(start, parts)["w"]
    torch.manual_seed(2)
    assert torch.equal(one, Dare(seed=3).merge(start, parts)["w"])
    assert not torch.equal(one, Dare(seed=4).merge(start, parts)["w"])


@given(vectors, vectors, st.integers(0, len(MERGERS) - 1))
def test_equal_models_merge_into_themselves(start: Tensor, part: Tensor, which: int) -> None:
    merged = MERGERS[which].merge({"w": start}, [{"w": part}, {"w": part.clone()}])["w"]
    assert torch.allclose(merged, part, atol=1e-5)


@given(vectors, vectors, vectors, st.integers(0, len(MERGERS) - 1))
@settings(deadline=None)
def test_the_order_of_two_parts_does_not_matter(
    start: Tensor, first: Tensor, second: Tensor, which: int
) -> None:
    merge = MERGERS[which].merge
    one, other = (
        merge({"w": start}, [{"w": a}, {"w": b}])["w"]
        for a, b in ((first, second), (second, first))
    )
    assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("merger", MERGERS, ids=lambda m: type(m).__name__)
def test_merging_leaves_what_it_is_given_as_it_was(merger: Merger) -> None:
    start, parts = {"w": torch.randn(3, 4)}, [{"w": torch.randn(3, 4)} for _ in range(2)]
    before = [start["w"].clone(), *(part["w"].clone() for part in parts)]
    merger.merge(start, parts)
    assert all(
        torch.equal(a, b)
        for a, b in zip(before, [start["w"], *(part["w"] for part in parts)], strict=True)
    )


def test_what_cannot_be_merged_is_skipped() -> None:
    start, part = {"w": torch.zeros(2)}, {"w": torch.ones(2)}
    with pytest.raises(Skipped, match="two parts, not 3"):
        Slerp().merge(start, [part] * 3)
    with pytest.raises(Skipped, match="2 weights for 3"):
        Linear(weights=(0.5, 0.5)).merge(start, [part] * 3)
    for merger in (TaskArithmetic(), Ties(), Dare()):
        with pytest.raises(Skipped, match="other layers than the start"):
            merger.merge(start, [part, {**part, "more": torch.ones(1)}])


@pytest.mark.parametrize("by", ["slerp", "task-arithmetic", "ties", "dare"])
def test_a_merge_of_two_trainings_is_a_model(by: str, tmp_path: Path) -> None:
    recipe = Merge.model_validate(
        {"parts": [{"sft": {"lr": 1e-3}}, {"sft": {"lr": 1e-3}}], "by": by}
    )
    session = tiny_session(tmp_path, Budget("steps", 2))
    merged, start = recipe.train(session), session.reference()
    moved = [
        not torch.equal(a, b) for a, b in zip(merged.parameters(), start.parameters(), strict=True)
    ]
    assert all(bool(p.isfinite().all()) for p in merged.parameters())
    assert all(moved), "every tensor was trained in both parts"
