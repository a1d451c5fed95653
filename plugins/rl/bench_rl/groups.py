"""GRPO and RLOO: completions of one prompt are compared with one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .losses import group_advantages, grpo_loss, k1, leave_one_out, reinforce_loss
from .rewards import chosen
from .rollout import Rollout, Rows, log_probs, sample, split

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench import Session

    from . import GRPO, RLOO


def grpo(method: GRPO, session: Session) -> PreTrainedModel:
    """The policy after the budget is spent."""
    reward = chosen(method.reward, session, method.reward_share, method.reward_lr)
    policy = session.model().eval()  # no dropout: policy and reference are compared
    reference = session.reference()
    optimizer = session.optimizer(policy, method.lr)
    for rows in split(session, session.batch_size // method.num_generations):
        rollout, answers = _groups(method, session, policy, rows)
        advantages = group_advantages(reward(rollout, answers).view(-1, method.num_generations)).flatten()
        with torch.no_grad():
            ref = log_probs(reference, rollout, method.temperature)
        old = None
        for _ in range(method.num_iterations):
            new = log_probs(policy, rollout, method.temperature)
            old = new.detach() if old is None else old
            session.step(optimizer, grpo_loss(new, old, ref, advantages, rollout.mask, method.epsilon, method.beta))
            if session.progress >= 1:
                return policy
    return policy


def rloo(method: RLOO, session: Session) -> PreTrainedModel:
    """The policy after the budget is spent."""
    reward = chosen(method.reward, session, method.reward_share, method.reward_lr)
    policy = session.model().eval()  # no dropout: policy and reference are compared
    reference = session.reference()
    optimizer = session.optimizer(policy, method.lr)
    for rows in split(session, session.batch_size // method.num_generations):
        rollout, answers = _groups(method, session, policy, rows)
        with torch.no_grad():
            ref = log_probs(reference, rollout, method.temperature)
        new = log_probs(policy, rollout, method.temperature)
        penalised = reward(rollout, answers) - method.beta * k1(new.detach(), ref).sum(1)
        advantages = leave_one_out(penalised.view(-1, method.num_generations)).flatten()
        session.step(optimizer, reinforce_loss(new, advantages))
    return policy


def _groups(method: GRPO | RLOO, session: Session, policy: PreTrainedModel, rows: Rows) -> tuple[Rollout, list[str]]:
    """`num_generations` completions of each prompt, and for each completion the answer it should be."""
    rollout = sample(
        session,
        policy,
        rows["prompt"],
        num_samples=method.num_generations,
        temperature=method.temperature,
        max_completion_length=method.max_completion_length,
    )
    return rollout, [answer for answer in rows["answer"] for _ in range(method.num_generations)]
