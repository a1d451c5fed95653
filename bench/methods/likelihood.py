"""The objective of methods that bring none of their own: how likely is what they learn to say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bench.data.formats import TEXTS, Format
from bench.methods.learning import token_losses

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.session import ValidationSession


def mean_nll(
    formats: tuple[Format, ...], session: ValidationSession, model: Any
) -> dict[str, float]:
    """Mean negative log-likelihood in nats per labelled token over the validation rows of the first
    format.
    """
    if not formats or formats[0] not in TEXTS:
        return {}
    return {"nll": nll_per_label(model, session.batches(formats[0]))}


def nll_per_label(model: Any, batches: Iterable[dict[str, Tensor]]) -> float:
    """Mean negative log-likelihood in nats per labelled token of batches as a session gives them.

    It comes from the logits, as what a model tells as its loss may hold more: a penalty, or the
    loss on a learned context.
    """
    total, count = 0.0, 0
    for batch in batches:
        losses = token_losses(model, batch)
        total += float(losses.sum())
        count += len(losses)
    return total / max(count, 1)
