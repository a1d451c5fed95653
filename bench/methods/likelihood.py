"""The objective of methods that bring none of their own: how likely is what they learn to say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.data.formats import TEXTS, Format
from bench.methods.learning import token_losses

if TYPE_CHECKING:
    from bench.methods.session import ValidationSession


def mean_nll(
    formats: tuple[Format, ...], session: ValidationSession, model: Any
) -> dict[str, float]:
    """Mean negative log-likelihood in nats per labelled token over the validation rows of the first
    format.

    It comes from the logits, as what a model tells as its loss may hold more: a penalty, or the
    loss on a learned context.
    """
    if not formats or formats[0] not in TEXTS:
        return {}
    total, count = 0.0, 0
    for batch in session.batches(formats[0]):
        losses = token_losses(model, batch)
        total += float(losses.sum())
        count += len(losses)
    return {"nll": total / max(count, 1)}
