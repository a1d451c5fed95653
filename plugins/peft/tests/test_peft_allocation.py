"""Methods that move rank or parameters about while they train."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bench_peft.allocation import LAST, MOMENTS, Allocation
from bench_peft.methods import METHODS
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.accounting.budget import Budget
from bench.testing import tiny_session

from .adapters import SMALL, made, trained


def test_adalora_keeps_its_regulariser(tmp_path: Path) -> None:
    _, without = trained("adalora", tmp_path / "without", orth_reg_weight=0.0)
    _, with_it = trained("adalora", tmp_path / "with", orth_reg_weight=0.5)
    factors = [
        (a, b)
        for (n, a), b in zip(without.named_parameters(), with_it.parameters(), strict=True)
        if "lora_A" in n
    ]
    assert not any(torch.equal(a, b) for a, b in factors)


@pytest.mark.parametrize("steps", [1, 3, 25])
def test_adalora_ends_at_its_target_rank(steps: int, tmp_path: Path) -> None:
    _, model = trained("adalora", tmp_path, Budget("steps", steps), init_r=6, target_r=2, lr=1e-2)
    pattern = model.active_peft_config.rank_pattern
    assert sum(map(sum, pattern.values())) == 2 * 28
    alive = sum(int((p != 0).sum()) for n, p in model.named_parameters() if "lora_E" in n)
    assert 0 < alive <= 2 * 28


def test_adalora_ranks_must_shrink() -> None:
    with pytest.raises(ValidationError, match="target_r must be less than init_r"):
        made("adalora", init_r=8, target_r=8)


def test_adamss_asa_switches_clusters_off(tmp_path: Path) -> None:
    """They are off when the loop ends; after it all count as trained that were trained at some
    time.
    """
    active: list[int] = []

    def clusters(model: Any) -> list[bool]:
        return [p.requires_grad for n, p in model.named_parameters() if "adamss_A" in n]

    base: Any = METHODS["adamss-asa"]

    class Watched(base):
        def fit(self, session: Any, model: Any, optimizer: Any) -> None:
            super().fit(session, model, optimizer)
            active.append(sum(clusters(model)))

    settings = {**SMALL["adamss-asa"], "asa_target_subspaces": 20}
    model = Watched(**settings).train(tiny_session(tmp_path, Budget("steps", 5)))
    assert 0 < active[0] <= 20
    assert len(clusters(model)) == 56  # two in each linear layer
    assert all(clusters(model))


@given(
    progress=st.lists(st.floats(0, 1), min_size=1, max_size=60).map(sorted),
    interval=st.sampled_from([50, LAST]),
)
def test_allocation_acts_once_at_every_moment_that_counts(
    progress: list[float], interval: int
) -> None:
    acted: list[int] = []
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    session: Any = SimpleNamespace(progress=0.0)
    model: Any = SimpleNamespace(base_model=SimpleNamespace(update_and_allocate=acted.append))
    allocation = Allocation(session, model, optimizer, interval)
    for session.progress in progress:
        weight.grad = torch.zeros(1)
        optimizer.step()
    allocation.finish()
    cuts = [moment for moment in acted if moment % interval == 0]
    assert acted.count(LAST) == 1
    assert sorted(set(cuts)) == cuts
    assert {
        round(p * MOMENTS) // interval * interval for p in progress if round(p * MOMENTS) < LAST
    } - {0} <= set(cuts)
