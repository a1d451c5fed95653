"""What the methods against forgetting add to a loss, a step or a weight: numbers worked out by
hand, gradients, what always holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from bench_continual.fisher import diagonal_fisher, drawn_log_likelihood
from bench_continual.mixing import mixout, soup, wise_ft
from bench_continual.penalties import annealed, distillation, ewc, l2_sp, orthogonality, recall
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

THETA, STAR, FISHER = (
    [torch.tensor([1.0, 2.0])],
    [torch.tensor([0.5, 2.5])],
    [torch.tensor([4.0, 1.0])],
)
STUDENT, TEACHER = torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([[2.0, 1.0, 0.0]])


def _double(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(
        *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    ).requires_grad_()


def test_ewc_is_worked_out_by_hand() -> None:
    assert ewc(THETA, STAR, FISHER, 2.0).item() == pytest.approx(1.25)


def test_l2_sp_is_worked_out_by_hand() -> None:
    assert l2_sp(THETA, STAR, 2.0).item() == pytest.approx(0.5)


def test_recadam_is_worked_out_by_hand() -> None:
    weight = annealed(300, k=0.1, t0=250)
    assert weight == pytest.approx(0.9933071490757153, abs=1e-12)
    assert weight * 1.5 + (1 - weight) * l2_sp(THETA, STAR, 5000.0).item() == pytest.approx(
        9.856024378969488, rel=1e-6
    )


def test_distillation_is_worked_out_by_hand() -> None:
    assert distillation(STUDENT, TEACHER, 2.0).item() == pytest.approx(
        0.12396245133250453, rel=1e-5
    )
    softened = TEACHER / 2
    entropy = -(softened.softmax(-1) * softened.log_softmax(-1)).sum().item()
    cross_entropy = 1.0511819495599575  # Li and Hoiem's form
    assert distillation(STUDENT, TEACHER, 2.0).item() / 4 + entropy == pytest.approx(
        cross_entropy, rel=1e-6
    )


def test_orthogonality_is_the_programs_absolute_value_which_its_weight_belongs_to() -> None:
    before, now = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, -2.0]])
    assert (before @ now.T).square().sum().item() == 5, "what the paper prints"
    assert float(orthogonality([(before, now)])) == 3
    assert float(orthogonality([(before, now), (before, now)])) == 6
    assert orthogonality([]) == 0


def test_mixout_is_worked_out_by_hand() -> None:
    mixed = mixout(THETA[0], STAR[0], torch.tensor([True, False]), 0.7)
    assert mixed.tolist() == pytest.approx([0.5, 0.8333333333333333], rel=1e-6)


def test_wise_ft_is_worked_out_by_hand() -> None:
    assert wise_ft(STAR[0], THETA[0], 0.5).tolist() == [0.75, 2.25]


@pytest.mark.parametrize(
    ("term", "shapes"),
    [
        (lambda w: l2_sp([w], [torch.zeros(3, 4).double()], 0.3), [(3, 4)]),
        (
            lambda w: ewc([w], [torch.ones(3, 4).double()], [torch.rand(3, 4).double()], 7.0),
            [(3, 4)],
        ),
        (lambda s: distillation(s, _double(5, 7, seed=1).detach(), 2.0).mean(), [(5, 7)]),
        (
            lambda a: orthogonality(
                [(_double(2, 6, seed=1).detach(), a), (_double(4, 6, seed=2).detach(), a)]
            ),
            [(3, 6)],
        ),
        (lambda w: mixout(w, torch.ones(3, 4).double(), torch.eye(3, 4).bool(), 0.4), [(3, 4)]),
    ],
    ids=["l2-sp", "ewc", "distillation", "orthogonality", "mixout"],
)
def test_gradients_agree_with_finite_differences(
    term: Callable[..., Tensor], shapes: list[tuple[int, ...]]
) -> None:
    state = torch.random.get_rng_state()

    def repeatable(*inputs: Tensor) -> Tensor:
        torch.random.set_rng_state(state)
        return term(*inputs)

    assert torch.autograd.gradcheck(repeatable, tuple(_double(*shape) for shape in shapes))


@given(st.floats(0.5, 4), st.integers(0, 1000))
def test_distillation_is_nothing_for_the_teacher_itself_and_more_for_anybody_else(
    temperature: float, seed: int
) -> None:
    teacher, other = _double(4, 9, seed=seed).detach(), _double(4, 9, seed=seed + 1)
    same = teacher.clone().requires_grad_()
    nothing = distillation(same, teacher, temperature).mean()
    (gradient,) = torch.autograd.grad(nothing, same)
    assert nothing.item() == pytest.approx(0, abs=1e-12)
    assert gradient.abs().max() < 1e-12
    assert (distillation(other, teacher, temperature) > 0).all()
    shifted = distillation(other + 3.0, teacher - 2.0, temperature)
    assert torch.allclose(shifted, distillation(other, teacher, temperature))


@given(st.floats(0, 1), st.floats(1, 500), st.floats(0.1, 0.9))
def test_the_target_takes_over_by_and_by(progress: float, k: float, t0: float) -> None:
    weight = annealed(progress, k, t0)
    assert 0 <= weight <= 1
    assert annealed(t0, k, t0) == 0.5
    assert annealed(min(1.0, progress + 0.1), k, t0) >= weight
    if k * abs(progress - t0) < 30:
        assert weight == pytest.approx(
            1 / (1 + math.exp(-k * (progress - t0))), rel=1e-3, abs=1e-15
        )


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_pull_of_recadam_stands_outside_of_adams_moments(weight: float) -> None:
    """Both parts apart: Adam's own step, scaled, and plain gradient descent on the quadratic."""
    parameter, alone = (torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    start, gradient = torch.tensor([0.5, -1.0]), torch.tensor([0.2, -0.1])
    pulled, plain = (torch.optim.AdamW([p], lr=0.01, weight_decay=0.0) for p in (parameter, alone))
    for _ in range(3):
        origin = parameter.detach().clone()
        (pull,) = torch.autograd.grad(l2_sp([parameter], [start], 20.0), parameter)
        before = alone.detach().clone()
        parameter.grad, alone.grad = gradient.clone(), gradient.clone()
        pulled.param_groups[0]["lr"] = 0.01
        recall(pulled, [start], 20.0, weight)
        pulled.step()
        plain.step()
        expected = origin + weight * (alone.detach() - before) - 0.01 * (1 - weight) * pull
        assert torch.allclose(parameter.detach(), expected, atol=1e-6)
        gradient = gradient * -1.5


@given(st.floats(0, 0.95), st.integers(0, 1000))
def test_mixout_gives_the_start_or_an_exaggerated_weight(p: float, seed: int) -> None:
    weight, start = _double(4, 5, seed=seed).detach(), _double(4, 5, seed=seed + 1).detach()
    mask = torch.rand(4, 5, generator=torch.Generator().manual_seed(seed)) < p
    mixed = mixout(weight, start, mask, p)
    assert torch.allclose(mixed[mask], start[mask])
    assert torch.allclose(mixed[~mask], start[~mask] + (weight - start)[~mask] / (1 - p))
    assert torch.allclose(mixout(start, start, mask, p), start)


def test_the_mean_of_mixout_over_masks_is_the_weight() -> None:
    weight, start, draws = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 2.5]), 100_000
    torch.manual_seed(0)
    masks = torch.rand(draws, 2) < 0.7
    mean = mixout(weight.expand(draws, 2), start.expand(draws, 2), masks, 0.7).mean(0)
    error = 0.5 * math.sqrt(0.7 / 0.3 / draws)  # |w−u| √(p/(1−p)/n)
    assert torch.allclose(mean, weight, atol=4 * error)


