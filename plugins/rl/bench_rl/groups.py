"""GRPO and RLOO: completions of one prompt are compared with one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch

from .losses import group_advantages, grpo_loss, k1, leave_one_out, reinforce_loss
from .rewards import Reward, chosen
from .rollout import Rollout, log_probs, sample, split

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer
    from transformers import PreTrainedModel

    from bench import Session

    from . import GRPO, RLOO


class Groups(NamedTuple):
    """Completions of the policy, those of one prompt side by side, and what is known of them before
    it learns from them.
    """

    rollout: Rollout
    rewards: Tensor
    """Of shape (completions,)."""
    ref: Tensor
    """Log-probabilities under the reference, of shape (completions, tokens)."""


def grpo(method: GRPO, session: Session) -> PreTrainedModel:
    """The policy after the budget is spent."""
    policy, optimizer, drawn = _begun(method, session)
    for rollout, rewards, ref in drawn:
        advantages = group_advantages(rewards.view(-1, method.num_generations)).flatten()
        old = None
        for _ in range(method.num_iterations):
            new = log_probs(policy, rollout, method.temperature)
            old = new.detach() if old is None else old
            session.step(
                optimizer,
                grpo_loss(new, old, ref, advantages, rollout.mask, method.epsilon, method.beta),
            )
            if session.progress >= 1:
                return policy
    return policy


def rloo(method: RLOO, session: Session) -> PreTrainedModel:
    """The policy after the budget is spent."""
    policy, optimizer, drawn = _begun(method, session)
    for rollout, rewards, ref in drawn:
        new = log_probs(policy, rollout, method.temperature)
        penalised = rewards - method.beta * k1(new.detach(), ref).sum(1)
        advantages = leave_one_out(penalised.view(-1, method.num_generations)).flatten()
        session.step(optimizer, reinforce_loss(new, advantages))
    return policy


def _begun(
    method: GRPO | RLOO, session: Session
) -> tuple[PreTrainedModel, Optimizer, Iterator[Groups]]:
    """The policy, its optimizer, and groups drawn from it for as long as there is budget."""
    reward = chosen(method.reward, session, method.reward_share, method.reward_lr)
    policy = session.model().eval()  # no dropout: policy and reference are compared
    reference = session.reference()
    return (
        policy,
        session.optimizer(policy, method.lr),
        _groups(method, session, policy, reference, reward),
    )


def _groups(
    method: GRPO | RLOO,
    session: Session,
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    reward: Reward,
) -> Iterator[Groups]:
    """`num_generations` completions of each prompt, a batch of completions at a time."""
    for rows in split(session, session.batch_size // method.num_generations):
        rollout = sample(
            session,
            policy,
            rows["prompt"],
            num_samples=method.num_generations,
            temperature=method.temperature,
            max_completion_length=method.max_completion_length,
        )
        rewards = reward(
            rollout, [answer for answer in rows["answer"] for _ in range(method.num_generations)]
        )
        with torch.no_grad():
            ref = log_probs(reference, rollout, method.temperature)
        yield Groups(rollout, rewards, ref)
