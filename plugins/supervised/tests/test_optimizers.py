"""Optimizers other than AdamW: what each step does, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_supervised.adam_mini import Blocks, BlockwiseAdam, blocks
from bench_supervised.low_rank import Apollo, GaLore
from bench_supervised.optimizers import AdamMini, Muon, ScheduleFree, named
from bench_supervised.partial import BAdam
from torch import Tensor, nn

from bench import Choice, LogRange, decoder_layers, token_losses
from bench.accounting.budget import Budget
from bench.data.formats import Format
from bench.methods.search_space import hyperparameters
from bench.models.spec import ModelSpec
from bench.testing import tiny_session

ONE_LAYER = ModelSpec.model_validate(
    {
        "random": "llama",
        "tokenizer": "tiny",
        "vocab_size": 300,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
)
GPT2 = ModelSpec.model_validate(
    {
        "random": "gpt2",
        "tokenizer": "tiny",
        "vocab_size": 300,
        "n_embd": 32,
        "n_layer": 1,
        "n_head": 2,
    }
)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def _one_step(method: Any, folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What a method's first step moves, and the gradient that it has as the session clips it."""
    session = tiny_session(folder, Budget("steps", 1))
    model = session.model()
    before, gradients = _weights(model), {}
    optimizer = method.optimizer(session, model)
    for batch in session.batches(Format.PROMPT_COMPLETION):
        optimizer.register_step_pre_hook(
            lambda *_: gradients.update(
                {n: p.grad.clone() for n, p in named(model) if p.grad is not None}
            )
        )
        session.learn(optimizer, batch, lambda part: token_losses(model, part))
    assert session.ledger.steps == 1, "one step counts once"
    after = _weights(model)
    return {name: after[name] - before[name] for name in before}, gradients


# ── Muon ──


def test_muon_steps_along_the_orthogonal_factor_of_each_matrix(tmp_path: Path) -> None:
    """The singular values of an update are alike, its singular vectors those of the gradient, and
    its root mean square is 0.2 of the learning rate (2502.16982, eq. 4).
    """
    method = Muon(lr=1e-3)
    moved, gradients = _one_step(method, tmp_path)
    rate = 1e-3 * 0.1  # the schedule begins at a tenth
    for name in (n for n in moved if ".layers." in n and moved[n].ndim == 2):
        left, sizes, right = torch.linalg.svd(gradients[name].double(), full_matrices=False)
        strong = sizes > 0.05 * sizes[0]
        along = ((left.T @ -moved[name].double()) * right).sum(1)[strong]
        unit = rate * 0.2 * max(moved[name].shape) ** 0.5
        # Newton-Schulz leaves singular values within 0.5 and 1.5 (Jordan et al.)
        assert float((along / unit).min()) > 0.4, name
        assert float((along / unit).max()) < 1.6, name


def test_muon_moves_what_is_no_hidden_matrix_as_adamw_does(tmp_path: Path) -> None:
    moved, gradients = _one_step(Muon(lr=1e-3), tmp_path)
    rest = [n for n in moved if ".layers." not in n or moved[n].ndim == 1]
    assert any("embed" in n for n in rest) and any("norm" in n for n in rest)
    for name in rest:
        slope = gradients[name]
        first = -1e-4 * slope / (slope.abs() + 1e-8)
        assert torch.allclose(moved[name], first, atol=1e-7), name  # rounding of the weights


def test_muon_anneals_both_parts(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 3))
    model = session.model()
    optimizer: Any = Muon(lr=1e-3).optimizer(session, model)
    rates = []
    for batch in session.batches(Format.PROMPT_COMPLETION):
        session.learn(optimizer, batch, lambda part: token_losses(model, part))
        rates.append([o.param_groups[0]["lr"] for o in optimizer.optimizers])
    assert all(one == other for one, other in rates)
    assert len({one for one, _ in rates}) == 3
    assert session.ledger.steps == 3
    held = {id(p) for p in optimizer.state}
    assert held == {id(p) for p in model.parameters()}, "memory held is seen in one place"


# ── Adam-mini ──


def _gradients(shape: tuple[int, ...], steps: int) -> Iterator[Tensor]:
    chance = torch.Generator().manual_seed(3)
    return (torch.randn(shape, generator=chance) for _ in range(steps))


