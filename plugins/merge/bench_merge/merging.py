"""Formulas of merging, as pure functions of float32 tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from bench import Weights

NEARLY_PARALLEL = (
    0.9995  # above this |cosine| the angle is too small or too near to π to divide by its sine
)


def slerp(first: Tensor, second: Tensor, t: float) -> Tensor:
    """Spherical interpolation of two tensors of one shape, each seen as a single vector; t = 0
    gives the first.

    sin((1-t)Ω)/sin Ω · first + sin(tΩ)/sin Ω · second with Ω the angle between them. Lengths are
    not normalised. Nearly parallel or opposed vectors are interpolated along a straight line.
    """
    lengths = torch.linalg.vector_norm(first) * torch.linalg.vector_norm(second)
    cosine = (first * second).sum() / lengths if lengths > 0 else lengths
    if cosine.abs() > NEARLY_PARALLEL:
        return torch.lerp(first, second, t)
    angle = torch.arccos(cosine)
    return (torch.sin((1 - t) * angle) * first + torch.sin(t * angle) * second) / torch.sin(angle)


def trim(change: Weights, density: float) -> Weights:
    """A model's change with all but the share `density` of its entries set to 0: the largest stay,
    counted over the whole model.
    """
    sizes = torch.cat([tensor.abs().flatten() for tensor in change.values()])
    kept = max(1, round(density * len(sizes)))
    smallest = sizes.kthvalue(len(sizes) - kept + 1).values
    return {
        name: torch.where(tensor.abs() >= smallest, tensor, 0.0) for name, tensor in change.items()
    }


def agreed(changes: Sequence[Tensor]) -> Tensor:
    """Per entry, the mean over those changes, of one shape each, that have the sign of the sum of
    all; 0 where that sum is 0.
    """
    stacked = torch.stack(list(changes))
    sign = stacked.sum(0).sign()
    agreeing = (stacked.sign() == sign) & (sign != 0)
    return (stacked * agreeing).sum(0) / agreeing.sum(0).clamp(min=1)


def drop_and_rescale(changes: Sequence[Weights], drop_rate: float, seed: int) -> list[Weights]:
    """Each entry of each change set to 0 with probability `drop_rate`, the others divided by 1 -
    `drop_rate`: the mean stays.

    The draw is made on the CPU, so that it does not depend on the device.
    """
    generator = torch.Generator().manual_seed(seed)

    def drop(tensor: Tensor) -> Tensor:
        kept = (
            torch.empty(tensor.shape)
            .bernoulli_(1 - drop_rate, generator=generator)
            .to(tensor.device)
        )
        return tensor * kept / (1 - drop_rate)

    return [{name: drop(tensor) for name, tensor in change.items()} for change in changes]
