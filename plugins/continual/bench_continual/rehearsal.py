"""Holding on by outputs: old rows among the new ones, or the old model's answers to the new rows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import LogRange, Range

from .tuning import FineTuning, nothing_old

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session
    from bench.methods.session import Measuring


class Replay(FineTuning):
    """Fine-tuning in which old tasks' rows take the place of a share of each batch."""

    reference: ClassVar = (
        "Ibrahim et al. 2024, Simple and scalable strategies to continually pre-train, 2403.08763"
    )
    verified: ClassVar = "ρ = 0 is sft bit for bit; exact share and order"

    replay_ratio: Annotated[
        float,
        Range(0.01, 0.5),
        Field(ge=0, lt=1, description="share of the rows that come from old tasks"),
    ] = 0.05

    def skip(self, session: Session) -> str | None:
        return nothing_old(session, self.formats[0])

    def train(self, session: Session) -> PreTrainedModel:
        model = session.model()
        optimizer = session.optimizer(model, self.lr)
        for prompts, completions in self.mixed(session):
            session.step(optimizer, model(**session.encode(prompts, completions)).loss)
        return model

    def mixed(self, session: Session) -> Iterator[tuple[list[str], list[str]]]:
        """Prompts and completions of the target's batches, in each of which the last rows have made
        way for old ones.

        Where the share is no whole number of rows, batches take turns so that it holds over all of
        them.
        """
        old = session.old_rows(self.formats[0], 1)
        share = self.replay_ratio * session.batch_size
        for number, new in enumerate(session.rows(self.formats[0])):
            drawn = list(islice(old, int((number + 1) * share) - int(number * share)))
            kept = len(new["prompt"]) - len(drawn)
            prompts, completions = (
                [*new[c][:kept], *(row[c][0] for row in drawn)] for c in ("prompt", "completion")
            )
            yield prompts, completions


class LwF(FineTuning):
    """Fine-tuning that also distils the start model's predictions on the target's own text."""

    reference: ClassVar = "Li and Hoiem 2016, Learning without forgetting, 1606.09282, §3"
    verified: ClassVar = "golden, gradients; 0 at first; the teacher is the start; λ = 0 is sft"

    lambda_o: Annotated[
        float, LogRange(0.01, 100), Field(ge=0, description="weight of the distillation")
    ] = 1.0
    temperature: Annotated[
        float,
        Range(1, 4),
        Field(gt=0, description="softens both models' predictions in the distillation"),
    ] = 2.0

    def train(self, session: Session) -> PreTrainedModel:
        model, teacher = session.model(), session.reference()
        optimizer = session.optimizer(model, self.lr)
        for batch in session.batches(self.formats[0]):
            output = model(**batch)
            session.step(
                optimizer,
                output.loss + self.lambda_o * self._distilled(output.logits, teacher, batch),
            )
        return model

    def objective(self, session: Measuring, model: PreTrainedModel | PeftModel) -> dict[str, float]:
        teacher = session.reference()
        parts = [
            self._distilled(model(**batch).logits, teacher, batch)
            for batch in session.batches(self.formats[0])
        ]
        return super().objective(session, model) | {"distillation": float(sum(parts)) / len(parts)}

    def _distilled(
        self, logits: Tensor, teacher: PreTrainedModel, batch: dict[str, Tensor]
    ) -> Tensor:
        import torch

        from . import penalties

        with torch.no_grad():
            wanted = teacher(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).logits
        followed = batch["attention_mask"][
            :, 1:
        ].bool()  # positions whose next token is text, of the prompt as well
        return penalties.distillation(
            logits[:, :-1][followed].float(), wanted[:, :-1][followed].float(), self.temperature
        )
