"""The losses of reinforcement learning: golden values, gradients, and what must not matter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bench_rl import CISPO, DAPO, GRPO, GSPO, DrGRPO
from bench_rl.group_relative import GroupRelative
from bench_rl.groups import Completions
from bench_rl.losses import (
    clipped,
    gae,
    group_advantages,
    k1,
    k3,
    leave_one_out,
    masked_mean,
    policy_losses,
    reinforce_losses,
    token_rewards,
    value_losses,
    whiten,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]], dtype=torch.float64)


def _numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _part(old: Tensor, advantages: Tensor, mask: Tensor, ref: Tensor | None = None) -> Completions:
    """Completions as a loss sees them; it reads no token of theirs."""
    nobody: Any = None
    return Completions(nobody, mask, advantages, advantages, old, ref)


# ── golden values ──


def test_golden_generalised_advantages() -> None:
    advantages = gae(
        torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.2, 0.5, 0.1]]), gamma=1.0, lam=0.95
    )
    assert advantages[0].tolist() == pytest.approx([0.73225, 0.455, 0.9], abs=1e-6)
    assert (advantages + torch.tensor([[0.2, 0.5, 0.1]]))[0].tolist() == pytest.approx(
        [0.93225, 0.955, 1.0], abs=1e-6
    )


@pytest.mark.parametrize(("ratio", "advantage", "expected"), [(1.3, 1.0, -1.2), (0.5, -1.0, 0.8)])
def test_golden_clipped_objective(ratio: float, advantage: float, expected: float) -> None:
    assert float(clipped(torch.tensor(ratio), torch.tensor(advantage), 0.2)) == pytest.approx(
        expected
    )
    one = torch.ones(1, 1)
    assert float(
        policy_losses(torch.log(torch.tensor([[ratio]])), 0 * one, advantage * one, 0.2)
    ) == pytest.approx(expected)


def test_golden_divergences() -> None:
    log_prob, ref = torch.tensor(-1.0), torch.tensor(-1.4)
    assert float(k1(log_prob, ref)) == pytest.approx(0.4)
    assert float(k3(log_prob, ref)) == pytest.approx(0.07032004603563935, abs=1e-6)


def test_golden_advantages_of_a_group() -> None:
    rewards = torch.tensor([[2.0, 0.5, 1.5, -0.5]])
    assert leave_one_out(rewards)[0].tolist() == pytest.approx(
        [1.5, -0.5, 0.8333333, -1.8333333], abs=1e-6
    )
    assert group_advantages(rewards)[0].tolist() == pytest.approx(
        [1.0146306, -0.3382102, 0.5636837, -1.2401041], abs=1e-6
    )


def test_centred_advantages_keep_the_deviation_of_a_group() -> None:
    assert DrGRPO().advantages(torch.tensor([[2.0, 0.5, 1.5, -0.5]]))[0].tolist() == [
        1.125,
        -0.375,
        0.625,
        -1.375,
    ]


RATIOS = torch.tensor([[0.3, -0.1, 0.2], [-0.5, 0.6, 0.0]], dtype=torch.float64)
SAID = torch.tensor([[-1.0, -2.0, -0.5], [-0.7, -1.2, 0.0]], dtype=torch.float64)
OF_TWO = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
GOLDEN: dict[str, tuple[GroupRelative, list[float]]] = {
    "grpo": (GRPO(epsilon=0.2, beta=0), [-1.6524187090179796, 1.0488475201562037]),
    "dr-grpo": (DrGRPO(max_completion_length=10), [-0.4957256127053939, 0.20976950403124076]),
    "gspo": (GSPO(epsilon=0.05, epsilon_high=0.08), [-1.62, 0.8410168771008193]),
    "dapo": (
        DAPO(epsilon=0.2, epsilon_high=0.28),
        [-1.92, -1.3572561270539394, -1.832104137240255, 0.64, 1.4576950403124072],
    ),
    "cispo": (
        CISPO(epsilon_max=1.2),
        [1.8, 2.7145122541078788, 0.9, -0.3396571694390747, -1.152],
    ),
}
"""Two completions of three tokens and of two: the papers' formulas, worked out without torch."""


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_losses_of_group_relative_methods(name: str) -> None:
    method, expected = GOLDEN[name]
    part = _part((SAID - RATIOS) * OF_TWO, torch.tensor([1.5, -0.8]).double(), OF_TWO)
    assert method.losses(part, SAID).tolist() == pytest.approx(expected, abs=1e-7)
    last = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    without = method.losses(part._replace(mask=last), SAID).tolist()
    if len(expected) == 2:
        assert without == pytest.approx([expected[0], 0], abs=1e-7), (
            "it counts, and teaches nothing"
        )
    else:
        assert without == pytest.approx(expected[:3], abs=1e-7), "its tokens do not count"


