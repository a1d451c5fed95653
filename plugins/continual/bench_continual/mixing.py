"""Weights made from weights: mixed at random, interpolated, averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from bench import Skipped


def mixout(weight: Tensor, start: Tensor, mask: Tensor, p: float) -> Tensor:
    """[M∘u + (1−M)∘w − p·u] / (1−p), whose mean over masks is w (Lee et al. 2020, 1909.11299).

    `mask` is true, each with probability `p`, where the start's value u stands in for the weight w;
    all of one shape.
    """
    return (torch.where(mask, start, weight) - p * start) / (1 - p)


@contextmanager
def mixing(model: PreTrainedModel, p: float) -> Iterator[Callable[[], None]]:
    """Every linear layer but the output head computes with a mixture of its weights and those it
    has now; `Skipped` where a model has none.

    Yields a function that draws new masks; all passes until then use the same ones, so that a
    batch may be passed in parts. The layers' own parameters are trained and saved.
    """
    head = model.get_output_embeddings()
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, Conv1D)) and m is not head]
    if not layers:
        raise Skipped(f"{type(model).__name__} has no linear layers whose weights could be mixed")
    mixed = [_Mixed(layer, p) for layer in layers]
    for layer, forward in zip(layers, mixed, strict=True):
        layer.forward = forward  # pyright: ignore[reportAttributeAccessIssue]

    def draw_again() -> None:
        for forward in mixed:
            forward.mask = None

    try:
        yield draw_again
    finally:
        for layer in layers:
            del layer.forward


class _Mixed:
    """The forward pass of a linear layer with mixed weights."""

    def __init__(self, layer: nn.Linear | Conv1D, p: float) -> None:
        self.layer, self.p = layer, p
        self.start = layer.weight.detach().clone()
        self.mask: Tensor | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        weight = self.layer.weight
        if self.mask is None:
            self.mask = torch.rand(weight.shape, device=weight.device) < self.p
        mixed = mixout(weight, self.start.to(weight.dtype), self.mask, self.p)
        if isinstance(self.layer, Conv1D):  # GPT-2's kin, which keep the transpose
            mixed = mixed.T
        return F.linear(inputs, mixed, self.layer.bias)


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
    """Replace the parameters of a model, in their order; they take the precision of the new
    values.
    """
    for parameter, weight in zip(model.parameters(), weights, strict=True):
        parameter.data = weight.detach()
