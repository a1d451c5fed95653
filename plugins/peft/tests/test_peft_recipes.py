"""Search ranges and defaults hold published recipes; what optimizers and fading do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bench_peft.intruders import LoraIntruders
from bench_peft.methods import METHODS
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from bench import Format, LogRange, token_losses
from bench.accounting.budget import Budget
from bench.methods.search_space import hyperparameters
from bench.testing import tiny_session

ONE_STEP = Budget("steps", 1)
FIRST = 0.1
"""Share of the learning rate that the schedule begins with."""


def _range(name: str, parameter: str = "lr") -> LogRange:
    found = next(h for h in hyperparameters(METHODS[name]) if h.name == parameter)
    assert isinstance(found.range, LogRange)
    return found.range


# ── recipes ──


@pytest.mark.parametrize(
    ("name", "published", "here"),
    [
        ("adalora", (5e-4, 8e-4), 5e-2),  # the authors' scripts for MNLI and SST-2
        ("lora-plus", (5e-5,), 1e-3),  # PEFT's documentation, at a ratio of 16
        ("lora-fa", (7e-5, 1e-4), 5e-2),  # PEFT's example and comparison
        ("osf", (1e-5, 5e-5), 1e-2),  # 2504.07097; PEFT's comparison
        ("c3a", (3e-1,), 1.0),  # PEFT's comparison
        ("prefix-tuning", (1e-3, 5e-3, 1e-2), 3e-1),  # PEFT's comparison; 2110.07602
        ("lora", (2e-4, 5e-4), 1e-2),  # 2106.09685
        ("vblora", (1e-3,), 1e-1),  # 2405.15179
        ("prompt-tuning", (3e-1,), 3e-2),  # 2104.08691
    ],
)
def test_a_range_holds_published_rates_and_the_best_on_the_small_model(
    name: str, published: tuple[float, ...], here: float
) -> None:
    """`here` was found on validation rows of tiny/smallest, with 60,000 tokens: no range ends
    within a factor of two of it.
    """
    limits = _range(name)
    assert all(limits.low <= rate <= limits.high for rate in published)
    assert 2 * limits.low <= here <= limits.high / 2


def test_every_default_lies_inside_its_range() -> None:
    for name, method in METHODS.items():
        for h in hyperparameters(method):
            if isinstance(h.range, LogRange):
                assert h.range.low <= h.default <= h.range.high, (name, h.name)


def test_the_network_of_a_prefix_is_said_and_not_drawn() -> None:
    found = {h.name: h for h in hyperparameters(METHODS["prefix-tuning"])}
    assert found["prefix_projection"].range is None
    assert "5e-5" in found["prefix_projection"].description
    assert "§4.3" in METHODS["prefix-tuning"].reference


# ── optimizers ──


def _first_step(
    name: str, folder: Path, **settings: Any
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor], Any]:
    """Trained weights before the first step, what it moves them by, and their gradients."""
    session = tiny_session(folder, ONE_STEP)
    method: Any = METHODS[name](**settings)
    model = method.adapted(session)
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if name == "lora-riemannian":  # as after some steps: B is no longer zero
        chance = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for n, p in named.items():
                if "lora_B" in n:
                    p.copy_(0.1 * torch.randn(p.shape, generator=chance))
    before = {n: p.detach().clone() for n, p in named.items()}
    gradients: dict[str, Tensor] = {}
    optimizer = method.optimizer(session, model)
    for batch in session.batches(Format.PROMPT_COMPLETION):
        token_losses(model, batch).mean().backward()
        norm_of_all = torch.nn.utils.get_total_norm([p.grad for p in named.values()])
        scale = min(1.0, 1.0 / (float(norm_of_all) + 1e-6))
        gradients |= {n: p.grad.clone() * scale for n, p in named.items() if p.grad is not None}
        optimizer.zero_grad()
        session._account.open_batch()
        session.learn(optimizer, batch, lambda part: token_losses(model, part))
    assert session.ledger.steps == 1, "one step counts once"
    return before, {n: p.detach() - before[n] for n, p in named.items()}, gradients, optimizer


def test_vblora_has_a_rate_for_its_bank_and_one_for_its_logits(tmp_path: Path) -> None:
    """Adam's first step moves an entry by the learning rate."""
    _, moved, gradients, _ = _first_step("vblora", tmp_path)
    for name, step in moved.items():
        rate = FIRST * (1e-3 if "vector_bank" in name else 1e-2)
        clear = gradients[name].abs() > 1e-5
        if clear.any():
            assert torch.allclose(step[clear].abs(), torch.tensor(rate), rtol=2e-2), name
    assert sum("vector_bank" in name for name in moved) == 1 and len(moved) > 1


