"""What the methods of this package have in common: supervised fine-tuning of all parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Format, LogRange, Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench import Session

Rate = Annotated[
    float, LogRange(1e-6, 1e-2), Field(gt=0, description="peak learning rate of AdamW")
]


class FineTuning(Method):
    """Trains all parameters on prompts and completions of the target."""

    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    family: ClassVar = "continual"

    lr: Rate = 2e-5

    def train(self, session: Session) -> PreTrainedModel:
        model = session.model()
        optimizer = session.optimizer(model, self.lr)
        for batch in session.batches(self.formats[0]):
            session.step(optimizer, model(**batch).loss)
        return model


def nothing_old(session: Session, format: Format) -> str | None:
    """The reason why a method that needs data of old tasks cannot run, or None."""
    if any(format in task.formats for task in session.old):
        return None
    return f"no retained task or earlier target has {format} data"