def test_a_clipped_weight_leaves_every_token_its_gradient() -> None:
    new = SAID.clone().requires_grad_()
    part = _part((SAID - RATIOS) * OF_TWO, torch.tensor([1.5, -0.8]).double(), OF_TWO)
    CISPO(epsilon_max=1.2).losses(part, new).sum().backward()
    assert new.grad is not None
    expected = -RATIOS.exp().clamp(max=1.2) * torch.tensor([[1.5], [-0.8]]).double() * OF_TWO
    assert torch.allclose(new.grad, expected)
    again = SAID.clone().requires_grad_()
    DAPO().losses(part, again).sum().backward()
    assert again.grad is not None
    assert not again.grad[0, 0], "beyond the clip of DAPO nothing is left"


@given(st.integers(0, 10**6))
def test_on_the_policys_own_completions_ratios_make_no_difference(seed: int) -> None:
    """Before anything has moved, GSPO has the gradient of GRPO, and CISPO that of DAPO."""
    said, advantages = -_numbers(seed, 3, 4).abs() * MASK, _numbers(seed + 1, 3)

    def gradient(method: GroupRelative) -> Tensor:
        new = said.clone().requires_grad_()
        method.losses(_part(said, advantages, MASK), new).sum().backward()
        assert new.grad is not None
        return new.grad

    assert torch.allclose(gradient(GRPO(beta=0)), gradient(GSPO()))
    assert torch.allclose(gradient(DAPO()), gradient(CISPO()))
    lengths = MASK.sum(1, keepdim=True)
    assert torch.allclose(gradient(DAPO()), gradient(GRPO(beta=0)) * lengths)
    assert torch.allclose(gradient(DAPO()), gradient(DrGRPO(max_completion_length=10)) * 10)


# ── gradients against finite differences ──


def test_gradient_of_the_policy_loss() -> None:
    old, advantages = _numbers(1, 3, 4) * MASK, whiten(_numbers(2, 3, 4), MASK)
    new = (old + 0.3 * _numbers(3, 3, 4) * MASK).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: policy_losses(x, old, advantages, 0.2), new)


def test_gradient_of_the_value_loss() -> None:
    old, returns = _numbers(4, 3, 4) * MASK, _numbers(5, 3, 4) * MASK
    new = (old + 0.3 * _numbers(6, 3, 4) * MASK).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: value_losses(x, old, returns, 0.2), new)


def test_gradient_of_the_group_losses() -> None:
    old, ref, advantages = _numbers(7, 3, 4) * MASK, _numbers(8, 3, 4) * MASK, _numbers(9, 3)
    new = (old + 0.3 * _numbers(10, 3, 4) * MASK).requires_grad_()
    part = _part(old, advantages, MASK, ref)
    for method in (GRPO(beta=0.04), GSPO(epsilon=0.05, epsilon_high=0.1), DAPO(), DrGRPO()):
        assert torch.autograd.gradcheck(lambda x, m=method: m.losses(part, x), new)
    assert torch.autograd.gradcheck(lambda x: reinforce_losses(x, advantages), new)


def test_a_ratio_beyond_the_clip_has_no_gradient_when_it_is_too_good_already() -> None:
    one = torch.ones(1, 1)
    for step, advantage, moves in (
        (0.5, 1.0, False),
        (0.5, -1.0, True),
        (-0.5, -1.0, False),
        (-0.5, 1.0, True),
    ):
        new = torch.full((1, 1), step, requires_grad=True)
        policy_losses(new, 0 * one, advantage * one, 0.2).backward()
        assert bool(new.grad) is moves


