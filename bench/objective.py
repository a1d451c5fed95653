"""What a method itself optimises, before and after: "it ran" and "it worked" are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import UserError
from .method import Format, Method

if TYPE_CHECKING:
    from .models import ModelSpec
    from .session import Measuring, Session

SAMPLING_SEED = 0  # both looks draw the same random numbers


def measured(method: Method, session: Session, start: ModelSpec, model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The method's own objective of the model that it started from and of the model that it made; the reason where it cannot be had.

    Both looks are taken after training, when whatever they need (a learned reward model) is there.
    """
    with session.unmetered():
        return _look(method, session, start, None), _look(method, session, start, model)


def _look(method: Method, session: Session, start: ModelSpec, model: Any) -> dict[str, Any]:
    import torch
    from transformers import set_seed

    with torch.random.fork_rng(), torch.no_grad():
        set_seed(SAMPLING_SEED)
        look = session.measuring(start)
        try:
            return {"values": method.objective(look, (look.model() if model is None else model).eval())}
        except UserError as error:
            return {"reason": str(error)}
        finally:
            look.close()


def mean_nll(formats: tuple[Format, ...], session: Measuring, model: Any) -> dict[str, float]:
    """Mean negative log-likelihood in nats per labelled token over the validation rows of the first format."""
    from .session import BATCHED

    if not formats or formats[0] not in BATCHED:
        return {}
    total, count = 0.0, 0
    for batch in session.batches(formats[0]):
        labelled = int((batch["labels"][:, 1:] >= 0).sum())
        total += float(model(**batch).loss) * labelled
        count += labelled
    return {"nll": total / max(count, 1)}
