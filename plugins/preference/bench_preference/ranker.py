"""A ranker of completions: a reward model, trained on which of two is preferred."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from bench import Format, load_scorer, take_over

from . import losses
from .dropout import disable_dropout
from .ends import encoded

if TYPE_CHECKING:
    from bench import Session

    from .candidates import Ranker

FOLDER = "ranker"
"""Where a trained ranker lies in the folder of its session."""


def by_reward(session: Session) -> Ranker:
    """The task's reward as a ranker; a classifier in it is charged to this session."""
    return lambda rows, completions: session.reward(rows, completions).tolist()


def by_model(ranker: Any, session: Session) -> Ranker:
    """A trained ranker, for use in this session and charged to it as reward."""
    here = session.scorer("reward")
    take_over(here, ranker)
    return partial(scores, here.requires_grad_(False).eval(), session)


def look_up(rank_by: Literal["model", "reward"], session: Session) -> Ranker:
    """What decided in a training that is over; for looking at what it made."""
    if rank_by == "reward":
        return by_reward(session)
    return partial(scores, load_scorer(session, session.folder / FOLDER), session)


def trained_ranker(session: Session, share: float, lr: float) -> Any:
    """The start model with a head for one reward, trained for a share (0..1) of the budget on the
    preference rows; then frozen, and kept in the session's folder.
    """
    with session.stage("ranker", share) as stage:
        ranker = disable_dropout(stage.scorer("reward"))
        optimizer = stage.optimizer(ranker, lr)
        for rows in stage.rows(Format.PREFERENCE):
            stage.learn(optimizer, rows, lambda part: ranking_losses(ranker, stage, part))
    ranker.save_pretrained(str(session.folder / FOLDER))
    return ranker.requires_grad_(False).eval()


def ranking_losses(ranker: Any, session: Session, rows: dict[str, list[Any]]) -> Tensor:
    """Loss of each pair of preference rows, of shape (pairs,)."""
    both = rewards(ranker, session, rows["prompt"] * 2, rows["chosen"] + rows["rejected"])
    return losses.bradley_terry(*both.split(len(rows["prompt"])))


def rewards(
    ranker: Any, session: Session, prompts: Sequence[str], completions: Sequence[str]
) -> Tensor:
    """Reward of each completion at its last token, of shape (completions,)."""
    batch = encoded(session, prompts, completions)
    return ranker(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]


@torch.no_grad()
def scores(
    ranker: Any, session: Session, rows: dict[str, list[Any]], completions: Sequence[str]
) -> list[float]:
    """Rewards of one completion of each row as plain numbers, without gradients, as many at once as
    a batch has: parts of another size round differently, and could change who wins.
    """
    found, size = [], session.batch_size
    for first in range(0, len(completions), size):
        part = slice(first, first + size)
        found += rewards(ranker, session, rows["prompt"][part], completions[part]).tolist()
    return found
