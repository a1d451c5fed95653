"""Mergers that thin out or weigh what the parts changed, and tied tensors: numbers by hand, PEFT's
own functions, what always holds.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_merge import (
    Breadcrumbs,
    Dare,
    DareTies,
    Della,
    Fisher,
    ModelStock,
    RegMean,
    Ties,
    merging,
)
from peft.utils import merge_utils
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor

from bench import Merger, Skipped
from bench.accounting.budget import Budget
from bench.methods.composition import Merge
from bench.methods.recipe import apply, obstacle
from bench.models.spec import ModelSpec
from bench.testing import tiny_session


def merged(folder: Path, budget: Budget, rates: tuple[float, float], by: Any) -> tuple[Any, Any]:
    recipe = Merge.model_validate({"parts": [{"sft": {"lr": lr}} for lr in rates], "by": by})
    session = tiny_session(folder, budget)
    return apply("merge", recipe, session), session


# ── tied tensors ──


@pytest.mark.parametrize("by", [Ties(density=0.1), Dare(seed=1)], ids=["ties", "dare"])
def test_a_merger_sees_a_tied_tensor_once(by: Merger, tmp_path: Path) -> None:
    name = type(by).__name__.lower()
    model, session = merged(tmp_path, Budget("steps", 2), (1e-3, 1e-3), {name: by.model_dump()})
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    start = {name: p.detach() for name, p in session.reference().named_parameters()}
    files = [load_file(tmp_path / f"stage-{i}/merged/model.safetensors") for i in (0, 1)]
    by_hand = by.merge(start, [{name: file[name] for name in start} for file in files])
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), by_hand[name])


# ── formulas ──


def test_breadcrumbs_by_hand() -> None:
    change = torch.tensor([[9.0, -1.0, 3.0, -4.0], [0.5, 2.0, -8.0, 0.0]])
    kept = torch.tensor([[0.0, 0.0, 3.0, -4.0], [0.0, 2.0, -8.0, 0.0]])
    assert torch.equal(merging.middle(change, 3 / 8, 7 / 8), kept)
    start = {"w": torch.ones(2, 4), "b": torch.zeros(8)}
    part = {"w": start["w"] + change, "b": torch.arange(8.0)}
    by = Breadcrumbs(beta=3 / 8, gamma=7 / 8, scaling_coefficient=0.5)
    made = by.merge(start, [part, part])
    assert torch.equal(made["w"], 1 + kept), "the sum over parts, not the mean"
    assert torch.equal(made["b"], torch.tensor([0.0, 0, 0, 3, 4, 5, 6, 0])), "each tensor apart"


def test_dare_ties_is_pefts_on_the_same_draws() -> None:
    start = {"w": torch.zeros(5, 40)}
    parts = [{"w": torch.randn(5, 40)} for _ in range(3)]
    drawn = [c["w"] for c in merging.drop_and_rescale(parts, 0.5, 7)]
    stacked = torch.stack(drawn)
    mask = merge_utils.calculate_majority_sign_mask(stacked, method="total")
    expected = merge_utils.disjoint_merge(stacked, mask)
    made = DareTies(drop_rate=0.5, seed=7).merge(start, parts)["w"]
    torch.testing.assert_close(made, expected)


def test_dare_ties_without_drops_is_pefts_ties() -> None:
    start, parts = {"w": torch.zeros(200)}, [{"w": torch.randn(200)} for _ in range(3)]
    expected = merge_utils.ties([part["w"] for part in parts], torch.ones(3), 1.0)
    torch.testing.assert_close(DareTies(drop_rate=0).merge(start, parts)["w"], expected)


def test_the_chances_of_della_by_hand() -> None:
    change = torch.tensor([[0.1, -3.0, 2.0], [5.0, 0.0, -6.0]])
    chances = merging.drop_chances(change, 0.5, 0.4)
    expected = torch.tensor([[0.7, 0.3, 0.5], [0.5, 0.7, 0.3]])
    torch.testing.assert_close(chances, expected)
    torch.testing.assert_close(merging.drop_chances(torch.ones(1), 0.5, 0.4), torch.tensor([0.5]))
    torch.testing.assert_close(
        merging.drop_chances(torch.randn(6, 50), 0.6, 0.2).mean(1), torch.full((6,), 0.6)
    )


def test_della_keeps_the_mean_and_is_dare_ties_where_chances_are_equal() -> None:
    rows = torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(20_000, 4).contiguous()
    start, part = {"w": torch.zeros_like(rows)}, {"w": rows}
    made = Della(drop_rate=0.5, epsilon=0.4).merge(start, [part])["w"]
    torch.testing.assert_close(made.mean(0), rows[0], rtol=0.05, atol=0)
    kept = (made != 0).float().mean(0)
    expected = torch.tensor([0.3, 0.3 + 0.4 / 3, 0.3 + 0.8 / 3, 0.7])
    torch.testing.assert_close(kept, expected, atol=0.02, rtol=0)
    even = Della(drop_rate=0.5, epsilon=0, seed=3).merge(start, [part])["w"]
    assert set(even[:, 0].unique().tolist()) == {0.0, 2.0}


def test_model_stock_by_hand() -> None:
    """Two changes of one length at 60°: t = 2·½ / (1 + ½) = 2/3 of the mean."""
    start = {"w": torch.tensor([1.0, 1.0])}
    first, second = torch.tensor([2.0, 0.0]), torch.tensor([1.0, math.sqrt(3)])
    made = ModelStock().merge(start, [{"w": start["w"] + c} for c in (first, second)])["w"]
    torch.testing.assert_close(made, start["w"] + (first + second) / 3)
    for cosine, share in ((1.0, 1.0), (0.0, 0.0), (-1.0, 0.0)):
        other = torch.tensor([2 * cosine, 2 * math.sqrt(1 - cosine**2)])
        mean = (first + other) / 2
        torch.testing.assert_close(merging.stock([first, other]), share * mean, atol=1e-6, rtol=0)
    three = [torch.eye(3)[i] + 1 for i in range(3)]  # cos θ = 5/6 between each two
    torch.testing.assert_close(merging.stock(three), 15 / 6 / (1 + 10 / 6) * sum(three) / 3)
    assert not merging.stock([torch.zeros(2), torch.zeros(2)]).any()
    with pytest.raises(Skipped, match="two parts or more"):
        ModelStock().merge(start, [start])


def test_fisher_merging_by_hand() -> None:
    start, parts = {"w": torch.zeros(3)}, [{"w": torch.zeros(3)}, {"w": torch.full((3,), 4.0)}]
    fishers = [{"w": torch.tensor([1.0, 0.0, 2.0])}, {"w": torch.tensor([3.0, 0.0, 0.0])}]
    made = Fisher(fisher_floor=1e-6).merge(start, parts, fishers)["w"]
    torch.testing.assert_close(made, torch.tensor([3.0, 2.0, 2e-6]), atol=1e-8, rtol=1e-5)


def test_regmean_is_the_least_squares_solution() -> None:
    """Against a solver that sees the inputs themselves."""
    inputs = [torch.randn(30, 5), 3 * torch.randn(40, 5)]
    weights = [torch.randn(2, 5) for _ in range(2)]
    outputs = torch.cat([x @ w.T for x, w in zip(inputs, weights, strict=True)])
    solved = torch.linalg.lstsq(torch.cat(inputs), outputs).solution.T
    grams = [{"l.weight": x.T @ x} for x in inputs]
    parts = [{"l.weight": w, "norm": torch.full((2,), float(i))} for i, w in enumerate(weights)]
    made = RegMean(alpha=1.0).merge({}, parts, grams)
    torch.testing.assert_close(made["l.weight"], solved, atol=1e-4, rtol=1e-4)
    assert made["norm"].tolist() == [0.5, 0.5], "what is no linear layer is averaged"

    def weighted(inputs_of: int) -> Tensor:
        return grams[inputs_of]["l.weight"].diagonal()

    by_column = (weights[0] * weighted(0) + weights[1] * weighted(1)) / (weighted(0) + weighted(1))
    torch.testing.assert_close(RegMean(alpha=0.0).merge({}, parts, grams)["l.weight"], by_column)


def gpt2(layers: int) -> ModelSpec:
    shape = {"vocab_size": 300, "n_embd": 32, "n_layer": layers, "n_head": 2}
    return ModelSpec.model_validate({"random": "gpt2", "tokenizer": "tiny", **shape})


def test_regmean_on_gpt2_whose_layers_keep_the_transpose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against (Σ G_i)⁻¹ (Σ G_i W_i) of weights of (inputs, outputs), the inputs read apart. The
    layer is square: its shape does not tell which way round it is.
    """
    name = "transformer.h.0.attn.c_proj"
    grams, weights, gathered, parts = [], [], [], []
    for number in range(2):
        session = tiny_session(tmp_path / str(number), Budget("tokens", 4000), start=gpt2(1))
        model = session.model()
        torch.manual_seed(number)
        for parameter in model.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        layer: Any = model.get_submodule(name)
        seen: list[Tensor] = []
        layer.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        monkeypatch.setattr(session, "model", lambda *_, model=model: model)
        gathered.append(RegMean(examples=8).gather(session))
        parts.append({n: p.detach() for n, p in model.named_parameters()})
        x = torch.cat([inputs.flatten(0, -2) for inputs in seen]).double()
        grams.append(x.T @ x)
        weights.append(layer.weight.detach().double())
    assert len(gathered[0]) == 4, "two layers of attention and two of the network"
    made = RegMean(alpha=1.0).merge({}, parts, gathered)
    moved = torch.stack([g @ w for g, w in zip(grams, weights, strict=True)])
    solved = torch.linalg.solve(torch.stack(grams).sum(0), moved.sum(0))
    torch.testing.assert_close(made[f"{name}.weight"].double(), solved, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(solved, merging.mean(weights), atol=1e-2)
    norm = "transformer.ln_f.weight"
    assert torch.equal(made[norm], merging.mean([part[norm] for part in parts]))


def test_regmean_skips_a_model_without_layers(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="GPT2LMHeadModel has no linear layers"):
        RegMean().gather(tiny_session(tmp_path, start=gpt2(0)))


def test_regmean_is_the_mean_where_no_input_points() -> None:
    seen = torch.diag(torch.tensor([1.0, 0.0]))
    made = merging.regression_mean([torch.zeros(1, 2), torch.ones(1, 2)], [seen, 3 * seen], 1.0)
    torch.testing.assert_close(made, torch.tensor([[0.75, 0.5]]))


def test_hyper_parameters_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="beta must be less than gamma"):
        Breadcrumbs(beta=0.9, gamma=0.8)
    with pytest.raises(ValidationError, match="within 0 and 1"):
        Della(drop_rate=0.95, epsilon=0.2)


