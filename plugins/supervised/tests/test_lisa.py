"""LISA: which layers train, what they are charged, and what stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench_supervised import SFT
from bench_supervised.partial import Lisa
from torch import Tensor
from transformers import PreTrainedModel

from bench.testing import tiny_session

from .watched import STEPS, changed, watched, weights


def test_lisa_with_all_layers_is_full_fine_tuning_bit_for_bit(tmp_path: Path) -> None:
    lisa = Lisa(lr=1e-3, activated_layers=4, interval_steps=2).train(
        tiny_session(tmp_path / "lisa")
    )
    full = SFT(lr=1e-3).train(tiny_session(tmp_path / "sft"))
    assert changed(weights(lisa), weights(full)) == set()


@pytest.mark.parametrize("layers", [1, 2])
def test_lisa_trains_so_many_layers_an_interval_and_leaves_the_others_bit_for_bit(
    layers: int, tmp_path: Path
) -> None:
    seen: list[tuple[set[str], int, set[str]]] = []
    last: dict[str, Tensor] = {}

    def look(model: PreTrainedModel) -> None:
        now = weights(model)
        kept = {name for name, p in model.named_parameters() if p in session.optimizer_seen.state}
        seen.append(
            (
                changed(last, now),
                sum(p.numel() for p in model.parameters() if p.requires_grad),
                kept,
            )
        )
        last.update(now)

    session = watched(tmp_path, look, steps=12)
    last.update(weights(session.reference()))
    sizes = {name: weight.numel() for name, weight in last.items()}
    model = Lisa(lr=1e-3, activated_layers=layers, interval_steps=3).train(session)

    always = {name for name in sizes if ".layers." not in name}
    per_layer = sum(size for name, size in sizes.items() if ".layers.0." in name)
    drawn = [{name.split(".")[2] for name in moved - always} for moved, _, _ in seen]
    for moved, trainable, kept in seen:
        assert always <= moved
        assert trainable == sum(sizes[name] for name in always) + layers * per_layer
        assert kept == moved, "the optimizer keeps a state of what trains alone"
    assert all(len(numbers) == layers for numbers in drawn)
    assert all(drawn[i] == drawn[i - i % 3] for i in range(12)), (
        "layers change at the ends of intervals alone"
    )
    assert len(set(map(frozenset, drawn))) > 1, "other intervals train other layers"
    ever = set().union(*drawn)
    assert {
        name.split(".")[2]
        for name, p in model.named_parameters()
        if p.requires_grad and name not in always
    } == ever


def test_lisa_starts_the_state_of_a_layer_anew(tmp_path: Path) -> None:
    ages: list[dict[str, float]] = []

    def look(model: PreTrainedModel) -> None:
        names = {p: name for name, p in model.named_parameters()}
        ages.append(
            {names[p]: float(state["step"]) for p, state in session.optimizer_seen.state.items()}
        )

    session = watched(tmp_path, look)
    Lisa(lr=1e-3, activated_layers=1, interval_steps=1).train(session)
    inside = [[age for name, age in one.items() if ".layers." in name] for one in ages]
    outside = [{age for name, age in one.items() if ".layers." not in name} for one in ages]
    assert outside == [{float(number + 1)} for number in range(STEPS)]
    assert min(max(one) for one in inside[1:]) == 1.0, "a layer drawn anew begins at its first step"


def test_lisa_is_charged_for_the_layers_that_train(tmp_path: Path) -> None:
    spent = {}
    for layers in (1, 2, 4):
        session = tiny_session(tmp_path / str(layers))
        Lisa(activated_layers=layers, interval_steps=1).train(session)
        spent[layers] = session.ledger.spent("flops")
    one_layer = (spent[2] - spent[1], (spent[4] - spent[2]) / 2)
    assert one_layer[0] == pytest.approx(one_layer[1], rel=1e-6)
    assert one_layer[0] > 0


def test_lisa_draws_by_its_seed(tmp_path: Path) -> None:
    one, same, other = (
        weights(Lisa(lr=1e-3, interval_steps=1).train(tiny_session(tmp_path / name, seed=seed)))
        for name, seed in (("one", 1), ("same", 1), ("other", 2))
    )
    assert changed(one, same) == set()
    assert changed(one, other)
