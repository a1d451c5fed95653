"""Depth up-scaling: which layers there are, and that the model is its parts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from bench_merge import DepthUpscale, depth
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from bench import Skipped
from bench.models.load import decoder_layers
from bench.testing import tiny_session

from .random_models import ARCHITECTURES, SIZES, logits, random_model, reopened, tied


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
    start, model = random_model(kind), depth.upscale(random_model(kind), 1)
    model.save_pretrained(tmp_path)
    reloaded, mismatches = reopened(tmp_path)
    assert not any(mismatches.values()), "every weight is found, and none is left over"
    assert torch.equal(logits(model), logits(reloaded.eval()))
    assert torch.equal(logits(model), logits(model, use_cache=True)), (
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
    assert tied(model) == tied(reloaded) == tied(start)


def test_copies_share_no_weights() -> None:
    layers = decoder_layers(depth.upscale(random_model("llama"), 1))
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
    hidden = random_model("llama")
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