# ── end to end ──


@pytest.mark.parametrize("by", ["breadcrumbs", "dare-ties", "della", "model-stock"])
def test_a_merge_of_two_trainings_is_a_model(by: str, tmp_path: Path) -> None:
    model, session = merged(tmp_path, Budget("steps", 2), (1e-3, 1e-3), by)
    start = session.reference()
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    pairs = zip(model.parameters(), start.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("by", ["fisher", "regmean"])
def test_what_is_gathered_of_the_parts_is_charged_and_within_the_budget(
    by: str, tmp_path: Path
) -> None:
    model, session = merged(tmp_path, Budget("tokens", 8000), (1e-3, 1e-3), by)
    spent = {name: spend["tokens"] for name, spend in session.ledger.by_purpose().items()}
    assert set(spent) == {"train", by}
    assert 0.05 < spent[by] / 8000 < 0.15
    assert 0.9 < sum(spent.values()) / 8000 < 1.1
    files = [load_file(tmp_path / f"stage-{i}/merged/model.safetensors") for i in (0, 1)]
    norm = "model.norm.weight"
    low, high = torch.stack([f[norm] for f in files]).aminmax(dim=0)
    made = model.state_dict()[norm]
    assert bool(((made >= low - 1e-6) & (made <= high + 1e-6)).all())
    layer = "model.layers.0.mlp.down_proj.weight"
    mean = (files[0][layer] + files[1][layer]) / 2
    assert not torch.allclose(model.state_dict()[layer], mean, atol=1e-6)


def test_a_merger_that_needs_data_says_so_before_training(tmp_path: Path) -> None:
    recipe = Merge.model_validate({"parts": ["dapt", "dapt"], "by": "fisher"})
    reason = obstacle(recipe, tiny_session(tmp_path, task="tiny/text"))
    assert reason is not None and "prompt-completion" in reason
