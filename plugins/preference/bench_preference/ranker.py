"""A ranker of completions: a reward model, trained on which of two is preferred."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench import Format

from . import losses

if TYPE_CHECKING:
    from bench import Session


def trained_ranker(session: Session, share: float, lr: float) -> Any:
    """The start model with a head for one reward, trained for a share (0..1) of the budget on the
    preference rows; then frozen.
    """
    ranker = session.scorer("reward")  # of the whole session: it is used after its own stage
    with session.stage("ranker", share) as stage:
        optimizer = stage.optimizer(ranker, lr)
        for rows in stage.rows(Format.PREFERENCE):
            stage.learn(optimizer, rows, lambda part: ranking_losses(ranker, stage, part))
    return ranker.requires_grad_(False).eval()


def ranking_losses(ranker: Any, session: Session, rows: dict[str, list[Any]]) -> Tensor:
    """Loss of each pair of preference rows, of shape (pairs,)."""
    both = rewards(ranker, session, rows["prompt"] * 2, rows["chosen"] + rows["rejected"])
    return losses.bradley_terry(*both.split(len(rows["prompt"])))


def opened_ranker(folder: Path, session: Session) -> Any:
    """A ranker that training left in a folder."""
    from transformers import AutoModelForSequenceClassification

    ranker = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=session.dtype, use_safetensors=True
    )
    return ranker.to(session.device).eval()


def rewards(
    ranker: Any, session: Session, prompts: Sequence[str], completions: Sequence[str]
) -> Tensor:
    """Reward of each completion at its last token, of shape (completions,)."""
    batch = session.encode(prompts, completions)
    return ranker(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]


def scores(
    ranker: Any, session: Session, rows: dict[str, list[Any]], completions: Sequence[str]
) -> list[float]:
    """Rewards of one completion of each row as plain numbers, without gradients."""
    with torch.no_grad():
        return rewards(ranker, session, rows["prompt"], completions).tolist()
