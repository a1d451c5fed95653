"""What a completion earns: the task's own reward, or a model's that is learned from preferences."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from bench import Conversation, Format, load_scorer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench import Session

    from .rollout import Rollout, Rows

LEARNED = "reward"
"""Folder of a learned reward model."""
Reward = Callable[["Rollout", "Rows"], Tensor]
"""From n completions and their n rows to n rewards."""


def of_task(session: Session, rollout: Rollout, rows: Rows) -> Tensor:
    """The task's reward of each completion, (n,)."""
    ids = [completion for _, completion in rollout.tokens()]
    return session.reward(rows, rollout.texts(session.tokenizer), ids)


@torch.no_grad()
def scored(session: Session, reward_model: PreTrainedModel, rollout: Rollout, rows: Rows) -> Tensor:
    """A reward model's score of each completion, (n,).

    Where prompts are conversations, the chat template renders them again with their completions,
    as it does for training the reward model. It may put more behind the end of a turn, and that is
    where the score is read.
    """
    if any(isinstance(prompt, Conversation) for prompt in rows["prompt"]):
        inputs = session.encode(rows["prompt"], rollout.texts(session.tokenizer))
        del inputs["labels"]
    else:
        inputs = rollout.inputs()
    return reward_model(**inputs).logits.squeeze(-1).float()


def reward_model(session: Session, share: float, lr: float) -> PreTrainedModel:
    """A reward model, trained on the target's preferences with a share of the session's budget, and
    frozen.

    The loss is that of Bradley and Terry, −log σ(r(x, y_w) − r(x, y_l)) (Ouyang et al. 2022,
    2203.02155, eq. 1), by TRL's `RewardTrainer`.
    """
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    model = session.scorer("reward")
    with session.stage("reward", until=share) as stage:
        RewardTrainer(
            model,
            train_dataset=stage.dataset(Format.PREFERENCE),
            **stage.trainer_kwargs(RewardConfig, learning_rate=lr, max_length=session.max_length),
        ).train()
    model.save_pretrained(str(session.folder / LEARNED))
    return model.requires_grad_(False).eval()


def learned(session: Session) -> PreTrainedModel:
    """The reward model that this session's training left in its folder, for looking at what was
    learned from it.
    """
    return load_scorer(session, session.folder / LEARNED)


def chosen(kind: Literal["check", "model"], session: Session, share: float, lr: float) -> Reward:
    """The reward that a method asks for; a model is trained first."""
    return (
        partial(of_task, session)
        if kind == "check"
        else partial(scored, session, reward_model(session, share, lr))
    )
