"""Group relative methods against TRL's trainers: loss and gradient of both on one batch that TRL
sampled and scored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bench_rl import CISPO, DAPO, GRPO, GSPO, RLOO, DrGRPO
from bench_rl.group_relative import GroupRelative
from bench_rl.groups import Completions
from bench_rl.rollout import Rollout, log_probs
from torch import Tensor

from bench import Format
from bench.testing import tiny_session

TEMPERATURE = 3.0  # high enough for completions of one prompt to differ
LONGEST = 8
TRLS: dict[str, tuple[GroupRelative, dict[str, Any]]] = {
    "grpo": (
        GRPO(epsilon=0.2, beta=0.04),
        {"loss_type": "grpo", "epsilon": 0.2, "beta": 0.04, "use_bias_correction_kl": False},
    ),
    "dr-grpo": (
        DrGRPO(epsilon=0.2, max_completion_length=LONGEST),
        {"loss_type": "dr_grpo", "epsilon": 0.2, "scale_rewards": "none"},
    ),
    "gspo": (
        GSPO(epsilon=0.02, epsilon_high=0.03),
        {
            "loss_type": "grpo",
            "importance_sampling_level": "sequence",
            "epsilon": 0.02,
            "epsilon_high": 0.03,
        },
    ),
    "dapo": (
        DAPO(epsilon=0.2, epsilon_high=0.28),
        {"loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.28},
    ),
    "cispo": (CISPO(epsilon_max=1.2), {"loss_type": "cispo", "epsilon_high": 1.2}),
}
"""The same settings in the words of both."""


def _earned(text: str) -> float:
    """Some reward that differs from completion to completion."""
    return float(sum(map(ord, text)) % 7)


def _trl_batch(name: str, tmp_path: Path, **settings: Any) -> tuple[Any, dict[str, Any]]:
    """A trainer of TRL on the tiny model, whose policy has moved away from its reference, and a
    batch that it sampled and scored.
    """
    import trl

    session = tiny_session(tmp_path)
    config, trainer = getattr(trl, f"{name}Config"), getattr(trl, f"{name}Trainer")
    rows = session.dataset(Format.PROMPT_ONLY).select(range(2))
    made = trainer(
        session.model(),
        reward_funcs=lambda completions, **_: [_earned(text) for text in completions],
        train_dataset=rows,
        **session.trainer_kwargs(
            config,
            num_generations=4,
            max_completion_length=LONGEST,
            temperature=TEMPERATURE,
            **settings,
        ),
    )
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for parameter in made.model.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    made.current_gradient_accumulation_steps = 1  # as within its training loop
    inputs = [dict(rows[i // 4]) for i in range(8)]
    made.model.train()
    return made, made._generate_and_score_completions(inputs)


def _as_rollout(batch: dict[str, Any]) -> Rollout:
    return Rollout(
        torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1),
        torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1),
        batch["completion_mask"].float(),
    )


def _gradient(model: torch.nn.Module, loss: Tensor) -> Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def _part(
    method: GroupRelative, trainer: Any, batch: dict[str, Any], old: Tensor, ref: Tensor | None
) -> Completions:
    """The batch as our loop would hand it to the loss."""
    rollout = _as_rollout(batch)
    texts = rollout.texts(trainer.processing_class)
    rewards = torch.tensor([_earned(text) for text in texts])
    advantages = method.advantages(rewards.view(2, 4)).flatten()
    mask = rollout.mask
    if method.mask_truncated_completions:
        mask = mask * rollout.ended(trainer.eos_token_ids)[:, None]
    return Completions(rollout, mask, rewards, advantages, old, ref)


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", TRLS)
def test_loss_gradient_and_advantages_are_those_of_trl(
    name: str, masked: bool, tmp_path: Path
) -> None:
    """On completions whose probabilities have changed since they were sampled, so that ratios lie
    inside and outside of the clip.
    """
    method, settings = TRLS[name]
    method = method.model_copy(update={"mask_truncated_completions": masked})
    trainer, batch = _trl_batch("GRPO", tmp_path, mask_truncated_completions=masked, **settings)
    model, whole = trainer.model, _whole(batch, trainer.processing_class)
    ref = None
    if method.beta:
        with torch.no_grad():
            reference = tiny_session(tmp_path / "again").reference()
            ref = log_probs(reference, _as_rollout(whole), TEMPERATURE)
    new = log_probs(model, _as_rollout(whole), TEMPERATURE)
    noise = torch.randn(new.shape, generator=torch.Generator().manual_seed(1))
    old = (new.detach() - 0.3 * noise) * whole["completion_mask"]
    theirs = trainer.compute_loss(model, batch | {"old_per_token_logps": old})
    their_gradient = _gradient(model, theirs)

    part = _part(method, trainer, whole, old, ref)
    assert torch.equal(part.mask, batch["completion_mask"].float())
    assert torch.allclose(part.advantages, batch["advantages"], atol=1e-5)
    ours = method.losses(part, new).mean()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    assert torch.allclose(_gradient(model, ours), their_gradient, atol=1e-4)
    assert float(their_gradient.norm()) > 0.01
    truncated = (part.mask.sum(1) == 0).sum()
    assert 0 < truncated < 8 if masked else truncated == 0


def _whole(batch: dict[str, Any], tokenizer: Any) -> dict[str, Any]:
    """The batch with the masks that it had before what was cut off lost them."""
    ends = (batch["completion_ids"] == tokenizer.eos_token_id).long()
    return batch | {"completion_mask": (ends.cumsum(1) - ends == 0).long()}


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True])
def test_rloo_has_the_gradient_of_trl(masked: bool, tmp_path: Path) -> None:
    method = RLOO(beta=0.03, mask_truncated_completions=masked)
    trainer, batch = _trl_batch("RLOO", tmp_path, beta=0.03, mask_truncated_completions=masked)
    theirs = _gradient(trainer.model, trainer.compute_loss(trainer.model, batch))
    whole = _whole(batch, trainer.processing_class)
    rollout = _as_rollout(whole)
    with torch.no_grad():
        ref = log_probs(tiny_session(tmp_path / "again").reference(), rollout, TEMPERATURE)
    new = log_probs(trainer.model, rollout, TEMPERATURE)
    part = _part(method, trainer, whole, new.detach(), ref)
    assert not torch.allclose(part.advantages, batch["advantages"], atol=1e-4), "penalised"
    ours = _gradient(trainer.model, method.losses(part, new).mean())
    assert torch.allclose(ours, theirs, atol=1e-3)
    assert float(theirs.norm()) > 0.1
