"""The losses of reinforcement learning: golden values, gradients, what must not matter, and TRL's
numbers on the same tensors.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_rl.losses import (
    clipped,
    gae,
    group_advantages,
    grpo_losses,
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
from bench_rl.rollout import Rollout, log_probs
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bench import Format
from bench.testing import tiny_session

TEMPERATURE = 3.0  # high enough for completions of one prompt to differ
FROZEN = json.loads((Path(__file__).parent / "fixtures" / "ppo_trl_1_12.json").read_text())
MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]], dtype=torch.float64)


def _numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _frozen(name: str) -> Tensor:
    return torch.tensor(FROZEN[name])


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
    assert torch.autograd.gradcheck(
        lambda x: grpo_losses(x, old, ref, advantages, MASK, 0.2, 0.04), new
    )
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
            float(
                grpo_losses(
                    laid(new), laid(old), laid(ref), advantages[rows], laid(MASK), 0.2, 0.04
                ).mean()
            ),
            float(reinforce_losses(laid(new), advantages[rows]).mean()),
        ]

    assert all_losses(torch.arange(3), 0) == pytest.approx(all_losses(torch.tensor(order), 3))


# ── TRL's numbers on the same tensors ──


def test_advantages_and_returns_of_ppo_are_those_of_trl() -> None:
    settings, mask, end = FROZEN["settings"], _frozen("mask"), _frozen("mask_with_end_state")
    raw = gae(_frozen("rewards"), _frozen("values"), settings["gamma"], settings["lam"])
    assert torch.allclose(raw * end, _frozen("advantages_before_whitening") * end, atol=1e-5)
    assert torch.allclose((raw + _frozen("values")) * end, _frozen("returns") * end, atol=1e-5)
    assert torch.allclose(whiten(raw, mask), _frozen("advantages"), atol=1e-5)


def test_rewards_of_ppo_are_those_of_trl_where_no_state_follows_the_end() -> None:
    mask, old, ref = _frozen("mask"), _frozen("logprobs"), _frozen("ref_logprobs")
    full = mask.all(1)
    assert 2 <= int(full.sum()) < len(full)
    rewards = token_rewards(
        _frozen("scores").flatten(), old * mask, ref * mask, mask, FROZEN["settings"]["kl_coef"]
    )
    assert torch.allclose(rewards[full], _frozen("rewards")[full], atol=1e-5)
    assert torch.allclose(rewards.sum(1), _frozen("rewards").sum(1), atol=1e-5), (
        "elsewhere TRL gives the score one place later"
    )


@pytest.mark.parametrize("update", FROZEN["updates"], ids=("first", "second", "third"))
def test_losses_of_ppo_are_those_of_trl(update: dict[str, Any]) -> None:
    settings, mask, end = FROZEN["settings"], _frozen("mask"), _frozen("mask_with_end_state")
    new, values = torch.tensor(update["new_logprobs"]), torch.tensor(update["new_values"])
    of_policy = policy_losses(
        new, _frozen("logprobs"), _frozen("advantages"), settings["cliprange"]
    )
    of_critic = value_losses(
        values, _frozen("values"), _frozen("returns"), settings["cliprange_value"]
    )
    policy, value = masked_mean(of_policy, mask), masked_mean(of_critic, end)
    assert float(policy) == pytest.approx(update["loss_policy"], abs=1e-5)
    assert float(value) == pytest.approx(update["loss_value"], abs=1e-5)
    assert float(policy + settings["vf_coef"] * value) == pytest.approx(update["loss"], abs=1e-5)


def test_the_frozen_updates_clip() -> None:
    ratio = torch.exp(torch.tensor(FROZEN["updates"][-1]["new_logprobs"]) - _frozen("logprobs"))
    assert ((ratio - 1).abs() > 0.2).any()
    assert torch.allclose(
        torch.tensor(FROZEN["updates"][0]["new_logprobs"]), _frozen("logprobs"), atol=1e-4
    ), "the first ratio is 1"


def _earned(text: str) -> float:
    """Some reward that differs from completion to completion."""
    return float(sum(map(ord, text)) % 7)


def _trl_batch(name: str, tmp_path: Path, **settings: Any) -> tuple[Any, dict[str, Any]]:
    """A trainer of TRL on the tiny model, whose policy has moved away from its reference, and a
    batch that it sampled and scored.
    """
    import trl

    session = tiny_session(tmp_path)
    config, trainer = getattr(trl, f"{name}Config"), getattr(trl, f"{name}Trainer")
    rows = session.dataset(Format.PROMPT_ONLY).select(range(2))
    made = trainer(
        session.model(),
        reward_funcs=lambda completions, **_: [_earned(text) for text in completions],
        train_dataset=rows,
        **session.trainer_kwargs(
            config, num_generations=4, max_completion_length=8, temperature=TEMPERATURE, **settings
        ),
    )
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for parameter in made.model.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    made.current_gradient_accumulation_steps = 1  # as within its training loop
    inputs = [dict(rows[i // 4]) for i in range(8)]
    made.model.train()
    return made, made._generate_and_score_completions(inputs)


def _as_rollout(batch: dict[str, Any]) -> Rollout:
    return Rollout(
        torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1),
        torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1),
        batch["completion_mask"].float(),
    )


def _gradient(model: torch.nn.Module, loss: Tensor) -> Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.slow
def test_grpo_with_our_settings_has_the_loss_and_gradient_of_trl(tmp_path: Path) -> None:
    paper = {
        "loss_type": "grpo",
        "scale_rewards": "group",
        "beta": 0.04,
        "use_bias_correction_kl": False,
        "num_iterations": 1,
        "epsilon": 0.2,
    }
    trainer, batch = _trl_batch("GRPO", tmp_path, **paper)
    theirs = trainer.compute_loss(trainer.model, batch)
    their_gradient = _gradient(trainer.model, theirs)
    rollout = _as_rollout(batch)
    texts = rollout.texts(trainer.processing_class)
    advantages = group_advantages(
        torch.tensor([_earned(text) for text in texts]).view(2, 4)
    ).flatten()
    assert torch.allclose(advantages, batch["advantages"], atol=1e-5)
    model = trainer.model
    new, ref = (
        log_probs(model, rollout, TEMPERATURE),
        log_probs(tiny_session(tmp_path / "again").reference(), rollout, TEMPERATURE),
    )
    assert torch.allclose(ref, batch["ref_per_token_logps"] * rollout.mask, atol=1e-4)
    ours = grpo_losses(new, new.detach(), ref, advantages, rollout.mask, 0.2, 0.04).mean()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    assert torch.allclose(_gradient(model, ours), their_gradient, atol=1e-4)
    assert float(their_gradient.norm()) > 0.1
    assert not math.isclose(ours.item(), 0.0, abs_tol=1e-4), (
        "the policy has left the reference, so the penalty shows"
    )


@pytest.mark.slow
def test_rloo_has_the_advantages_and_gradient_of_trl(tmp_path: Path) -> None:
    trainer, batch = _trl_batch("RLOO", tmp_path, beta=0.03)
    theirs = _gradient(trainer.model, trainer.compute_loss(trainer.model, batch))
    rollout = _as_rollout(batch)
    rewards = torch.tensor([_earned(text) for text in rollout.texts(trainer.processing_class)])
    new, ref = (
        log_probs(trainer.model, rollout, TEMPERATURE),
        log_probs(tiny_session(tmp_path / "again").reference(), rollout, TEMPERATURE),
    )
    penalised = rewards - 0.03 * k1(new.detach(), ref).sum(1)
    advantages = leave_one_out(penalised.view(2, 4)).flatten()
    assert torch.allclose(advantages, batch["advantages"], atol=1e-4)
    assert torch.allclose(
        _gradient(trainer.model, reinforce_losses(new, advantages).mean()), theirs, atol=1e-3
    )
    assert float(theirs.norm()) > 0.1
