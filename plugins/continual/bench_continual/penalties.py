"""The terms that these methods add to a loss or to a step. Sequences of tensors follow the order of
the model's parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer


def copies(model: nn.Module) -> list[Tensor]:
    """The present parameters in float32, apart from the model."""
    return [p.detach().to(torch.float32, copy=True) for p in model.parameters()]


def l2_sp(parameters: Sequence[Tensor], start: Sequence[Tensor], alpha: float) -> Tensor:
    """α/2 ‖w−w⁰‖² over all parameters, a scalar (Li et al. 2018, 1802.01483, §3; a language model
    has no new layers for its β).
    """
    parts = [(w - w0).square().sum() for w, w0 in zip(parameters, start, strict=True)]
    return alpha / 2 * torch.stack(parts).sum()


def ewc(
    parameters: Sequence[Tensor],
    start: Sequence[Tensor],
    fisher: Sequence[Tensor],
    ewc_lambda: float,
) -> Tensor:
    """λ/2 Σ F (θ−θ*)² over all parameters, a scalar (Kirkpatrick et al. 2017, eq. 3)."""
    parts = [
        (f * (p - p0).square()).sum() for p, p0, f in zip(parameters, start, fisher, strict=True)
    ]
    return ewc_lambda / 2 * torch.stack(parts).sum()


def importance(trajectory: Tensor, moved: Tensor, xi: float) -> Tensor:
    """ω / (Δ² + ξ) of each weight, in its shape: by how much its moves lowered the loss, for the
    way it went; 0 where they raised it (Zenke et al. 2017, 1703.04200, eq. 5).
    """
    return trajectory.clamp(min=0) / (moved.square() + xi)


def project(gradients: Sequence[Tensor], reference: Sequence[Tensor]) -> None:
    """g ← g − (g·r / r·r) r where g·r < 0, in place, g and r being all tensors as one vector
    (Chaudhry et al. 2018, 1812.00420, eq. 11).
    """
    inner = torch.stack([(g * r).sum() for g, r in zip(gradients, reference, strict=True)]).sum()
    length = torch.stack([r.square().sum() for r in reference]).sum()
    against = inner.clamp(max=0) / length.clamp(min=torch.finfo(length.dtype).tiny)
    for gradient, other in zip(gradients, reference, strict=True):
        gradient.sub_(against * other)


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² KL(teacher‖student) at temperature T in nats, (tokens,), from logits of (tokens,
    vocabulary).

    Li and Hoiem 2016, 1606.09282, §3, is the cross-entropy of the same two distributions: it
    differs by the teacher's entropy, which has no gradient. T² keeps gradients at their size
    (Hinton et al. 2015, 1503.02531, §2).
    """
    wanted = teacher.div(temperature).log_softmax(-1)
    given = student.div(temperature).log_softmax(-1)
    return temperature**2 * F.kl_div(given, wanted, log_target=True, reduction="none").sum(-1)


def orthogonality(pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor | float:
    """Σ |A_i A_tᵀ| over all entries, and over pairs of an earlier A_i and the present A_t, each of
    (rank, inputs); 0 without pairs.

    As in the authors' program, which the λ₁ = 0.5 of their experiments belongs to. Wang et al.
    2023, 2310.14152, eq. 8, prints squares, which are too small near 0 to hold anything at this
    weight. Their A is the transpose of PEFT's.
    """
    return sum((before @ now.T).abs().sum() for before, now in pairs)


def annealed(progress: float, k: float, t0: float) -> float:
    """λ(t) = 1 / (1 + exp(−k (t−t0))): the target's weight, 0..1 (Chen et al. 2020, 2004.12651,
    §3).
    """
    # the same function, which cannot overflow
    return 0.5 * (1 + math.tanh(k * (progress - t0) / 2))


def recall(optimizer: Optimizer, start: Sequence[Tensor], gamma: float, weight: float) -> None:
    """Before a step of an optimizer over parameters that began at `start`: pull them back, and
    leave `weight` of its rate to the step.

    Both together are θ ← θ − η (λ·Adam + (1−λ) γ (θ−θ*)); the pull is outside of Adam's moments,
    and goes no further than to θ* (Chen et al. 2020, 2004.12651, Algorithm 1; the authors' program
    pulls after Adam's step, by an already updated θ).
    """
    (group,) = optimizer.param_groups
    with torch.no_grad():
        pull = min(1.0, group["lr"] * (1 - weight) * gamma)  # never past the start
        for parameter, origin in zip(group["params"], start, strict=True):
            parameter.sub_(parameter - origin, alpha=pull)
    group["lr"] *= weight  # the schedule sets it again before the next step
