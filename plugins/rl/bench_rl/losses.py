"""What policy-gradient methods compute from rewards and log-probabilities, as functions of tensors
alone.

Shapes: n completions, t tokens each. A mask of (n, t) is 1 on the tokens of a completion, its end
of sequence included, and 0 behind it. Log-probabilities, values and whatever follows from them are
0 behind it, too.
"""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens of all completions together: (n, t) to a scalar."""
    return (values * mask).sum() / mask.sum()


def k1(log_probs: Tensor, ref_log_probs: Tensor) -> Tensor:
    """Estimate of KL(policy, reference) per token in nats: unbiased, may be negative (Schulman
    2020, Approximating KL divergence).
    """
    return log_probs - ref_log_probs


def k3(log_probs: Tensor, ref_log_probs: Tensor) -> Tensor:
    """Estimate of KL(policy, reference) per token in nats: unbiased, never negative (Shao et al.
    2024, 2402.03300, eq. 4).
    """
    return torch.exp(ref_log_probs - log_probs) - (ref_log_probs - log_probs) - 1


def clipped(
    ratio: Tensor, advantages: Tensor, epsilon: float, epsilon_high: float | None = None
) -> Tensor:
    """PPO's clipped objective per element, as a loss: −min(ρA, clip(ρ, 1±ε)A) (Schulman et al.
    2017, 1707.06347, eq. 7). With `epsilon_high`, the ratio may rise by that much instead (Yu et
    al. 2025, 2503.14476, eq. 10).
    """
    high = epsilon if epsilon_high is None else epsilon_high
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - epsilon, 1 + high) * advantages)


# ── PPO ──


def token_rewards(
    scores: Tensor, log_probs: Tensor, ref_log_probs: Tensor, mask: Tensor, kl_coef: float
) -> Tensor:
    """Rewards of (n, t): the penalty −β·k1 on each token, and the completion's score (n,) on its
    last one.

    Ouyang et al. 2022, 2203.02155, eq. 2, spread over tokens as Ziegler et al. 2019, 1909.08593,
    §2.
    """
    last = mask.sum(1, keepdim=True).long() - 1
    return (-kl_coef * k1(log_probs, ref_log_probs)).scatter_add(1, last, scores[:, None])


def gae(rewards: Tensor, values: Tensor, gamma: float, lam: float) -> Tensor:
    """Generalised advantage estimates of (n, t) (Schulman et al. 2015, 1506.02438, eq. 16)."""
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    deltas = rewards + gamma * following - values
    advantages = torch.zeros_like(deltas)
    running = torch.zeros_like(deltas[:, 0])
    for step in reversed(range(deltas.shape[1])):
        running = deltas[:, step] + gamma * lam * running
        advantages[:, step] = running
    return advantages


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Values of (n, t) with mean 0 and variance 1 over the masked tokens, and 0 elsewhere."""
    centred = values - masked_mean(values, mask)
    variance = (centred.square() * mask).sum() / (mask.sum() - 1).clamp(min=1)
    return centred * torch.rsqrt(variance + 1e-8) * mask


def policy_losses(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    epsilon: float,
    epsilon_high: float | None = None,
) -> Tensor:
    """The clipped objective of each token, (n, t) (Schulman et al. 2017, 1707.06347, eq. 7);
    advantages are (n, t) or (n, 1).
    """
    return clipped(torch.exp(log_probs - old_log_probs), advantages, epsilon, epsilon_high)


def value_losses(
    values: Tensor, old_values: Tensor, returns: Tensor, cliprange_value: float
) -> Tensor:
    """Half the squared error of each token, (n, t): the larger of that with and that without the
    change of value clipped.
    """
    near = old_values + (values - old_values).clamp(-cliprange_value, cliprange_value)
    return 0.5 * torch.maximum((values - returns).square(), (near - returns).square())


# ── groups of completions of one prompt ──


def group_advantages(rewards: Tensor) -> Tensor:
    """(r − mean) / std within each row of (prompts, completions of one prompt) (Shao et al. 2024,
    2402.03300, §4.1.2).

    As in TRL, the deviation is that of a sample and 1e-4 is added to it: a row of equal rewards
    gives zeros.
    """
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)


def leave_one_out(rewards: Tensor) -> Tensor:
    """Each reward less the mean of the others in its row of (prompts, completions of one prompt)
    (2402.14740, §3.3).
    """
    others = (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
    return rewards - others


def centred(rewards: Tensor) -> Tensor:
    """r − mean within each row of (prompts, completions of one prompt) (Liu et al. 2025,
    2503.20783, §3.2).
    """
    return rewards - rewards.mean(1, keepdim=True)


def sequence_losses(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    epsilon: float,
    epsilon_high: float,
) -> Tensor:
    """The clipped objective with the geometric mean of a completion's ratios as the ratio of each
    of its tokens, (n, t); advantages are (n,) (Zheng et al. 2025, 2507.18071, eq. 5-7).
    """
    mean = per_completion(log_probs - old_log_probs, mask)
    losses = clipped(torch.exp(mean), advantages, epsilon, epsilon_high)
    return losses[:, None].expand_as(mask)


def weighted_losses(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, epsilon_max: float
) -> Tensor:
    """−min(ρ, ε_max)·A·log π of each token, where the weight has no gradient, (n, t); advantages
    are (n,) (MiniMax 2025, 2506.13585, eq. 4-5, with ε_max = 1 + ε_high and no lower bound).
    """
    weights = torch.exp(log_probs.detach() - old_log_probs).clamp(max=epsilon_max)
    return -weights * advantages[:, None] * log_probs


def per_completion(losses: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens of each completion, (n, t) to (n,); 0 where none is learned from (Shao
    et al. 2024, 2402.03300, eq. 3).
    """
    return (losses * mask).sum(1) / mask.sum(1).clamp(min=1)


def reinforce_losses(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """−A·log π(y) with the whole completion as one action, (n,); advantages are (n,) (2402.14740,
    eq. 6 and 9).
    """
    return -advantages * log_probs.sum(1)
