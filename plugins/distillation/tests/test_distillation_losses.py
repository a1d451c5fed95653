"""Divergences: golden values, properties, gradients, and TRL's numbers on the same tensors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from bench_distillation.losses import divergence, jsd, kl, mean_of_each, with_rest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from torch import Tensor
from torch.nn.functional import cross_entropy
from trl.experimental.gkd import GKDTrainer
from trl.experimental.sdpo.loss_utils import compute_topk_self_distillation_loss

BETAS = (0.0, 0.1, 0.5, 0.9, 1.0)
seeds = st.integers(0, 10_000)


def _logits(seed: int, rows: int = 6, tokens: int = 9) -> Tensor:
    made = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(rows, tokens, generator=made, dtype=torch.float64)


def _log_probs(*probabilities: float) -> Tensor:
    return torch.tensor([probabilities], dtype=torch.float64).log()


# ── golden values ──


def test_golden_divergences_by_hand() -> None:
    teacher, student = _log_probs(0.75, 0.25), _log_probs(0.25, 0.75)
    assert float(kl(teacher, student)) == pytest.approx(0.5 * math.log(3))
    # the mixture is even: 0.75·ln 1.5 + 0.25·ln 0.5
    assert float(jsd(student, teacher, 0.5)) == pytest.approx(0.13081203594113697)
    # teacher (1/2, 1/2), student (9/10, 1/10): KL = ½·ln(5/9) + ½·ln 5, and .9·ln 1.8 + .1·ln .2
    teacher, student = _log_probs(0.5, 0.5), _log_probs(0.9, 0.1)
    assert float(jsd(student, teacher, 0.0)) == pytest.approx(0.5108256237659907)
    assert float(jsd(student, teacher, 1.0)) == pytest.approx(0.3680642071684971)


def test_divergences_are_those_of_scipy() -> None:
    student, teacher = _logits(1).log_softmax(-1), _logits(2).log_softmax(-1)
    p, q = teacher.exp().numpy(), student.exp().numpy()
    assert jsd(student, teacher, 0.0).tolist() == pytest.approx(entropy(p, q, axis=1))
    assert jsd(student, teacher, 1.0).tolist() == pytest.approx(entropy(q, p, axis=1))
    assert jsd(student, teacher, 0.5).tolist() == pytest.approx(
        [jensenshannon(one, other) ** 2 for one, other in zip(p, q, strict=True)]
    )


@pytest.mark.parametrize("beta", BETAS)
def test_loss_and_gradient_are_those_of_trls_gkd(beta: float) -> None:
    labels = torch.tensor([[-100, 4, 1], [2, -100, -100]])
    teacher = _logits(4).view(2, 3, 9)
    ours, theirs = (_logits(3).view(2, 3, 9).requires_grad_() for _ in range(2))
    learned = labels != -100
    loss = divergence(ours[learned], teacher[learned], beta).mean()
    expected = GKDTrainer.generalized_jsd_loss(theirs, teacher, labels, beta=beta)
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()
    expected.backward()
    assert ours.grad is not None and theirs.grad is not None
    assert torch.allclose(ours.grad, theirs.grad)
    assert float(ours.grad.norm()) > 1e-3


@pytest.mark.parametrize("beta", BETAS)
def test_loss_and_gradient_are_those_of_trls_sdpo(beta: float) -> None:
    teacher = _logits(6)
    ours, theirs = (_logits(5).requires_grad_() for _ in range(2))
    loss = divergence(ours, teacher, beta, top_k=3)
    expected = compute_topk_self_distillation_loss(
        theirs,
        teacher,
        distillation_topk=3,
        distillation_alpha=beta,
        distillation_add_tail=True,
    )
    assert loss.tolist() == pytest.approx(expected.tolist())
    loss.sum().backward()
    expected.sum().backward()
    assert ours.grad is not None and theirs.grad is not None
    assert torch.allclose(ours.grad, theirs.grad)


def test_the_forward_divergence_is_the_cross_entropy_with_soft_labels() -> None:
    student, teacher = _logits(7), _logits(8)
    labels = teacher.softmax(-1)
    expected = cross_entropy(student, labels, reduction="none") - cross_entropy(
        teacher, labels, reduction="none"
    )
    assert torch.allclose(divergence(student, teacher, 0.0), expected)


# ── properties ──


@given(seeds, st.sampled_from(BETAS))
def test_equal_predictions_are_not_apart(seed: int, beta: float) -> None:
    logits = _logits(seed)
    assert torch.allclose(divergence(logits, logits + 3.0, beta), torch.zeros(6).double())
    assert float(divergence(logits, logits.roll(1, -1), beta).min()) > 0


@given(seeds)
def test_in_the_middle_it_is_symmetric_and_bounded(seed: int) -> None:
    one, other = _logits(seed), _logits(seed + 1)
    assert torch.allclose(divergence(one, other, 0.5), divergence(other, one, 0.5))
    assert float(divergence(30 * one, 30 * other, 0.5).max()) <= math.log(2) + 1e-9


@given(seeds, st.floats(0.01, 0.99))
def test_turning_teacher_and_student_round_turns_beta_round(seed: int, beta: float) -> None:
    one, other = _logits(seed), _logits(seed + 1)
    assert torch.allclose(divergence(one, other, beta), divergence(other, one, 1 - beta))


def test_near_its_ends_it_is_a_share_of_the_two_divergences() -> None:
    student, teacher, small = _logits(9), _logits(10), 1e-6
    forward, reverse = divergence(student, teacher, 0.0), divergence(student, teacher, 1.0)
    assert torch.allclose(divergence(student, teacher, small) / small, forward, rtol=1e-3)
    assert torch.allclose(divergence(student, teacher, 1 - small) / small, reverse, rtol=1e-3)


@given(seeds, st.integers(1, 8), st.sampled_from(BETAS))
def test_classes_put_together_are_never_further_apart(seed: int, top_k: int, beta: float) -> None:
    student, teacher = _logits(seed), _logits(seed + 1)
    together = divergence(student, teacher, beta, top_k)
    assert bool((together <= divergence(student, teacher, beta) + 1e-6).all())
    share = with_rest(student.log_softmax(-1)[:, :top_k]).exp().sum(-1)
    assert torch.allclose(share, torch.ones(6).double(), atol=1e-6)


@pytest.mark.parametrize("top_k", [9, 100])
def test_where_every_token_is_among_the_top_nothing_is_put_together(top_k: int) -> None:
    student, teacher = _logits(11), _logits(12)
    assert torch.equal(divergence(student, teacher, 0.5, top_k), divergence(student, teacher, 0.5))


def test_rows_of_logits_that_stand_for_no_token_do_not_count() -> None:
    student, teacher = _logits(13), _logits(14)
    wider = torch.cat([teacher, 50 * torch.ones(6, 2).double()], dim=1)
    assert torch.equal(divergence(student, wider, 0.5), divergence(student, teacher, 0.5))


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("top_k", [None, 4])
def test_gradient_is_that_of_finite_differences(beta: float, top_k: int | None) -> None:
    teacher = _logits(16).requires_grad_()

    def of_student(logits: Tensor) -> Tensor:
        return divergence(logits, teacher, beta, top_k)

    assert torch.autograd.gradcheck(of_student, _logits(15).requires_grad_())
    of_student(_logits(15).requires_grad_()).sum().backward()
    assert teacher.grad is None, "the teacher learns nothing"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_certain_predictions_stay_finite(dtype: Any) -> None:
    sure = torch.tensor([[200.0, 0.0, 0.0]], dtype=dtype).requires_grad_()
    other = torch.tensor([[0.0, 200.0, 0.0]], dtype=dtype)
    for beta in BETAS:
        for top_k in (None, 1):
            loss = divergence(sure, other, beta, top_k)
            (gradient,) = torch.autograd.grad(loss.sum(), sure)
            assert bool(loss.isfinite().all() and gradient.isfinite().all())


def test_a_completion_counts_once_however_long_it_is() -> None:
    values = torch.tensor([1.0, 2.0, 6.0, 5.0])
    assert mean_of_each(values, torch.tensor([3, 1])).tolist() == [3.0, 5.0]
