"""Prompts and completions that the tests of this package share."""

from __future__ import annotations

from typing import Any

from bench_rl.rollout import Rollout, sample

from bench import Format, Session

KNOWN = "tiny/largest"  # the base answers it


def prompts_of(session: Session, count: int = 4) -> dict[str, list[str]]:
    return session.dataset(Format.PROMPT_ONLY)[:count]


def rollout_of(
    session: Session, model: Any, num_samples: int = 2, temperature: float = 1.0, length: int = 6
) -> Rollout:
    prompts = [*prompts_of(session, 3)["prompt"], "copy a ?"]
    return sample(
        session,
        model,
        prompts,
        num_samples=num_samples,
        temperature=temperature,
        max_completion_length=length,
    )
