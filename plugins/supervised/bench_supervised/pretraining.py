"""Continued pre-training: the loss is on every token of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from bench import Adaptable, Format, token_losses

from . import Rate

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session, ValidationSession


class Dapt(Adaptable):
    """Continues pre-training of all parameters on plain text of the target's domain."""

    formats: ClassVar = (Format.LANGUAGE_MODELING,)
    reference: ClassVar = "Gururangan et al. 2020, Don't stop pretraining, 2004.10964, §3"
    verified: ClassVar = "packed loss and update equal unpacked"
    family: ClassVar = "pre-training"

    lr: Rate = 2e-5

    def train(self, session: Session) -> PreTrainedModel:
        model = session.model()
        optimizer = session.optimizer(model, self.lr)
        for rows in session.rows(Format.LANGUAGE_MODELING):
            batch = session.pack(rows["text"])
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
        return model


class Tapt(Adaptable):
    """Continues pre-training of all parameters on the target's prompts; it never sees a
    completion.
    """

    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    reference: ClassVar = "Gururangan et al. 2020, Don't stop pretraining, 2004.10964, §4"
    verified: ClassVar = "completions can change neither loss nor objective"
    family: ClassVar = "pre-training"
    goal: ClassVar = ("prompt_nll", "lower")

    lr: Rate = 2e-5

    def train(self, session: Session) -> PreTrainedModel:
        model = session.model()
        optimizer = session.optimizer(model, self.lr)
        for rows in session.rows(Format.PROMPT_COMPLETION):
            batch = _packed_prompts(session, rows["prompt"])
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
        return model

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        import torch

        losses = [
            token_losses(model, _packed_prompts(session, rows["prompt"]))
            for rows in session.rows(Format.PROMPT_COMPLETION)
        ]
        return {"prompt_nll": float(torch.cat(losses).mean())}


def _packed_prompts(session: Session, prompts: Sequence[str]) -> dict[str, Tensor]:
    """Packed prompts without a label on their end: in the task a completion follows there."""
    batch = session.pack(prompts)
    labels = batch["labels"].clone()
    labels[batch["input_ids"] == session.tokenizer.eos_token_id] = -100
    return {**batch, "labels": labels}
