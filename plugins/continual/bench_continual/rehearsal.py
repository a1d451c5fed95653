"""Rehearsal: old rows among the new ones, or the old model's predictions on the new rows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bench import Adaptable, Choice, LogRange, Range, token_losses

from .tuning import FineTuning, nothing_old

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session, ValidationSession


class Replay(FineTuning, Adaptable):
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
            batch = session.encode(prompts, completions)
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
        return model

    def mixed(self, session: Session) -> Iterator[tuple[list[str], list[str]]]:
        """Prompts and completions of the target's batches, the last rows of each replaced by old
        ones.

        Where the share is not a whole number of rows, the number of old rows varies from batch to
        batch so that the share holds over all of them.
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


class SelfReplay(FineTuning, Adaptable):
    """Fine-tuning in which texts that the start model wrote itself take the place of a share of
    each batch; no old data is needed.
    """

    reference: ClassVar = (
        "Sun et al. 2020, LAMOL, 1909.03329, §3, sampled as it is, without a task token; for large"
        " models Huang et al. 2024, Self-synthesized rehearsal, 2403.01244"
    )
    verified: ClassVar = (
        "γ = 0 is sft bit for bit; share; the start's own texts, charged as rollout"
    )

    replay_ratio: Annotated[
        float,
        Range(0.05, 0.5),
        Field(ge=0, lt=1, description="γ, share of the rows that the start model wrote"),
    ] = 0.2
    samples: Annotated[
        int, Choice((64, 128, 256, 512)), Field(gt=0, description="texts that are sampled, at most")
    ] = 256
    max_completion_length: Annotated[
        int, Choice((32, 64, 128, 256)), Field(gt=0, description="tokens of a text, at most")
    ] = 64

    def train(self, session: Session) -> PreTrainedModel:
        if not self.replay_ratio:
            return super().train(session)
        from .sampling import own_texts, with_texts

        texts = own_texts(session, self.samples, self.max_completion_length)
        model = session.model()
        optimizer = session.optimizer(model, self.lr)
        for rows, own in self.mixed(session, texts):
            batch = with_texts(session, rows, own)
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
        return model

    def mixed(
        self, session: Session, texts: list[str]
    ) -> Iterator[tuple[dict[str, list[Any]], list[str]]]:
        """The first rows of the target's batches, and the texts that take the place of the last."""
        old = cycle(texts)
        share = self.replay_ratio * session.batch_size
        for number, new in enumerate(session.rows(self.formats[0])):
            drawn = list(islice(old, int((number + 1) * share) - int(number * share)))
            kept = len(new["prompt"]) - len(drawn)
            yield {column: values[:kept] for column, values in new.items()}, drawn


class LwF(FineTuning, Adaptable):
    """Fine-tuning that also distils the start model's predictions on the target's own text."""

    reference: ClassVar = "Li and Hoiem 2016, Learning without forgetting, 1606.09282, §3"
    verified: ClassVar = "golden, gradients; 0 at first; the teacher is the start; λ = 0 is sft"
    padded: ClassVar = "it distils prompts and completions of a padded batch"

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
            per_row = (_labelled(batch).float().sum(1).mean(), _text(batch).float().sum(1).mean())
            session.learn(optimizer, batch, partial(self._losses, model, teacher, per_row))
        return model

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        teacher = session.reference()
        parts = [
            self._distilled(model(**batch).logits, teacher, batch).mean()
            for batch in session.batches(self.formats[0])
        ]
        return super().objective(session, model) | {"distillation": float(sum(parts)) / len(parts)}

    def _losses(
        self,
        model: PreTrainedModel,
        teacher: PreTrainedModel,
        per_row: tuple[Tensor, Tensor],
        part: dict[str, Tensor],
    ) -> Tensor:
        """Loss of each row, of shape (rows,), whose mean is the likelihood's mean over labels plus
        the distillation's over text.

        `per_row` are the mean numbers of labels and of text tokens in a row of the whole batch.
        """
        import torch
        from torch.nn.functional import cross_entropy

        output = model(input_ids=part["input_ids"], attention_mask=part["attention_mask"])
        nll = cross_entropy(
            output.logits[:, :-1].float().transpose(1, 2), part["labels"][:, 1:], reduction="none"
        ).sum(1)
        text = _text(part)
        distilled = self._distilled(output.logits, teacher, part)
        by_row = torch.zeros(text.shape, device=text.device).masked_scatter(text, distilled).sum(1)
        labels_per_row, text_per_row = per_row
        return nll / labels_per_row + self.lambda_o * by_row / text_per_row

    def _distilled(
        self, logits: Tensor, teacher: PreTrainedModel, batch: dict[str, Tensor]
    ) -> Tensor:
        """Divergence from the teacher for each text token that follows another, (tokens,)."""
        import torch

        from . import penalties

        with torch.no_grad():
            wanted = teacher(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).logits
        text = _text(batch)
        return penalties.distillation(
            logits[:, :-1][text].float(), wanted[:, :-1][text].float(), self.temperature
        )


def _labelled(batch: dict[str, Tensor]) -> Tensor:
    """Whether the next token is a label, (rows, tokens - 1)."""
    return batch["labels"][:, 1:] >= 0


def _text(batch: dict[str, Tensor]) -> Tensor:
    """Whether the next token is text, of the prompt or the completion, (rows, tokens - 1)."""
    return batch["attention_mask"][:, 1:].bool()
