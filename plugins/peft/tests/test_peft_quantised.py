"""Starts in four bits: levels, rounding and LoftQ, by hand and beside bitsandbytes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench_peft.methods import METHODS
from bench_peft.quantised import NF4, loftq, nf4
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from bench.testing import tiny_session


def test_nf4_levels_are_quantiles_of_a_normal_distribution() -> None:
    """2305.14314, §3: eight levels below zero, zero, seven above; ends at a quantile of 1/2 (1/32 +
    1/30).
    """
    offset = 1 - 0.5 * (1 / 32 + 1 / 30)
    above = norm.ppf(np.linspace(offset, 0.5, 9)[:-1])
    below = -norm.ppf(np.linspace(offset, 0.5, 8)[:-1])
    levels = np.sort([*above, 0.0, *below]) / norm.ppf(offset)
    assert np.allclose(np.sort(-levels), NF4, atol=1e-5) or np.allclose(levels, NF4, atol=1e-5)


def test_nf4_by_hand() -> None:
    weight = torch.tensor([[2.0, -2.0, 0.1, -0.5], [0.25, 1.5, -1.1, 0.0]])
    want = torch.tensor(
        [
            [2.0, -2.0, 0.15915962, -0.56888281],
            [0.32186040, 1.44591373, -1.05014610, 0.0],
        ]
    )
    assert torch.allclose(nf4(weight), want)
    far = torch.cat([weight.flatten(), torch.zeros(56), torch.tensor([1.0])])
    assert float(nf4(far)[-1]) == 1.0, "the next block has a scale of its own"


@given(st.integers(0, 1000))
def test_nf4_changes_nothing_that_is_rounded_and_errs_by_half_a_step(seed: int) -> None:
    weight = torch.randn(9, 30, generator=torch.Generator().manual_seed(seed))
    rounded = nf4(weight)
    assert torch.allclose(nf4(rounded), rounded)
    widest = max(b - a for a, b in pairwise(NF4)) / 2
    assert float((rounded - weight).abs().max()) <= widest * float(weight.abs().max()) + 1e-6
    assert torch.allclose(nf4(-3.0 * rounded).abs().amax(), 3.0 * rounded.abs().amax())


def test_nf4_equals_bitsandbytes() -> None:
    functional = pytest.importorskip("bitsandbytes").functional
    weight = torch.randn(96, 128, generator=torch.Generator().manual_seed(0))
    packed, state = functional.quantize_4bit(weight, blocksize=64, quant_type="nf4")
    assert torch.allclose(nf4(weight), functional.dequantize_4bit(packed, state), atol=1e-5)


def test_loftq_comes_nearer_to_the_weight_than_rounding() -> None:
    weight = torch.randn(48, 32, generator=torch.Generator().manual_seed(0))
    off = [float((weight - nf4(weight)).norm())]
    for iterations in (1, 5):
        rounded, left, right = loftq(weight, 4, iterations)
        assert torch.allclose(nf4(rounded), rounded, atol=1e-6), "its base has four bits"
        off.append(float((weight - rounded - left @ right).norm()))
    assert off[0] > off[1] > off[2]


def test_one_turn_of_loftq_is_the_best_low_rank_part_of_the_error() -> None:
    weight = torch.randn(48, 32, generator=torch.Generator().manual_seed(0))
    rounded, left, right = loftq(weight, 4, 1)
    assert torch.equal(rounded, nf4(weight))
    left_over = torch.linalg.svdvals(weight - rounded)[4:].norm()
    assert float((weight - rounded - left @ right).norm()) == pytest.approx(float(left_over))


def test_loftq_starts_nearer_to_the_start_than_qlora(tmp_path: Path) -> None:
    from bench.models.start import load_start

    off = {}
    for name in ("qlora", "loftq"):
        session = tiny_session(tmp_path / name)
        start: Any = load_start(session.start, session.dtype, session.device)
        method: Any = METHODS[name].model_validate({"r": 16})
        model: Any = method.adapted(session)
        layer = model.get_base_model().model.layers[0].mlp.down_proj
        whole = layer.base_layer.weight + layer.get_delta_weight("default")
        off[name] = float((whole - start.model.layers[0].mlp.down_proj.weight).norm().detach())
    assert 0 < off["loftq"] < 0.8 * off["qlora"]
