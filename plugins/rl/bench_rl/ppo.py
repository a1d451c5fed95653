"""PPO: a policy, a frozen reference, a reward and a critic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench import take_over, without_dropout

from .losses import gae, policy_losses, token_rewards, value_losses, whiten
from .rewards import Reward, of_task, reward_model, scored
from .rollout import Rollout, Rows, gathered, log_probs, sample, token_values

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench import Session

    from . import PPO


@dataclass(frozen=True)
class Experience:
    """Completions and what was thought of them when they were sampled; all tensors but the
    rollout's are (n, t).
    """

    rollout: Rollout
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor

    def select(self, numbers: Tensor) -> Experience:
        """Some of the completions."""
        return Experience(
            self.rollout.select(numbers),
            self.log_probs[numbers],
            self.values[numbers],
            self.advantages[numbers],
            self.returns[numbers],
        )


def train(method: PPO, session: Session) -> PreTrainedModel:
    """The policy after the budget is spent."""
    reward, critic = reward_and_critic(method, session)
    policy = session.model()
    reference = session.reference() if method.kl_coef else None
    optimizer = session.optimizer(nn.ModuleList([policy, critic]), method.lr)
    for rows in gathered(session, method.num_mini_batches):
        experience = experience_of(method, session, policy.eval(), reference, critic, reward, rows)
        without_dropout(policy)
        for batch in _mini_batches(method, session, experience):
            session.learn(optimizer, batch, lambda part: losses(method, policy, critic, part))
            if session.progress >= 1:
                return policy
    return policy


def reward_and_critic(method: PPO, session: Session) -> tuple[Reward, PreTrainedModel]:
    """The critic begins as the reward model where one is learned, and else as the start with a new
    head.
    """
    critic = without_dropout(session.scorer("critic"))
    if method.reward == "check":
        return partial(of_task, session), critic
    learned = reward_model(session, method.reward_share, method.reward_lr)
    take_over(critic, learned)
    return partial(scored, session, learned), critic


@torch.no_grad()
def experience_of(
    method: PPO,
    session: Session,
    policy: PreTrainedModel,
    reference: PreTrainedModel | None,
    critic: PreTrainedModel,
    reward: Reward,
    rows: Rows,
) -> Experience:
    """One sampled completion of each prompt, with its advantages and returns. Without a reference
    there is no penalty.
    """
    rollout = sample(
        session,
        policy,
        rows["prompt"],
        num_samples=1,
        temperature=method.temperature,
        max_completion_length=method.max_completion_length,
    )
    with session.purpose("rollout"):
        old = log_probs(policy, rollout, method.temperature)
    values = token_values(critic, rollout)
    ref = old if reference is None else log_probs(reference, rollout, method.temperature)
    rewards = token_rewards(reward(rollout, rows), old, ref, rollout.mask, method.kl_coef)
    advantages = gae(rewards, values, method.gamma, method.lam) * rollout.mask
    return Experience(rollout, old, values, whiten(advantages, rollout.mask), advantages + values)


def _mini_batches(method: PPO, session: Session, experience: Experience) -> Iterator[Experience]:
    """All completions in batches, in a new order for each pass."""
    for _ in range(method.num_ppo_epochs):
        shuffled = torch.randperm(len(experience.values), device=session.device)
        yield from (experience.select(numbers) for numbers in shuffled.split(session.batch_size))


def losses(
    method: PPO, policy: PreTrainedModel, critic: PreTrainedModel, batch: Experience
) -> Tensor:
    """The policy's loss plus the critic's for each token of the completions, (tokens,)."""
    new = log_probs(policy, batch.rollout, method.temperature)
    of_policy = policy_losses(new, batch.log_probs, batch.advantages, method.cliprange)
    values = token_values(critic, batch.rollout)
    of_critic = value_losses(values, batch.values, batch.returns, method.cliprange_value)
    return (of_policy + method.vf_coef * of_critic)[batch.rollout.mask.bool()]
