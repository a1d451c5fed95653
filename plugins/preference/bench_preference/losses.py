"""The losses of the papers, as functions of log-probabilities alone.

All logarithms are natural, and a log-probability is that of a whole completion with its end, log
π(y|x) = Σ_t log π(y_t|x, y_<t), in nats; a mean one is divided by the tokens of the completion; a
log-ratio is log π(y|x) - log π_ref(y|x). Each function takes tensors of shape (pairs,) and gives
the loss of each pair, of shape (pairs,), unless it says otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu


def dpo(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """-log σ(β(h_w - h_l)) of the log-ratios h. Rafailov et al. 2023, 2305.18290, eq. 7."""
    return -logsigmoid(beta * (chosen - rejected))


def robust_dpo(chosen: Tensor, rejected: Tensor, beta: float, noise: float) -> Tensor:
    """((1 - ε) L(h_w, h_l) - ε L(h_l, h_w)) / (1 - 2ε) of the log-ratios h, where L is the loss of
    DPO: its expectation over labels that are flipped at the rate ε is L of the true labels.
    Chowdhury et al. 2024, 2403.00409, §3.1.
    """
    kept, flipped = dpo(chosen, rejected, beta), dpo(rejected, chosen, beta)
    return ((1 - noise) * kept - noise * flipped) / (1 - 2 * noise)


def hinge_norm(chosen: Tensor, rejected: Tensor, gamma: float) -> Tensor:
    """max(0, 1 - γ(h_w - h_l)) of the log-ratios h. Liu et al. 2023, 2309.06657, eq. 10."""
    return relu(1 - gamma * (chosen - rejected))


def ipo(chosen: Tensor, rejected: Tensor, tau: float) -> Tensor:
    """((h_w - h_l) - 1/(2τ))² of the log-ratios h. Azar et al. 2023, 2310.12036, eq. 17."""
    return (chosen - rejected - 1 / (2 * tau)).square()


def kto(
    ratios: Tensor,
    desirable: Tensor,
    baseline: Tensor,
    beta: float,
    desirable_weight: float,
    undesirable_weight: float,
) -> Tensor:
    """λ_D(1 - σ(β(h - z₀))) of desirable completions, λ_U(1 - σ(β(z₀ - h))) of others. Ethayarajh
    et al. 2024, 2402.01306, eq. 7.

    `ratios` h and the truth values `desirable` have the shape (rows,), `baseline` z₀ none; the
    losses have the shape (rows,).
    """
    value = beta * (ratios - baseline)
    good, bad = desirable_weight * torch.sigmoid(-value), undesirable_weight * torch.sigmoid(value)
    return torch.where(desirable, good, bad)


def kto_baseline(mismatched: Tensor) -> Tensor:
    """z₀ = max(0, mean log-ratio of completions of other prompts), without shape and gradient.
    Ethayarajh et al. 2024, §4.1.
    """
    return mismatched.detach().mean().clamp(min=0)


def log_odds(mean: Tensor) -> Tensor:
    """log(P / (1 - P)) of P = exp(mean log-probability). Hong et al. 2024, 2403.07691, eq. 4."""
    return mean - torch.log(-torch.expm1(mean.clamp(max=-torch.finfo(mean.dtype).eps)))


def odds_ratio(chosen: Tensor, rejected: Tensor) -> Tensor:
    """-log σ(log odds_w - log odds_l) of mean log-probabilities. Hong et al. 2024, eq. 7."""
    return -logsigmoid(log_odds(chosen) - log_odds(rejected))


def simpo(chosen: Tensor, rejected: Tensor, beta: float, gamma: float) -> Tensor:
    """-log σ(β(p_w - p_l) - γ) of mean log-probabilities p. Meng et al. 2024, 2405.14734, eq. 6."""
    return -logsigmoid(beta * (chosen - rejected) - gamma)


def cpo(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """-log σ(β(log π_w - log π_l)) of log-probabilities. Xu et al. 2024, 2401.08417, eq. 3, the
    term L_prefer.
    """
    return -logsigmoid(beta * (chosen - rejected))


def slic(chosen: Tensor, rejected: Tensor, target: Tensor, delta: float, lam: float) -> Tensor:
    """max(0, δ - log π_w + log π_l) - λ log π(y_ref) of log-probabilities. Zhao et al. 2023,
    2305.10425, eq. 1.
    """
    return relu(delta - chosen + rejected) - lam * target


def rrhf_rank(means: Tensor, scores: Tensor) -> Tensor:
    """Σ over r_i < r_j of max(0, p_i - p_j), a single number. Yuan et al. 2023, 2304.05302, §3.1,
    L_rank.

    `means` p are mean log-probabilities of the candidates of one prompt, `scores` r their scores,
    both of shape (candidates,).
    """
    worse = scores[:, None] < scores[None, :]
    return (relu(means[:, None] - means[None, :]) * worse).sum()


def bradley_terry(chosen: Tensor, rejected: Tensor) -> Tensor:
    """-log σ(r_w - r_l) of rewards. Ouyang et al. 2022, 2203.02155, eq. 1."""
    return -logsigmoid(chosen - rejected)
