"""How much reward a policy earns, and how far it has moved from the start."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench import Format

from .losses import k3
from .rewards import Reward, learned, of_task, scored
from .rollout import log_probs, repeated, sample

if TYPE_CHECKING:
    from bench import ValidationSession

    from . import Reinforcement
    from .rollout import Model


SAMPLES = 4
"""Completions of each prompt: chance moves their mean by half as much as that of one."""


def sampled_reward(
    method: Reinforcement, session: ValidationSession, model: Model
) -> dict[str, float]:
    """Means over sampled completions.

    `reward` is what the method learned from: the task's reward, or the score of its learned reward
    model, and then the task's reward is reported as `check`. `kl` is the sum over the completion of
    k3 against the start, in nats.
    """
    reference = session.reference()
    rewards: dict[str, Reward] = {"reward": partial(of_task, session)}
    if method.reward == "model":
        rewards = {"reward": partial(scored, learned(session)), "check": partial(of_task, session)}
    totals, count = dict.fromkeys((*rewards, "kl"), 0.0), 0
    for rows in session.rows(Format.PROMPT_ONLY):
        rollout = sample(
            session,
            model,
            rows["prompt"],
            num_samples=SAMPLES,
            temperature=method.temperature,
            max_completion_length=method.max_completion_length,
        )
        drawn = repeated(rows, SAMPLES)
        for name, reward in rewards.items():
            totals[name] += float(reward(rollout, drawn).sum())
        moved = k3(
            log_probs(model, rollout, method.temperature),
            log_probs(reference, rollout, method.temperature),
        )
        totals["kl"] += float(moved.sum())
        count += len(drawn["prompt"])
    return {name: total / max(count, 1) for name, total in totals.items()}
