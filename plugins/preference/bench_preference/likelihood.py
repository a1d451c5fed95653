"""How likely a model finds completions, and what the methods make of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from bench import token_log_probs

from .ends import encoded

if TYPE_CHECKING:
    from bench import Session


Weights = Callable[[Tensor], Tensor]
"""From which tokens belong to completions, as truth values of shape (completions, tokens), to what
each of them counts, of the same shape.
"""


class Likelihoods(NamedTuple):
    """What a model says of completions, each with its end of sequence unless it was cut off. Both
    have the shape (completions,).
    """

    logp: Tensor
    """Log-probability of the whole completion in nats."""
    length: Tensor
    """Tokens of the completion."""

    @property
    def mean(self) -> Tensor:
        """Log-probability per token."""
        return self.logp / self.length

    def split(self, sizes: int | list[int]) -> list[Likelihoods]:
        """Consecutive parts, of one size or of a size each."""
        return [
            Likelihoods(*parts)
            for parts in zip(self.logp.split(sizes), self.length.split(sizes), strict=True)
        ]


def likelihoods(
    model: Any,
    session: Session,
    prompts: Sequence[str],
    completions: Sequence[str],
    weights: Weights | None = None,
) -> Likelihoods:
    """Log-probability of each completion after its prompt, in one forward pass; with `weights` the
    weighted sum over its tokens.
    """
    batch = encoded(session, prompts, completions)
    said, labelled = token_log_probs(model, batch), batch["labels"][:, 1:] >= 0
    if weights is not None:
        said = said * weights(labelled)
    return Likelihoods(said.sum(1), labelled.sum(1))


def paired(
    model: Any, session: Session, rows: dict[str, list[Any]]
) -> tuple[Likelihoods, Likelihoods]:
    """Chosen and rejected completions of preference rows."""
    both = likelihoods(model, session, rows["prompt"] * 2, rows["chosen"] + rows["rejected"])
    chosen, rejected = both.split(len(rows["prompt"]))
    return chosen, rejected


def log_ratios(
    model: Any,
    reference: Any,
    session: Session,
    prompts: Sequence[str],
    completions: Sequence[str],
    weights: Weights | None = None,
) -> Tensor:
    """log π(y|x) - log π_ref(y|x) of each completion, of shape (completions,); the reference gets
    no gradient. With `weights` both are weighted sums over tokens.
    """
    with torch.no_grad():
        before = likelihoods(reference, session, prompts, completions, weights).logp
    return likelihoods(model, session, prompts, completions, weights).logp - before


def paired_log_ratios(
    model: Any,
    reference: Any,
    session: Session,
    rows: dict[str, list[Any]],
    weights: Weights | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-ratios of the chosen and of the rejected completions of preference rows, each of shape
    (pairs,).
    """
    both = log_ratios(
        model, reference, session, rows["prompt"] * 2, rows["chosen"] + rows["rejected"], weights
    )
    chosen, rejected = both.split(len(rows["prompt"]))
    return chosen, rejected


def outcome(pairs: Sequence[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Of batches of rewards of chosen and rejected completions: the mean margin, and the share of
    pairs in the right order, ties half.
    """
    margin = torch.cat([chosen - rejected for chosen, rejected in pairs]).double()
    return {"reward_margin": float(margin.mean()), "reward_accuracy": float(share_above(margin))}


def share_above(values: Tensor) -> Tensor:
    """Share of values above zero; zeros count half."""
    return (values.sign() + 1).mean() / 2