def test_adam_mini_with_one_entry_a_block_is_adam() -> None:
    mini, adam = (nn.Parameter(torch.ones(6, 4)) for _ in range(2))
    one = BlockwiseAdam([(mini, Blocks(24))], lr=1e-2)
    other = torch.optim.AdamW([adam], lr=1e-2, weight_decay=0.0)
    for gradient in _gradients((6, 4), 20):
        mini.grad, adam.grad = gradient.clone(), gradient.clone()
        one.step()
        other.step()
    assert torch.allclose(mini, adam, atol=1e-6)


@pytest.mark.parametrize("by_column", [False, True])
def test_adam_mini_by_hand(by_column: bool) -> None:
    """Two blocks, (3, 4) and (0, 1): mean squares 12.5 and 0.5 at first. With β₂ = 0.9 and a second
    gradient of (1, 1), (2, 0) they are 0.9·1.25 + 0.1·1 = 1.225 and 0.9·0.05 + 0.1·2 = 0.245, over
    1 - 0.81. With β₁ = 0.5 the means are (1.25, 1.5) and (1, 0.25), over 1 - 0.25.
    """
    weight = nn.Parameter(torch.zeros(2, 2))
    optimizer = BlockwiseAdam([(weight, Blocks(2, by_column))], lr=1.0, betas=(0.5, 0.9), eps=0.0)
    grads = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0], [2.0, 0.0]])
    turned = (lambda t: t.T) if by_column else (lambda t: t)
    weight.grad = turned(grads[0]).clone()
    optimizer.step()
    first = torch.tensor([[3 / 12.5**0.5, 4 / 12.5**0.5], [0.0, 1 / 0.5**0.5]])
    assert torch.allclose(weight.detach(), -turned(first), atol=1e-6)
    weight.grad = turned(grads[1]).clone()
    optimizer.step()
    means = torch.tensor([[1.25, 1.5], [1.0, 0.25]]) / 0.75
    roots = torch.tensor([[1.225], [0.245]]).div(0.19).sqrt()
    assert torch.allclose(weight.detach(), -turned(first + means / roots), atol=1e-6)


def test_adam_mini_cuts_heads_neurons_and_tokens(tmp_path: Path) -> None:
    model = tiny_session(tmp_path, start=ONE_LAYER).model()
    counts = {name: blocks(model, name, p).number for name, p in named(model)}
    inside = "model.layers.0."
    assert counts[inside + "self_attn.q_proj.weight"] == 4
    assert counts[inside + "self_attn.k_proj.weight"] == 2
    assert counts[inside + "self_attn.v_proj.weight"] == 16
    assert counts[inside + "mlp.gate_proj.weight"] == 48
    assert counts["model.embed_tokens.weight"] == 300
    assert counts[inside + "input_layernorm.weight"] == 1


def test_adam_mini_cuts_transposed_layers_by_output_neuron(tmp_path: Path) -> None:
    model = tiny_session(tmp_path, start=GPT2).model()
    name = "transformer.h.0.mlp.c_fc.weight"
    assert blocks(model, name, model.get_parameter(name)) == Blocks(128, by_column=True)
    AdamMini(lr=1e-3).train(tiny_session(tmp_path / "trained", start=GPT2))


def test_adam_mini_holds_half_of_adams_state(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    model = AdamMini(lr=1e-3).train(session)
    weights = sum(p.nbytes for p in model.parameters())
    assert weights < session.log.held.optimizer < 1.02 * weights


# ── one layer at a time ──


def test_badam_on_one_layer_is_adamw_on_that_layer_bit_for_bit(tmp_path: Path) -> None:
    trained = BAdam(lr=1e-3, block_epochs=1).train(tiny_session(tmp_path / "a", start=ONE_LAYER))
    session = tiny_session(tmp_path / "b", start=ONE_LAYER)
    model = session.model().requires_grad_(False)
    optimizer = session.optimizer(decoder_layers(model).requires_grad_(True), 1e-3)
    for batch in session.batches(Format.PROMPT_COMPLETION):
        session.learn(optimizer, batch, lambda part: token_losses(model, part))
    for name, weight in _weights(model).items():
        assert torch.equal(weight, _weights(trained)[name]), name


def test_badam_trains_every_layer_once_in_each_pass_from_fresh_moments(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 24))
    seen: list[tuple[str, float]] = []
    learn = session.learn

    def watched(optimizer: Any, batch: Any, loss_of: Any) -> None:
        learn(optimizer, batch, loss_of)
        held = [p for p, state in optimizer.state.items() if state]
        names = {
            n.split(".")[2]
            for n, p in session.log.models()[-1].named_parameters()
            if any(p is h for h in held)
        }
        ages = {float(optimizer.state[p]["step"]) for p in held}
        assert len(names) == len(ages) == 1
        seen.append((names.pop(), ages.pop()))

    session.learn = watched  # pyright: ignore[reportAttributeAccessIssue]
    model = BAdam(lr=1e-3, block_epochs=2).train(session)
    layers = len(decoder_layers(model))
    steps = 24 // (2 * layers)
    turns = [seen[n][0] for n in range(0, 24, steps)]
    assert set(turns[:layers]) == set(turns[layers:]) and len(set(turns)) == layers
    assert [age for _, age in seen] == [1.0 + n % steps for n in range(24)]
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        n for n in _weights(model) if ".layers." in n
    }


