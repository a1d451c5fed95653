"""Advantages, rewards and losses of PPO beside TRL's on the same tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bench_rl.losses import (
    gae,
    masked_mean,
    policy_losses,
    token_rewards,
    value_losses,
    whiten,
)

from .frozen import FROZEN, frozen


def test_advantages_and_returns_of_ppo_are_those_of_trl() -> None:
    settings, mask, end = FROZEN["settings"], frozen("mask"), frozen("mask_with_end_state")
    raw = gae(frozen("rewards"), frozen("values"), settings["gamma"], settings["lam"])
    assert torch.allclose(raw * end, frozen("advantages_before_whitening") * end, atol=1e-5)
    assert torch.allclose((raw + frozen("values")) * end, frozen("returns") * end, atol=1e-5)
    assert torch.allclose(whiten(raw, mask), frozen("advantages"), atol=1e-5)


def test_rewards_of_ppo_are_those_of_trl_where_no_state_follows_the_end() -> None:
    mask, old, ref = frozen("mask"), frozen("logprobs"), frozen("ref_logprobs")
    full = mask.all(1)
    assert 2 <= int(full.sum()) < len(full)
    rewards = token_rewards(
        frozen("scores").flatten(), old * mask, ref * mask, mask, FROZEN["settings"]["kl_coef"]
    )
    assert torch.allclose(rewards[full], frozen("rewards")[full], atol=1e-5)
    assert torch.allclose(rewards.sum(1), frozen("rewards").sum(1), atol=1e-5), (
        "elsewhere TRL gives the score one place later"
    )


@pytest.mark.parametrize("update", FROZEN["updates"], ids=("first", "second", "third"))
def test_losses_of_ppo_are_those_of_trl(update: dict[str, Any]) -> None:
    settings, mask, end = FROZEN["settings"], frozen("mask"), frozen("mask_with_end_state")
    new, values = torch.tensor(update["new_logprobs"]), torch.tensor(update["new_values"])
    of_policy = policy_losses(new, frozen("logprobs"), frozen("advantages"), settings["cliprange"])
    of_critic = value_losses(
        values, frozen("values"), frozen("returns"), settings["cliprange_value"]
    )
    policy, value = masked_mean(of_policy, mask), masked_mean(of_critic, end)
    assert float(policy) == pytest.approx(update["loss_policy"], abs=1e-5)
    assert float(value) == pytest.approx(update["loss_value"], abs=1e-5)
    assert float(policy + settings["vf_coef"] * value) == pytest.approx(update["loss"], abs=1e-5)


def test_the_frozen_updates_clip() -> None:
    ratio = torch.exp(torch.tensor(FROZEN["updates"][-1]["new_logprobs"]) - frozen("logprobs"))
    assert ((ratio - 1).abs() > 0.2).any()
    assert torch.allclose(
        torch.tensor(FROZEN["updates"][0]["new_logprobs"]), frozen("logprobs"), atol=1e-4
    ), "the first ratio is 1"
