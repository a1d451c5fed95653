"""Weights made from weights: mixed at random in each pass, interpolated, averaged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel


def mixout(weight: Tensor, start: Tensor, mask: Tensor, p: float) -> Tensor:
    """[M∘u + (1−M)∘w − p·u] / (1−p), whose mean over masks is w (Lee et al. 2020, 1909.11299).

    `mask` is true, each with probability `p`, where the start's value u stands in for the weight w;
    all of one shape.
    """
    return (torch.where(mask, start, weight) - p * start) / (1 - p)


@contextmanager
def mixing(model: PreTrainedModel, p: float) -> Iterator[None]:
    """Every pass through a linear layer, but the output head, uses weights mixed with the present
    ones by a new mask.

    The layers' own parameters stay what is trained and saved.
    """
    head = model.get_output_embeddings()
    layers = [m for m in model.modules() if isinstance(m, nn.Linear) and m is not head]
    for layer in layers:
        layer.forward = _Mixed(layer, p)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


class _Mixed:
    """The forward pass of a linear layer with mixed weights."""

    def __init__(self, layer: nn.Linear, p: float) -> None:
        self.layer, self.p = layer, p
        self.start = layer.weight.detach().clone()

    def __call__(self, inputs: Tensor) -> Tensor:
        weight = self.layer.weight
        mask = torch.rand(weight.shape, device=weight.device) < self.p
        return F.linear(
            inputs, mixout(weight, self.start.to(weight.dtype), mask, self.p), self.layer.bias
        )


def wise_ft(start: Tensor, tuned: Tensor, alpha: float) -> Tensor:
    """(1−α) θ₀ + α θ (Wortsman et al. 2021, 2109.01903, eq. 1)."""
    return (1 - alpha) * start + alpha * tuned


def soup(models: Iterable[Iterable[Tensor]]) -> list[Tensor]:
    """The mean of the parameters of several models (Wortsman et al. 2022, 2203.05482, §2); only one
    model is held at a time.
    """
    totals: list[Tensor] = []
    served = 0
    for parameters in models:
        served += 1
        new = [p.detach().float() for p in parameters]
        totals = [total + p for total, p in zip(totals, new, strict=True)] if totals else new
    return [total / served for total in totals]


def set_weights(model: nn.Module, weights: Sequence[Tensor]) -> None:
    """Give the parameters of a model new values, in their order and in the precision of these
    values.
    """
    for parameter, weight in zip(model.parameters(), weights, strict=True):
        parameter.data = weight.detach()