def test_mixout_without_chance_is_the_weight_bit_for_bit() -> None:
    weight = torch.randn(50)
    assert torch.equal(
        mixout(weight, torch.randn(50), torch.zeros(50, dtype=torch.bool), 0.0), weight
    )


@given(
    st.lists(st.lists(st.floats(-9, 9, width=32), min_size=2, max_size=2), min_size=1, max_size=5)
)
def test_a_soup_is_the_mean(models: list[list[float]]) -> None:
    (mean,) = soup([torch.tensor(weights)] for weights in models)
    assert mean.tolist() == pytest.approx(torch.tensor(models).double().mean(0).tolist(), abs=1e-5)


def test_the_fisher_information_of_logistic_regression_has_its_closed_form() -> None:
    """diag(Xᵀ p(1−p) X) / n, within what its random answers allow; batch means would give a
    fortieth of it.
    """
    torch.manual_seed(0)
    inputs = torch.randn(40, 3) * torch.tensor([1.0, 2.0, 0.5])
    weight = torch.tensor([0.7, -0.4, 1.0], requires_grad=True)
    chance = torch.sigmoid(inputs @ weight.detach())
    closed = (inputs.square() * (chance * (1 - chance))[:, None]).mean(0)

    draws = 100
    estimates = []
    for _ in range(draws):
        found = diagonal_fisher(
            [weight],
            (
                drawn_log_likelihood(torch.stack([torch.zeros(()), x @ weight])[None])
                for x in inputs
            ),
        )
        estimates.append(found[0])
    spread = torch.stack(estimates).std(0) / math.sqrt(draws)
    assert ((torch.stack(estimates).mean(0) - closed).abs() < 4 * spread).all()
    assert (4 * spread < 0.2 * closed).all()


def test_the_fisher_information_of_several_tokens_is_that_of_their_sum() -> None:
    """Tokens of one answer share one gradient: what they are drawn from is one distribution over
    answers.
    """
    weight = torch.tensor([0.5], requires_grad=True)
    torch.manual_seed(0)
    answers = (
        drawn_log_likelihood(torch.stack([torch.zeros(2), torch.tensor([1.0, 2.0]) * weight], 1))
        for _ in range(4000)
    )
    (found,) = diagonal_fisher([weight], answers)
    chance = torch.sigmoid(torch.tensor([0.5, 1.0]))
    closed = (torch.tensor([1.0, 4.0]) * chance * (1 - chance)).sum().item()
    assert found.item() == pytest.approx(closed, rel=0.1)
