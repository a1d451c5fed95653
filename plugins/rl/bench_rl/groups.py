"""The loop of methods that compare completions of one prompt with one another."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import torch

from bench import without_dropout

from .completions import Completions
from .rewards import Reward, chosen
from .rollout import Rollout, joined, log_probs, longest, repeated, sample, split

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session

    from .comparing import Comparing
    from .rollout import Rows

MOST_DRAWS = 10
"""Batches that are drawn for one of informative groups, as in the authors' code (volcengine/verl,
recipe/dapo/run_dapo_qwen2.5_32b.sh: max_num_gen_batches)."""


def train(method: Comparing, session: Session) -> PreTrainedModel:
    """The policy after the budget is spent."""
    reward = chosen(method.reward, session, method.reward_share, method.reward_lr)
    policy = session.model()
    reference = session.reference() if method.beta else None
    optimizer = session.optimizer(policy, method.lr)
    drawn = _drawn(method, session, policy, reward)
    if method.dynamic_sampling:
        drawn = informative(drawn, method.num_generations)
    while batches := _at_once(method, session, drawn):
        batches = [
            _compared(method, session, batch, policy if number else None, reference)
            for number, batch in enumerate(batches)  # the first step on the first finds them out
        ]
        for batch in batches * method.updates:
            numbers = torch.arange(len(batch.rewards), device=session.device)
            rows = numbers if method.splits_groups else numbers.view(-1, method.num_generations)
            session.learn(optimizer, rows, partial(_losses, method, policy, batch))
            if session.progress >= 1:
                return policy
    return policy


def _losses(
    method: Comparing, policy: PreTrainedModel, batch: Completions, numbers: Tensor
) -> Tensor:
    """Loss of each item of some completions of a batch. Where nobody knows yet what the policy said
    of them when they were sampled, it is what it says now.
    """
    numbers = numbers.flatten()
    part = batch.select(numbers)
    new = log_probs(policy, part.rollout, method.temperature)
    old = torch.where(part.old.isnan(), new.detach(), part.old)
    batch.old[numbers] = old
    return method.losses(part._replace(old=old), new)


def _drawn(
    method: Comparing, session: Session, policy: PreTrainedModel, reward: Reward
) -> Iterator[Completions]:
    """`num_generations` completions of each prompt, a batch of completions at a time."""
    for rows in split(session, session.batch_size // method.num_generations):
        rollout = sample(
            session,
            policy.eval(),
            rows["prompt"],
            num_samples=method.num_generations,
            temperature=method.temperature,
            max_completion_length=method.max_completion_length,
        )
        without_dropout(policy)
        yield _judged(method, session, policy, rollout, reward, rows)


def _judged(
    method: Comparing,
    session: Session,
    policy: PreTrainedModel,
    rollout: Rollout,
    reward: Reward,
    rows: Rows,
) -> Completions:
    rewards = reward(rollout, repeated(rows, method.num_generations))
    width = rollout.input_ids.shape[1] - rollout.mask.shape[1]
    most = longest(session, width, method.max_completion_length)
    shaped = method.shaped(rewards, rollout.mask.sum(1), most)
    advantages = method.advantages(shaped.view(-1, method.num_generations)).flatten()
    mask = rollout.mask
    if method.mask_truncated_completions:
        mask = mask * rollout.ended(session.end_ids(policy))[:, None]
    unknown = torch.full_like(mask, torch.nan)
    return Completions(rollout, mask, rewards, advantages, unknown)


def informative(drawn: Iterator[Completions], num_generations: int) -> Iterator[Completions]:
    """Batches of groups whose rewards differ. Where `MOST_DRAWS` batches do not hold enough of
    them, the last one fills up the rest (Yu et al. 2025, 2503.14476, §3.2).
    """
    kept: list[Completions] = []
    for batch in drawn:
        groups = batch.rewards.view(-1, num_generations)
        differ = (groups != groups[:, :1]).any(1).repeat_interleave(num_generations)
        kept.append(batch.select(differ.nonzero().flatten()))
        if len(kept) == MOST_DRAWS:
            kept.append(batch.select((~differ).nonzero().flatten()))
        size = len(batch.rewards)
        if sum(len(some.rewards) for some in kept) >= size:
            yield _joined(kept).select(torch.arange(size, device=batch.rewards.device))
            kept = []


def _joined(some: list[Completions]) -> Completions:
    """The completions of several batches as one, before they are compared with a model."""
    rollout = joined([one.rollout for one in some])
    rewards, advantages = (
        torch.cat(column) for column in zip(*(s[2:4] for s in some), strict=True)
    )
    pad = torch.nn.functional.pad
    tokens = rollout.mask.shape[1]
    mask = torch.cat([pad(one.mask, (0, tokens - one.mask.shape[1])) for one in some])
    return Completions(rollout, mask, rewards, advantages, torch.full_like(mask, torch.nan))


def _at_once(
    method: Comparing, session: Session, drawn: Iterator[Completions]
) -> list[Completions]:
    """What is sampled before it is learned from: `mini_batches`, or fewer where the budget ends
    within them. Empty where it has ended.
    """
    found = []
    for batch in drawn:
        found.append(batch)
        if len(found) == method.mini_batches or session.progress >= 1:
            return found
    return []


@torch.no_grad()
def _compared(
    method: Comparing,
    session: Session,
    batch: Completions,
    policy: PreTrainedModel | None,
    reference: PreTrainedModel | None,
) -> Completions:
    """A batch with what the models that are given say of it."""
    if policy is not None:
        with session.purpose("rollout"):
            old = log_probs(policy, batch.rollout, method.temperature)
        batch = batch._replace(old=old)
    if reference is not None:
        batch = batch._replace(ref=log_probs(reference, batch.rollout, method.temperature))
    return batch
