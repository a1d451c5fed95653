"""Mixout on GPT-2, whose layers keep their weights as (inputs, outputs)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bench_continual as continual
import pytest
import torch
from bench_continual.mixing import mixing, mixout

from bench import Format, Skipped
from bench.models.spec import ModelSpec
from bench.testing import tiny_session

from .fine_tuning import TUNED, plain, same, trained


def gpt2(layers: int) -> ModelSpec:
    """Without dropout, which draws from the same random numbers as the masks."""
    shape = {"vocab_size": 300, "n_embd": 32, "n_layer": layers, "n_head": 2}
    off = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0)
    return ModelSpec.model_validate({"random": "gpt2", "tokenizer": "tiny", **shape, **off})


def test_a_layer_that_keeps_the_transpose_computes_with_the_mixture(tmp_path: Path) -> None:
    model = tiny_session(tmp_path, start=gpt2(1)).model()
    layer: Any = model.get_submodule("transformer.h.0.mlp.c_fc")
    start, inputs = layer.weight.detach().clone(), torch.randn(2, 3, 32)
    with torch.no_grad(), mixing(model, 0.5):
        torch.testing.assert_close(layer(inputs), inputs @ start + layer.bias)
        layer.weight.add_(torch.randn_like(start))
        mixed = mixout(layer.weight, start, layer.forward.mask, 0.5)
        torch.testing.assert_close(layer(inputs), inputs @ mixed + layer.bias)
    with torch.no_grad():
        torch.testing.assert_close(layer(inputs), inputs @ layer.weight + layer.bias)


def test_mixing_changes_what_a_moved_model_says(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, start=gpt2(2))
    model = session.model().eval()
    batch = next(iter(session.batches(Format.PROMPT_COMPLETION)))
    with torch.no_grad():
        with mixing(model, 0.7) as draw_again:
            for parameter in model.parameters():
                parameter.mul_(1.1)
            first = model(**batch).logits
            draw_again()
            second = model(**batch).logits
        after = model(**batch).logits
    session.close()
    assert not torch.equal(first, second)
    assert not torch.allclose(first, after, atol=1e-3)


@pytest.mark.parametrize("p", [0.0, 0.7])
def test_it_is_plain_fine_tuning_at_no_strength_alone(p: float, tmp_path: Path) -> None:
    mixed = tiny_session(tmp_path / "a", start=gpt2(1))
    tuned = trained(continual.Mixout(p=p, **TUNED), mixed)
    unmixed = tiny_session(tmp_path / "b", start=gpt2(1))
    assert same(tuned, plain(unmixed)) == (p == 0)
    assert mixed.ledger.by_purpose() == unmixed.ledger.by_purpose()


def test_a_model_with_nothing_to_mix_is_skipped(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="GPT2LMHeadModel has no linear layers"):
        continual.Mixout(**TUNED).train(tiny_session(tmp_path, start=gpt2(0)))
