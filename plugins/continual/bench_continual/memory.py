"""Rehearsal beyond plain replay: old rows that the gradient must not harm, or whose logits stay."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bench import Adaptable, Range, token_log_probs, token_logits, token_losses

from .tuning import FineTuning, nothing_old

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session


class AGEM(FineTuning, Adaptable):
    """Fine-tuning whose gradient is projected wherever a step would raise the loss on old rows."""

    reference: ClassVar = "Chaudhry et al. 2018, Efficient lifelong learning, 1812.00420, eq. 11"
    one_gpu: ClassVar = "it compares the gradients of all weights"
    verified: ClassVar = "golden; the step never goes against the old rows' gradient"

    reference_ratio: Annotated[
        float,
        Range(0.25, 1.0),
        Field(gt=0, le=1, description="old rows for each new one that their gradient is taken on"),
    ] = 0.5

    def skip(self, session: Session) -> str | None:
        return nothing_old(session, self.formats[0])

    def train(self, session: Session) -> PreTrainedModel:
        from . import penalties

        model = session.model()
        optimizer = session.optimizer(model, self.lr)
        old = _old(self, session, max(1, round(self.reference_ratio * session.batch_size)))
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        reference: list[Tensor] = []

        def project(*_: Any) -> None:
            pairs = zip(trained, reference, strict=True)
            both = [(p.grad, r) for p, r in pairs if p.grad is not None]
            penalties.project([g for g, _ in both], [r for _, r in both])

        optimizer.register_step_pre_hook(project)

        def loss_of(part: dict[str, Tensor]) -> Tensor:
            return token_losses(model, part)

        for batch in session.batches(self.formats[0]):
            with session.purpose("replay"):
                reference[:] = session.gradient(optimizer, next(old), loss_of)
            session.learn(optimizer, batch, loss_of)
        return model


class DERpp(FineTuning, Adaptable):
    """Fine-tuning that also learns old rows again, and keeps the start model's logits on others."""

    reference: ClassVar = (
        "Buzzega et al. 2020, Dark experience for general continual learning, 2004.07211, eq. 6"
    )
    verified: ClassVar = "golden; 1 batch or 4 parts; nothing to keep at first; α = β = 0 is sft"

    alpha: Annotated[
        float,
        Range(0.1, 1.0),
        Field(ge=0, description="weight of the squared distance to the start's logits"),
    ] = 0.5
    beta: Annotated[
        float, Range(0.1, 1.0), Field(ge=0, description="weight of the loss on old rows")
    ] = 0.5

    def skip(self, session: Session) -> str | None:
        return nothing_old(session, self.formats[0])

    def train(self, session: Session) -> PreTrainedModel:
        if not self.alpha and not self.beta:
            return super().train(session)
        model, start = session.model(), session.reference() if self.alpha else None
        optimizer = session.optimizer(model, self.lr)
        old = _old(self, session, session.batch_size)
        for batch in session.batches(self.formats[0]):
            whole = {"new": batch}
            whole |= {"said": next(old)} if self.alpha else {}
            whole |= {"old": next(old)} if self.beta else {}
            per_row = {name: _labels(rows).sum(1).float().mean() for name, rows in whole.items()}
            session.learn(optimizer, whole, partial(self.losses, model, start, per_row))
        return model

    def losses(
        self,
        model: PreTrainedModel,
        start: PreTrainedModel | None,
        per_row: dict[str, Tensor],
        part: dict[str, dict[str, Tensor]],
    ) -> Tensor:
        """Loss of each row, (rows,), whose mean is the sum of the three means over labelled tokens.

        `per_row` are the mean numbers of labels in a row of the whole batch.
        """
        loss = -token_log_probs(model, part["new"]).sum(1) / per_row["new"]
        if "old" in part:
            again = -token_log_probs(model, part["old"]).sum(1) / per_row["old"]
            loss = loss + self.beta * again
        if start is not None:
            kept = distances(model, start, part["said"]).sum(1) / per_row["said"]
            loss = loss + self.alpha * kept
        return loss


def distances(model: PreTrainedModel, start: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """The squared distance of two models' logits, as a mean over the vocabulary, for each labelled
    token but the first of a row: (rows, tokens - 1), 0 elsewhere.
    """
    import torch

    labelled = _labels(batch)
    with torch.no_grad():
        wanted = token_logits(start, batch)
    by_token = (token_logits(model, batch) - wanted).square().mean(-1)
    return torch.zeros(labelled.shape, device=labelled.device).masked_scatter(labelled, by_token)


def _labels(batch: dict[str, Tensor]) -> Tensor:
    """Whether the next token is a label, (rows, tokens - 1)."""
    return batch["labels"][:, 1:] >= 0


def _old(method: FineTuning, session: Session, size: int) -> Iterator[dict[str, Tensor]]:
    """Batches of old rows, tokenised."""
    for rows in session.old_rows(method.formats[0], size):
        yield session.encode(rows["prompt"], rows["completion"])
