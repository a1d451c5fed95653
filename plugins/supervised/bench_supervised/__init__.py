"""Supervised fine-tuning of all parameters, with the loss on the completion alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Adaptable, Format, LogRange, token_losses

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench import Session

# 1e-5 … 2e-5 of large models (Ouyang et al. 2022 and after) to the 1e-3 of the embedded one
Rate = Annotated[
    float, LogRange(1e-6, 1e-2), Field(gt=0, description="peak learning rate of AdamW")
]


class SFT(Adaptable):
    """Trains all parameters on prompts and completions of the target."""

    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    reference: ClassVar = (
        "Ouyang et al. 2022, Training language models to follow instructions, 2203.02155, §3.5"
    )
    verified: ClassVar = "penalties and replay of weight 0 equal it bit for bit"
    family: ClassVar = "supervised"

    lr: Rate = 2e-5

    def train(self, session: Session) -> PreTrainedModel:
        model = session.model()
        optimizer = session.optimizer(model, self.lr)
        for batch in session.batches(self.formats[0]):
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
        return model


class Instruction(SFT):
    """Trains all parameters on a mixture of other tasks; the target is never shown, so it is
    answered zero-shot.
    """

    formats: ClassVar = (Format.INSTRUCTION,)
    reference: ClassVar = (
        "Wei et al. 2021, Finetuned language models are zero-shot learners, 2109.01652"
    )
    verified: ClassVar = "no task of the target's cluster is in the mixture"
