"""The diagonal of the Fisher information: how much a model's predictions depend on each of its
weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from bench import Format, Session, Task

LARGEST_SHARE = 0.2
"""Of the budget, that may go into the Fisher information: what is protected must still be trained.
"""


def fisher_on_old_tasks(
    session: Session, format: Format, examples: int, of: Sequence[Task] | None = None
) -> list[Tensor]:
    """The Fisher information of the start model on so many rows of old tasks, or of some of them,
    charged as `fisher`; fewer, where the budget is small.

    It is the true Fisher of each next token of a completion, given the text before it: answers are
    drawn from the model (Kirkpatrick et al. 2017, 1612.00796, §2; Kunstner et al. 2019, 1905.12558
    on why not from the data), one draw per token.
    """
    model = session.model("fisher").eval()

    def log_likelihoods() -> Iterator[Tensor]:
        for row in islice(session.old_rows(format, 1, of), examples):
            if session.progress > LARGEST_SHARE:
                break
            batch = session.encode(row["prompt"], row["completion"])
            asked = batch.pop("labels")[0, 1:] >= 0
            yield drawn_log_likelihood(model(**batch).logits[0, :-1][asked])

    return diagonal_fisher(list(model.parameters()), log_likelihoods())


def sensitivity_on_old_tasks(session: Session, format: Format, examples: int) -> list[Tensor]:
    """How much the start model's outputs on old tasks depend on each weight, in the parameters'
    shapes: the mean over rows of |∂‖z‖²/∂θ|, charged as `sensitivity`.

    z are the logits that a row's completion is predicted from, ‖z‖² their mean over its tokens; no
    label is asked (Aljundi et al. 2018, 1711.09601, eq. 2 and 3).
    """
    model = session.model("sensitivity").eval()
    parameters = list(model.parameters())
    totals = [torch.zeros_like(p, dtype=torch.float32) for p in parameters]
    rows = 0
    for row in islice(session.old_rows(format, 1), examples):
        if session.progress > LARGEST_SHARE:
            break
        batch = session.encode(row["prompt"], row["completion"])
        asked = batch.pop("labels")[0, 1:] >= 0
        length = model(**batch).logits[0, :-1][asked].float().square().sum(-1).mean()
        gradients = torch.autograd.grad(length, parameters, materialize_grads=True)
        for total, gradient in zip(totals, gradients, strict=True):
            total.add_(gradient.float().abs())
        rows += 1
    return [total / max(rows, 1) for total in totals]


def drawn_log_likelihood(logits: Tensor) -> Tensor:
    """Log-likelihood, in nats, of tokens drawn from logits of (tokens, vocabulary): their sum."""
    log_probabilities = logits.float().log_softmax(-1)
    drawn = torch.multinomial(log_probabilities.detach().exp(), 1)
    return log_probabilities.gather(1, drawn).sum()


def diagonal_fisher(
    parameters: Sequence[Tensor], log_likelihoods: Iterable[Tensor]
) -> list[Tensor]:
    """The mean over examples of the squared gradient of each example's own log-likelihood, in
    float32 and the parameters' shapes.
    """
    totals = [torch.zeros_like(p, dtype=torch.float32) for p in parameters]
    examples = 0
    for log_likelihood in log_likelihoods:
        examples += 1
        gradients = torch.autograd.grad(log_likelihood, parameters, materialize_grads=True)
        for total, gradient in zip(totals, gradients, strict=True):
            total.add_(gradient.float().square())
    return [total / max(examples, 1) for total in totals]