def test_badam_is_charged_for_the_layers_that_gradients_pass(tmp_path: Path) -> None:
    """The first layer's gradient passes all layers, the last one's only its own."""
    spent = []
    for number in (0, 3):
        session = tiny_session(tmp_path / str(number), Budget("steps", 1))
        model = session.model().requires_grad_(False)
        layers = decoder_layers(model)
        spent.append([])
        for first in (number, 3 - number):  # the second state must not be charged as the first
            layers.requires_grad_(False)
            layers[first].requires_grad_(True)
            before = float(session.ledger.spent("flops"))
            batch = next(iter(tiny_session(tmp_path / "data").batches(Format.PROMPT_COMPLETION)))
            session._account.open_batch()
            token_losses(model, batch)
            spent[-1].append(float(session.ledger.spent("flops")) - before)
    assert spent[0] == pytest.approx(spent[1][::-1])
    assert spent[0][0] > 1.2 * spent[0][1]


# ── without a schedule ──


def test_schedule_free_keeps_its_rate_and_gives_the_average(tmp_path: Path) -> None:
    pytest.importorskip("schedulefree")
    session = tiny_session(tmp_path, Budget("steps", 40))
    method, rates, last = ScheduleFree(lr=1e-3, warm_up=0.1), [], []
    model = session.model()
    optimizer: Any = method.optimizer(session, model)
    optimizer.register_step_post_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    for batch in session.batches(Format.PROMPT_COMPLETION):
        session.learn(optimizer, batch, lambda part: token_losses(model, part))
    last.append(_weights(model))
    method.finish(optimizer)
    assert rates[0] == pytest.approx(1e-4)
    assert rates == sorted(rates) and set(rates[5:]) == {1e-3}
    for name, p in model.named_parameters():
        z = optimizer.state[p]["z"]  # the gradient is taken at y = 0.1 z + 0.9 x (eq. 1)
        assert torch.allclose(last[0][name], 0.1 * z + 0.9 * p.detach(), atol=1e-6), name


def test_schedule_free_names_the_package_that_it_needs(tmp_path: Path) -> None:
    reason = ScheduleFree().skip(tiny_session(tmp_path))
    if find_spec("schedulefree") is None:
        assert reason == "the package schedulefree is missing: pip install schedulefree"
    else:
        assert reason is None


# ── recipes ──


def test_galores_defaults_are_one_published_recipe() -> None:
    """α times the rate is what a projected entry moves by: the authors' fine-tuning has 4 · 3e-5,
    their pre-training 0.25 · 1e-2. A quarter of a fine-tuning rate is neither.
    """
    method = GaLore()
    assert (method.lr, method.rank, method.scale) == (3e-5, 4, 4.0)
    scale = next(h for h in hyperparameters(GaLore) if h.name == "scale").range
    assert isinstance(scale, LogRange) and scale.low <= 0.25 and scale.high >= 8.0


def test_the_search_of_apollo_holds_apollo_mini() -> None:
    """Rank 1, one scale for a whole tensor, and a scale of 128 (2412.05270)."""
    ranges = {h.name: h.range for h in hyperparameters(Apollo)}
    rank, kind, scale = (ranges[name] for name in ("rank", "scale_type", "scale"))
    assert isinstance(rank, Choice) and isinstance(kind, Choice) and isinstance(scale, LogRange)
    assert 1 in rank.values and "tensor" in kind.values and scale.low <= 128 <= scale.high
