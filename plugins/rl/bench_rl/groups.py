"""GRPO and RLOO: completions of one prompt are compared with one another."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from .losses import group_advantages, grpo_losses, k1, leave_one_out, reinforce_losses
from .rewards import Reward, chosen
from .rollout import Rollout, log_probs, repeated, sample, split

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer
    from transformers import PreTrainedModel

    from bench import Session

    from . import GRPO, RLOO


class Groups(NamedTuple):
    """Completions of the policy, those of one prompt in a row, with their rewards."""

    rollout: Rollout
    rewards: Tensor
    """Of shape (completions,)."""
    ref: Tensor
    """Log-probabilities under the reference, of shape (completions, tokens)."""

    def select(self, numbers: Tensor) -> Groups:
        """Some of the completions."""
        return Groups(self.rollout.select(numbers), self.rewards[numbers], self.ref[numbers])


def grpo(method: GRPO, session: Session) -> PreTrainedModel:
    """The policy after the budget is spent."""
    policy, optimizer, drawn = _begun(method, session)
    for rollout, rewards, ref in drawn:
        advantages = group_advantages(rewards.view(-1, method.num_generations)).flatten()
        batch = {"rollout": rollout, "advantages": advantages, "ref": ref, "old": None}
        for _ in range(method.num_iterations):
            new: list[Tensor] = []
            session.learn(optimizer, batch, partial(_clipped_losses, method, policy, new))
            if session.progress >= 1:
                return policy
            if batch["old"] is None:
                batch["old"] = torch.cat(new)
    return policy


def _clipped_losses(
    method: GRPO, policy: PreTrainedModel, seen: list[Tensor], part: dict[str, Any]
) -> Tensor:
    """Loss of each completion, (completions,); the policy's log-probabilities are put down in
    `seen`, and are the old ones where there are none.
    """
    rollout: Rollout = part["rollout"]
    new = log_probs(policy, rollout, method.temperature)
    seen.append(new.detach())
    old = seen[-1] if part["old"] is None else part["old"]
    return grpo_losses(
        new, old, part["ref"], part["advantages"], rollout.mask, method.epsilon, method.beta
    )


def rloo(method: RLOO, session: Session) -> PreTrainedModel:
    """The policy after the budget is spent."""
    policy, optimizer, drawn = _begun(method, session)
    for groups in drawn:
        numbers = torch.arange(len(groups.rewards), device=session.device)
        batch = {"completions": numbers.view(-1, method.num_generations)}  # one row for each prompt
        session.learn(optimizer, batch, partial(_reinforce_losses, method, policy, groups))
    return policy


def _reinforce_losses(
    method: RLOO, policy: PreTrainedModel, groups: Groups, part: dict[str, Tensor]
) -> Tensor:
    """Loss of each completion of whole groups, (completions,)."""
    rollout, rewards, ref = groups.select(part["completions"].flatten())
    new = log_probs(policy, rollout, method.temperature)
    penalised = rewards - method.beta * k1(new.detach(), ref).sum(1)
    advantages = leave_one_out(penalised.view(-1, method.num_generations)).flatten()
    return reinforce_losses(new, advantages)


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
        rewards = reward(rollout, repeated(rows, method.num_generations))
        with torch.no_grad():
            ref = log_probs(reference, rollout, method.temperature)
        yield Groups(rollout, rewards, ref)
