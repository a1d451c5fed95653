"""Continued pre-training: the loss is on every token of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from bench import Format, Method

from . import Rate

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session
    from bench.methods.session import Measuring


class Dapt(Method):
    """Goes on pre-training all parameters on plain text of the target's domain."""

    formats: ClassVar = (Format.LANGUAGE_MODELING,)
    reference: ClassVar = "Gururangan et al. 2020, Don't stop pretraining, 2004.10964, §3"
    verified: ClassVar = "packed loss and update equal unpacked"
    family: ClassVar = "pre-training"

    lr: Rate = 2e-5

    def train(self, session: Session) -> PreTrainedModel:
        model = session.model()
        optimizer = session.optimizer(model, self.lr)
        for rows in session.rows(Format.LANGUAGE_MODELING):
            session.step(optimizer, model(**session.pack(rows["text"])).loss)
        return model


class Tapt(Method):
    """Goes on pre-training all parameters on the target's own prompts, without ever seeing a
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
            session.step(optimizer, model(**_unlabelled(session, rows["prompt"])).loss)
        return model

    def objective(self, session: Measuring, model: PreTrainedModel | PeftModel) -> dict[str, float]:
        from bench.methods.objective import nll_per_label

        batches = (
            _unlabelled(session, rows["prompt"]) for rows in session.rows(Format.PROMPT_COMPLETION)
        )
        return {"prompt_nll": nll_per_label(model, batches)}


def _unlabelled(session: Session, prompts: Sequence[str]) -> dict[str, Tensor]:
    """Packed prompts. Their end is no label: a completion follows there, and to learn that the text
    ends would be to learn it wrong.
    """
    batch = session.pack(prompts)
    labels = batch["labels"].clone()
    labels[batch["input_ids"] == session.tokenizer.eos_token_id] = -100
    return {**batch, "labels": labels}