# ── what must hold whatever the numbers ──


@given(st.integers(0, 10**6), st.floats(0.5, 1.0))
def test_with_lambda_1_an_advantage_is_the_discounted_rest_less_the_value(
    seed: int, gamma: float
) -> None:
    rewards, values = _numbers(seed, 2, 5), _numbers(seed + 1, 2, 5)
    advantages = gae(rewards, values, gamma, lam=1.0)
    for step in range(5):
        rest = sum(gamma ** (later - step) * rewards[:, later] for later in range(step, 5))
        assert torch.allclose(advantages[:, step], rest - values[:, step])


@given(st.integers(0, 10**6))
def test_token_rewards_sum_to_the_score_less_the_divergence(seed: int) -> None:
    new, ref, scores = (
        _numbers(seed, 3, 4) * MASK,
        _numbers(seed + 1, 3, 4) * MASK,
        _numbers(seed + 2, 3),
    )
    rewards = token_rewards(scores, new, ref, MASK, kl_coef=0.1)
    assert torch.allclose(rewards.sum(1), scores - 0.1 * (new - ref).sum(1))
    assert torch.equal(rewards * (1 - MASK), torch.zeros_like(MASK)), (
        "nothing is earned behind a completion"
    )
    without = token_rewards(scores, new, new, MASK, kl_coef=0.1)
    assert without.nonzero().tolist() == [
        [0, 2],
        [1, 3],
        [2, 0],
    ], "the score is earned on the last token"


@given(st.integers(0, 10**6))
def test_whitened_is_mean_0_and_variance_1_over_the_mask(seed: int) -> None:
    white = whiten(3 * _numbers(seed, 3, 4) + 5, MASK)
    inside = white[MASK.bool()]
    assert float(inside.mean()) == pytest.approx(0, abs=1e-9)
    assert float(inside.var()) == pytest.approx(1, abs=1e-6)
    assert not white[~MASK.bool()].any()


@given(st.integers(0, 10**6), st.floats(-5, 5))
def test_group_advantages_care_for_differences_within_a_prompt_alone(
    seed: int, shift: float
) -> None:
    rewards = _numbers(seed, 3, 4)
    moved = rewards + shift * torch.arange(3)[:, None]
    for advantages in (group_advantages, leave_one_out):
        assert torch.allclose(advantages(rewards), advantages(moved), atol=1e-9)
        assert torch.allclose(
            advantages(rewards).sum(1), torch.zeros(3, dtype=torch.float64), atol=1e-9
        )
    assert not group_advantages(torch.ones(2, 4)).any(), "equal rewards teach nothing"


@given(st.integers(0, 10**6), st.permutations(range(3)))
def test_padding_and_the_order_of_completions_do_not_matter(seed: int, order: list[int]) -> None:
    old, ref, values, returns = (_numbers(seed + i, 3, 4) * MASK for i in range(4))
    new, advantages, rewards = old + 0.3 * ref, _numbers(seed + 4, 3), returns - values

    def all_losses(rows: Tensor, pad: int) -> list[float]:
        def laid(x: Tensor) -> Tensor:
            return torch.nn.functional.pad(x[rows], (0, pad))

        white = whiten(gae(laid(rewards), laid(values), 1.0, 0.95) * laid(MASK), laid(MASK))
        return [
            float(masked_mean(policy_losses(laid(new), laid(old), white, 0.2), laid(MASK))),
            float(
                masked_mean(value_losses(laid(values), laid(ref), laid(returns), 0.2), laid(MASK))
            ),
            *(
                float(
                    method.losses(
                        _part(laid(old), advantages[rows], laid(MASK), laid(ref)), laid(new)
                    ).mean()
                )
                for method in (GRPO(), GSPO(), DAPO(), DrGRPO(), CISPO())
            ),
            float(reinforce_losses(laid(new), advantages[rows]).mean()),
        ]

    assert all_losses(torch.arange(3), 0) == pytest.approx(all_losses(torch.tensor(order), 3))
