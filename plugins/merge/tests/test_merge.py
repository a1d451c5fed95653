"""Merging and depth up-scaling: golden values by hand, properties of every merger, and surgery that
reloads exactly.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_merge import Dare, DepthUpscale, Slerp, TaskArithmetic, Ties, depth, merging
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from bench import Merger, Skipped
from bench.accounting.budget import Budget
from bench.methods.composition import Linear, Merge
from bench.models.load import decoder_layers
from bench.testing import tiny_session

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 4},
    "qwen2": {"tie_word_embeddings": True},
    "gemma3_text": {
        "sliding_window": 4,
        "layer_types": [
            "sliding_attention",
            "full_attention",
            "sliding_attention",
            "sliding_attention",
        ],
        "tie_word_embeddings": True,
    },
    "gpt2": {"n_embd": 32, "n_head": 4},
}
MERGERS: list[Merger] = [
    Linear(),
    Slerp(),
    TaskArithmetic(scaling_coefficient=0.5),
    Ties(density=1.0),
    Dare(drop_rate=0.0),
]

vectors = st.lists(st.floats(-8, 8, width=32), min_size=6, max_size=6).map(torch.tensor)


def _random_model(kind: str, layers: int = 4) -> PreTrainedModel:
    torch.manual_seed(0)
    own = {name: value for name, value in SIZES.items() if kind != "gpt2" or name == "vocab_size"}
    config = AutoConfig.for_model(
        kind, **{**own, "num_hidden_layers": layers, "pad_token_id": 0, **ARCHITECTURES[kind]}
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def _logits(model: PreTrainedModel, **settings: Any) -> Tensor:
    ids = torch.arange(24).reshape(2, 12) + 1
    with torch.no_grad():
        return model(input_ids=ids, **settings).logits


def _reloaded(folder: Path) -> Any:
    """The model in a folder, and what transformers tells of missing and left over weights."""
    return AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)


def _tied(model: Any) -> bool:
    return model.get_input_embeddings().weight is model.get_output_embeddings().weight


# ── depth up-scaling ──


def test_the_layers_of_the_paper() -> None:
    assert depth.indices(32, 8) == [*range(24), *range(8, 32)]
    assert len(depth.indices(32, 8)) == 48


@given(st.integers(2, 64), st.data())
def test_the_two_copies_meet_at_a_seam_and_elsewhere_layers_follow_one_another(
    n: int, data: st.DataObject
) -> None:
    m = data.draw(st.integers(0, (n - 1) // 2))
    order = depth.indices(n, m)
    assert len(order) == 2 * (n - m)
    assert set(order) == set(range(n))
    assert [b - a for a, b in itertools.pairwise(order) if b - a != 1] == [2 * m - n + 1] * (
        n != 2 * m
    )


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_an_upscaled_model_is_its_parts_and_reloads_exactly(kind: str, tmp_path: Path) -> None:
    start, model = _random_model(kind), depth.upscale(_random_model(kind), 1)
    model.save_pretrained(tmp_path)
    reloaded, mismatches = _reloaded(tmp_path)
    assert not any(mismatches.values()), "every weight is found, and none is left over"
    assert torch.equal(_logits(model), _logits(reloaded.eval()))
    assert torch.equal(_logits(model), _logits(model, use_cache=True)), (
        "each layer has a place of its own in the cache"
    )

    order = [0, 1, 2, 1, 2, 3]
    layers, before = decoder_layers(reloaded), decoder_layers(start)
    for place, origin in enumerate(order):
        assert all(
            torch.equal(a, b)
            for a, b in zip(layers[place].parameters(), before[origin].parameters(), strict=True)
        )
    assert reloaded.config.num_hidden_layers == 6
    if kinds := getattr(start.config, "layer_types", None):
        assert reloaded.config.layer_types == [kinds[i] for i in order]

    inside = {id(p) for p in decoder_layers(start).parameters()}
    others = [name for name, p in start.named_parameters() if id(p) not in inside]
    assert others, "embeddings, norm and head"
    assert all(
        torch.equal(start.get_parameter(name), reloaded.get_parameter(name)) for name in others
    )
    assert _tied(model) == _tied(reloaded) == _tied(start)


def test_copies_share_no_weights() -> None:
    layers = decoder_layers(depth.upscale(_random_model("llama"), 1))
    assert len({p.data_ptr() for p in layers.parameters()}) == len(list(layers.parameters()))


def test_a_quarter_of_the_layers_is_dropped_unless_said(tmp_path: Path) -> None:
    assert DepthUpscale().train(tiny_session(tmp_path)).config.num_hidden_layers == 6
    assert DepthUpscale(m=0).train(tiny_session(tmp_path)).config.num_hidden_layers == 8


def test_it_learns_from_nothing_and_spends_nothing(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    DepthUpscale().train(session)
    assert DepthUpscale.formats == ()
    assert session.ledger.spent("tokens") == session.ledger.steps == 0


def test_what_cannot_be_deepened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="makes no deeper model"):
        DepthUpscale(m=2).train(tiny_session(tmp_path))
    hidden = _random_model("llama")
    hidden.config.num_hidden_layers = 7
    with pytest.raises(Skipped, match="cannot be found"):
        depth.upscale(hidden, 1)
    config = AutoConfig.for_model(
        "deepseek_v3",
        **SIZES,
        num_hidden_layers=4,
        first_k_dense_replace=2,
        n_routed_experts=4,
        n_group=1,
    )
    with pytest.raises(Skipped, match="differ by their number"):
        depth.upscale(AutoModelForCausalLM.from_config(config), 1)


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
