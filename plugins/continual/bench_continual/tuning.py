"""What the methods of this package have in common: supervised fine-tuning of all parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Format, LogRange, Method, token_losses

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer
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
        return tuned(session, model, session.optimizer(model, self.lr))


def tuned(
    session: Session,
    model: PreTrainedModel,
    optimizer: Optimizer,
    penalty: Callable[[], Tensor | float] = float,
) -> PreTrainedModel:
    """The model, fine-tuned until the budget is spent; `penalty` is added to the loss of each
    step.
    """
    for batch in session.batches(Format.PROMPT_COMPLETION):
        session.learn(optimizer, batch, lambda part: token_losses(model, part) + penalty())
    return model


def nothing_old(session: Session, format: Format) -> str | None:
    """The reason why a method that needs data of old tasks cannot run, or None."""
    if any(format in task.formats for task in session.old):
        return None
    return f"no retained task or earlier target has {format} data"
