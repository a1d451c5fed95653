"""A learned reward on a model in few bits, where an adapter is all that trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_rl import PPO
from bench_rl.ppo import reward_and_critic
from bench_rl.rewards import learned

from bench import Format
from bench.accounting.budget import Budget
from bench.models.spec import ModelSpec
from bench.testing import tiny_session


@pytest.mark.parametrize("bits", ["nf4", "int8"])
def test_the_critic_begins_as_the_reward_model_that_was_learned(bits: Any, tmp_path: Path) -> None:
    start = ModelSpec(path="tiny", quantize=bits)
    session = tiny_session(tmp_path, Budget("steps", 8), start=start)
    few = session.task.load(Format.PREFERENCE, "train").select(range(32))
    session.task = replace(
        session.task, loaders={**session.task.loaders, Format.PREFERENCE: lambda _: few}
    )
    method = PPO.model_validate(
        {"adapter": "lora", "reward": "model", "reward_share": 0.5, "reward_lr": 1e-2}
    )
    session.adapter = method.adapter
    _, critic = reward_and_critic(method, session)
    assert any(p.requires_grad for p in critic.parameters())
    batch = session.encode(few["prompt"][:8], few["chosen"][:8])
    del batch["labels"]
    with session.unmetered(), torch.no_grad():
        torch.testing.assert_close(
            critic(**batch).logits, learned(session)(**batch).logits, rtol=1e-4, atol=1e-4
        )
    session.close()
