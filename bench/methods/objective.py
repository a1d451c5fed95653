"""What a method itself optimises, before and after: "it ran" and "it worked" are told apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bench.data.formats import Format
from bench.errors import UserError
from bench.methods.method import Method

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.session import Measuring, Session
    from bench.models.spec import ModelSpec

SAMPLING_SEED = 0  # both looks draw the same random numbers


def measured(
    method: Method, session: Session, start: ModelSpec, model: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The method's own objective of the model that it started from and of the model that it made;
    the reason where it cannot be had.

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
            return {
                "values": method.objective(look, (look.model() if model is None else model).eval())
            }
        except UserError as error:
            return {"reason": str(error)}
        finally:
            look.close()


def mean_nll(formats: tuple[Format, ...], session: Measuring, model: Any) -> dict[str, float]:
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
    from torch.nn.functional import cross_entropy

    total, count = 0.0, 0
    for batch in batches:
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        width = batch["labels"].shape[1]
        following = batch["labels"][:, 1:]
        logits = model(**inputs).logits[
            :, -width:-1
        ]  # soft prompts put logits of their own in front
        total += float(
            cross_entropy(logits.float().flatten(0, 1), following.flatten(), reduction="sum")
        )
        count += int((following >= 0).sum())
    return total / max(count, 1)
