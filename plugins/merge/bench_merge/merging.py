"""Formulas of merging, as pure functions of float32 tensors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench import Skipped

if TYPE_CHECKING:
    from bench import Weights

NEARLY_PARALLEL = (
    0.9995  # above this |cosine| the angle is too small or too near to π to divide by its sine
)

TRANSPOSED = ".T"
"""After the name of a weight whose layer keeps it as (inputs, outputs), as GPT-2's do."""


def changes(start: Weights, parts: Sequence[Weights]) -> list[Weights]:
    """What each part changed; `Skipped` where a part has another shape than the start, so that
    nothing can be subtracted.
    """
    shape = {name: tensor.shape for name, tensor in start.items()}
    if any({name: tensor.shape for name, tensor in part.items()} != shape for part in parts):
        raise Skipped(
            "a part has other layers than the start, so there is no difference to merge: change the"
            " layers before the merge"
        )
    return [{name: part[name] - start[name] for name in start} for part in parts]


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


def elected(start: Weights, changes: Sequence[Weights], scale: float) -> Weights:
    """The start plus `scale` times the mean of those changes that agree on the sign."""
    return {
        name: start[name] + scale * agreed([change[name] for change in changes]) for name in start
    }


def stock(changes: Sequence[Tensor]) -> Tensor:
    """t times the mean of N changes of one shape, with t = N cos θ / (1 + (N−1) cos θ) and θ the
    angle between them (Jang et al. 2024, 2403.19522, eq. 6).

    For more than two, cos θ is the mean over all pairs. Changes that point apart (cos θ < 0) give
    nothing.
    """
    n = len(changes)
    pairs = combinations([change.flatten() for change in changes], 2)
    cosines = [torch.cosine_similarity(one, other, dim=0) for one, other in pairs]
    cosine = torch.stack(cosines).mean().clamp(0, 1)
    return n * cosine / (1 + (n - 1) * cosine) * sum(changes) / n


def middle(change: Tensor, beta: float, gamma: float) -> Tensor:
    """A tensor's change without its smallest entries, a share of `beta`, and without its largest, a
    share of 1 - `gamma` (Davari and Belilovsky 2023, 2312.06795, §3).
    """
    flat = change.flatten()
    by_size = flat.abs().argsort(stable=True)
    kept = by_size[round(beta * len(flat)) : round(gamma * len(flat))]
    return torch.zeros_like(flat).index_put((kept,), flat[kept]).reshape(change.shape)


def drop_chances(change: Tensor, drop_rate: float, epsilon: float) -> Tensor:
    """The chance to be dropped of each entry of a tensor's change, in its shape: in each row from
    `drop_rate` - ε/2 for the largest to `drop_rate` + ε/2 for the smallest, evenly by rank (Deep et
    al. 2024, 2406.11617, §3.1).
    """
    rows = change.reshape(-1, change.shape[-1]) if change.dim() else change.reshape(1, 1)
    last = max(rows.shape[1] - 1, 1)
    rank = rows.abs().argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    spread = rank / last - 0.5 if rows.shape[1] > 1 else torch.zeros_like(rows)
    return (drop_rate + epsilon * spread).reshape(change.shape)


def drop_small_rather(
    changes: Sequence[Weights], drop_rate: float, epsilon: float, seed: int
) -> list[Weights]:
    """Each entry of each change set to 0 with the chance of its rank, the others divided by one
    minus that chance: the mean stays. Drawn on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)

    def drop(tensor: Tensor) -> Tensor:
        kept = 1 - drop_chances(tensor, drop_rate, epsilon)
        drawn = torch.bernoulli(kept.cpu(), generator=generator).to(tensor.device)
        return tensor * drawn / kept

    return [{name: drop(tensor) for name, tensor in change.items()} for change in changes]


def mean(parts: Sequence[Tensor]) -> Tensor:
    """The plain mean of tensors of one shape."""
    return torch.stack(list(parts)).mean(0)


def fisher_mean(parts: Sequence[Tensor], fishers: Sequence[Tensor], floor: float) -> Tensor:
    """Σ F_i θ_i / Σ F_i entry by entry, no F_i below `floor` (Matena and Raffel 2021, 2111.09832,
    eq. 5).
    """
    weights = [fisher.clamp(min=floor) for fisher in fishers]
    total = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    return total / torch.stack(weights).sum(0)


def regression_mean(parts: Sequence[Tensor], grams: Sequence[Tensor], alpha: float) -> Tensor:
    """The weight of (outputs, inputs) whose outputs are nearest to those of all parts on their own
    inputs: (Σ W_i G_i) (Σ G_i)⁻¹, with G_i of (inputs, inputs), off its diagonal times `alpha` (Jin
    et al. 2022, 2212.09849, eq. 2 and §4.2).

    Where no input ever pointed, the parts' mean stays.
    """
    doubles = [gram.double() for gram in grams]
    shrunk = [alpha * g + (1 - alpha) * torch.diag(g.diagonal()) for g in doubles]
    weights = [part.double() for part in parts]
    between = mean(weights)
    moved = torch.stack([(w - between) @ g for w, g in zip(weights, shrunk, strict=True)]).sum(0)
    inverse = torch.linalg.pinv(torch.stack(shrunk).sum(0), hermitian=True)
    return (between + moved @ inverse).to(parts[0].dtype)


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
