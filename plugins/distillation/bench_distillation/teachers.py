"""Who teaches: another model, the start after some supervised fine-tuning, or the student's own
past.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_model, save_model

from bench import Format, load_teacher, token_losses, whole_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench import Session

    from . import Taught
    from .sampling import Model

TUNED = "teacher.safetensors"
"""The weights of a teacher that this session's training tuned, in its folder."""


def teacher_of(method: Taught, session: Session) -> PreTrainedModel:
    """The teacher that a method names; else the start, fine-tuned with a share of the session's
    budget. Frozen, and charged as teacher.
    """
    if method.teacher is not None:
        return load_teacher(session, method.teacher)
    model = session.model("teacher")
    with session.stage("teacher", until=method.teacher_share) as stage:
        optimizer = stage.optimizer(model, method.teacher_lr)
        for batch in stage.batches(Format.PROMPT_COMPLETION):
            stage.learn(optimizer, batch, lambda part: token_losses(model, part))
    with whole_weights(model):
        save_model(model, str(session.folder / TUNED))
    return _frozen(model)


def teacher_again(method: Taught, session: Session) -> PreTrainedModel:
    """The teacher that this session's training had, for looking at what was learned from it."""
    if method.teacher is not None:
        return load_teacher(session, method.teacher)
    model = session.model("teacher")
    with whole_weights(model):
        load_model(model, str(session.folder / TUNED))
    return _frozen(model)


def past_self(session: Session) -> PreTrainedModel:
    """The start as a teacher of itself, in float32 so that it can follow slowly."""
    teacher = _frozen(session.model("teacher"))
    for parameter in teacher.parameters():
        parameter.data = parameter.data.float()
    return teacher


@torch.no_grad()
def follow(teacher: Model, student: Model, rate: float) -> None:
    """Move the teacher's weights towards the student's: w ← (1 − rate)·w + rate·w_student."""
    for own, other in zip(teacher.parameters(), student.parameters(), strict=True):
        own.lerp_(other.to(own.dtype), rate)


def _frozen(model: PreTrainedModel) -> PreTrainedModel:
    return model.requires_grad_(False).eval()