def test_vblora_takes_vectors_that_fit_the_model(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    method: Any = METHODS["vblora"].model_validate({})
    config = method.config(session, session.model())
    assert config.vector_length == 128, "the largest power of two that divides 128 and 384"


def test_riemannian_gradients_by_hand(tmp_path: Path) -> None:
    """Adam's first step follows the sign of (BᵀB + δ)⁻¹ g_A and of g_B (AAᵀ + δ)⁻¹ (2402.02347,
    eq. 3), where the plain gradient's sign is often another.
    """
    before, moved, gradients, _ = _first_step("lora-riemannian", tmp_path, r=4, reg=1e-2)
    others = 0
    for name in (n for n in moved if "lora_A" in n):
        second = name.replace("lora_A", "lora_B")
        a, b = before[name].double(), before[second].double()
        damp = 1e-2 * torch.eye(4, dtype=torch.float64)
        right = {
            name: torch.linalg.solve(b.T @ b + damp, gradients[name].double()),
            second: torch.linalg.solve(a @ a.T + damp, gradients[second].double().T).T,
        }
        for key, slope in right.items():
            clear = slope.abs() > 1e-2 * slope.abs().max()
            assert torch.equal(moved[key][clear].sign().double(), -slope[clear].sign()), key
            others += int((gradients[key][clear].sign().double() != slope[clear].sign()).sum())
    assert others > 100


def test_riemannian_steps_count_once_beside_another_adamw(tmp_path: Path) -> None:
    """PEFT's optimizer is a subclass of AdamW, whose own hooks are there once one was made."""
    torch.optim.AdamW([nn.Parameter(torch.zeros(1))])
    session = tiny_session(tmp_path, Budget("steps", 3))
    METHODS["lora-riemannian"]().train(session)
    assert session.ledger.steps == len(session.log.losses) == 3


def test_riemannian_steps_do_not_depend_on_the_split_of_an_update() -> None:
    """With plain descent and δ → 0, B·A moves alike from (B, A) and from (2B, A/2)."""
    from peft.optimizers import create_riemannian_optimizer

    chance = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 5, generator=chance), torch.randn(6, 2, generator=chance)
    x = torch.randn(7, 5, generator=chance)
    results = []
    for factor in (1.0, 2.0):
        config = LoraConfig(target_modules=["0"], r=2, lora_alpha=2)
        model: Any = get_peft_model(nn.Sequential(nn.Linear(5, 6, bias=False)), config)  # pyright: ignore[reportArgumentType]
        layer = model.base_model.model[0]
        layer.base_layer.weight.data.zero_()
        layer.lora_A["default"].weight.data.copy_(a / factor)
        layer.lora_B["default"].weight.data.copy_(b * factor)
        optimizer = create_riemannian_optimizer(model, torch.optim.SGD, lr=1e-3, reg=1e-9)
        model(x).square().sum().backward()
        before = (layer.lora_B["default"].weight @ layer.lora_A["default"].weight).detach()
        optimizer.step()
        results.append(layer.lora_B["default"].weight @ layer.lora_A["default"].weight - before)
    assert torch.allclose(results[0], results[1], atol=1e-5)


# ── intruders ──


def _with_update(weight: Tensor, left: Tensor, right: Tensor) -> Any:
    config = LoraConfig(target_modules=["0"], r=len(right), lora_alpha=2 * len(right))
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data.copy_(weight)
    model: Any = get_peft_model(nn.Sequential(layer), config)  # pyright: ignore[reportArgumentType]
    made = model.base_model.model[0]
    made.lora_B["default"].weight.data.copy_(left)
    made.lora_A["default"].weight.data.copy_(right)
    return model


def test_an_intruder_is_faded_by_hand() -> None:
    """A weight of 0.01 I, and 2 u uᵀ on it with u = (1, …, 1) / 3: the new leading direction u has
    a cosine of 1/3 with each old one and a value of 2.01. With λ = 0.75 a quarter of 2.01 goes.
    """
    u = torch.full((9, 1), 1 / 3)
    model = _with_update(0.01 * torch.eye(9), u, u.T)  # PEFT's scale is 2
    method = LoraIntruders(top_k=1, mitigation_lambda=0.75)
    layer: Any = method.reduced(model).get_base_model().get_submodule("0")
    want = (2.0 - 0.25 * 2.01) * u @ u.T
    assert torch.allclose(layer.get_delta_weight("default"), want, atol=1e-5)
    assert list(layer.lora_A) == ["default"] and layer.lora_A["default"].weight.requires_grad


def test_an_update_along_an_old_direction_stays() -> None:
    old = torch.zeros(9, 1)
    old[2] = 1.0
    weight = torch.diag(torch.arange(1.0, 10.0))
    method = LoraIntruders(top_k=9, mitigation_lambda=0.0)
    model = method.reduced(_with_update(weight, 3 * old, old.T))
    layer: Any = model.get_base_model().get_submodule("0")
    assert torch.allclose(layer.get_delta_weight("default"), 6.0 * old @ old.T, atol=1e-5)


def test_fading_nothing_is_lora(tmp_path: Path) -> None:
    said = []
    for name, settings in (("lora", {}), ("lora-intruders", {"mitigation_lambda": 1.0})):
        session = tiny_session(tmp_path / name)
        torch.manual_seed(0)
        method: Any = METHODS[name].model_validate({"lr": 1e-2, **settings})
        model: Any = method.train(session).eval()
        rows = session.dataset(Format.PROMPT_COMPLETION)[:4]
        batch = session.encode(rows["prompt"], rows["completion"])
        with torch.no_grad(), session.unmetered():
            said.append(model(input_ids=batch["input_ids"]).logits)
    assert torch.allclose(said[0], said[1], atol=1e-3)
