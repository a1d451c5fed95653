"""How far the predictions of two models are apart, as functions of tensors alone.

Shapes: n predictions over a vocabulary of v tokens, (n, v). All divergences are in nats.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

FULLEST = -1e-7
"""Largest logarithm of the share of the top k: what is left keeps a finite logarithm."""


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p ‖ q) of each prediction from log-probabilities: (n, v) to (n,)."""
    return (p.exp() * (p - q)).sum(-1)


def jsd(student: Tensor, teacher: Tensor, beta: float) -> Tensor:
    """Generalised Jensen-Shannon divergence of log-probabilities, (n, v) to (n,):
    β·KL(teacher ‖ m) + (1 − β)·KL(student ‖ m) with m = β·teacher + (1 − β)·student (Agarwal et al.
    2023, 2306.13649, eq. 1).

    β = 0 stands for KL(teacher ‖ student) and β = 1 for KL(student ‖ teacher), which it comes to at
    its ends, divided by β and 1 − β.
    """
    if beta == 0:
        return kl(teacher, student)
    if beta == 1:
        return kl(student, teacher)
    mixture = torch.logaddexp(student + math.log1p(-beta), teacher + math.log(beta))
    return beta * kl(teacher, mixture) + (1 - beta) * kl(student, mixture)


def divergence(
    student_logits: Tensor, teacher_logits: Tensor, beta: float, top_k: int | None = None
) -> Tensor:
    """`jsd` of logits, (n, v) to (n,); no gradient reaches the teacher.

    With `top_k`, over the tokens that the student finds most likely and one more class for all
    others (Hübotter et al. 2026, 2601.20802, §2.3). A model may have more rows of logits than there
    are tokens; only those count that both have.
    """
    width = min(student_logits.shape[-1], teacher_logits.shape[-1])
    student = student_logits[:, :width].log_softmax(-1)
    teacher = teacher_logits[:, :width].detach().log_softmax(-1)
    if top_k is not None and top_k < width:
        kept = student.topk(top_k, dim=-1).indices
        student, teacher = with_rest(student.gather(-1, kept)), with_rest(teacher.gather(-1, kept))
    return jsd(student, teacher, beta)


def with_rest(log_probs: Tensor) -> Tensor:
    """Log-probabilities of some tokens, and of all others together: (n, k) to (n, k + 1)."""
    share = log_probs.logsumexp(-1, keepdim=True).clamp(max=FULLEST)
    return torch.cat([log_probs, torch.log(-torch.expm1(share))], dim=-1)


def mean_of_each(values: Tensor, counts: Tensor) -> Tensor:
    """Mean over each completion's tokens, which stand one after the other: (n,) to (completions,);
    `counts` says how many tokens each has, (completions,).
    """
    owner = torch.repeat_interleave(torch.arange(len(counts), device=values.device), counts)
    return values.new_zeros(len(counts)).index_add(0, owner, values) / counts
