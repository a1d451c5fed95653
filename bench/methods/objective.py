"""What a method optimizes, before and after training: a method that ran may not have worked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bench.data.formats import Format
from bench.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.method import Method
    from bench.methods.session import Session, ValidationSession
    from bench.models.start import Start

SAMPLING_SEED = 0  # both looks draw the same random numbers


def measured(
    method: Method, session: Session, start: Start, model: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The method's own objective of the model that it started from and of the model that it made;
    the reason where it cannot be had.

    Both are measured after training, when whatever they need (a learned reward model) is there.
    """
    with session.unmetered():
        return _measured(method, session, start, None), _measured(method, session, start, model)


def _measured(method: Method, session: Session, start: Start, model: Any) -> dict[str, Any]:
    import torch
    from transformers import set_seed

    with torch.random.fork_rng(), torch.no_grad():
        set_seed(SAMPLING_SEED)
        on = session.validation(start)
        try:
            return {"values": method.objective(on, (model or on.model()).eval())}
        except Exception as error:  # what was trained must not be lost to a look at it
            named = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            return {"reason": named + " ".join(str(error).split())}
        finally:
            on.close()


def mean_nll(
    formats: tuple[Format, ...], session: ValidationSession, model: Any
) -> dict[str, float]:
    """Mean negative log-likelihood in nats per labelled token over the validation rows of the first
    format.
    """
    from bench.methods.session import BATCHED

    if not formats or formats[0] not in BATCHED:
        return {}
    return {"nll": nll_per_label(model, session.batches(formats[0]))}


def nll_per_label(model: Any, batches: Iterable[dict[str, Tensor]]) -> float:
    """Mean negative log-likelihood in nats per labelled token of batches as a session gives them.

    It comes from the logits, as what a model tells as its loss may hold more: a penalty, or the
    loss on a learned context.
    """
    from bench.methods.learning import token_losses

    total, count = 0.0, 0
    for batch in batches:
        losses = token_losses(model, batch)
        total += float(losses.sum())
        count += len(losses)
    return total / max(count, 1)
