"""The losses of the preference methods: golden values, gradients against finite differences,
and properties.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from bench_preference import losses
from bench_preference.likelihood import Likelihoods
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

finite = st.floats(-30, 30)
log_probability = st.floats(-30, -1e-3)


def number(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


# One pair: log-probabilities -10 and -9, under the reference -11 and -8, of 5 and 4 tokens.
CHOSEN, REJECTED = Likelihoods(number(-10.0), number(5)), Likelihoods(number(-9.0), number(4))
H_W, H_L = number(-10.0 + 11.0), number(-9.0 + 8.0)
GOLDEN = [
    ("dpo", losses.dpo(H_W, H_L, 0.1), 0.5981388693815918),
    ("ipo", losses.ipo(H_W, H_L, 0.1), 9.0),
    (
        "kto desirable",
        losses.kto(H_W, torch.tensor([True]), torch.tensor(0.3), 0.1, 1, 1),
        0.48250714233361025,
    ),
    (
        "kto undesirable",
        losses.kto(H_L, torch.tensor([False]), torch.tensor(0.3), 0.1, 1, 1),
        0.4675456936126813,
    ),
    ("orpo", losses.odds_ratio(CHOSEN.mean, REJECTED.mean), 0.5611801315991908),
    ("simpo", losses.simpo(CHOSEN.mean, REJECTED.mean, 2.5, 1.375), 1.1368710061148999),
    ("cpo", losses.cpo(CHOSEN.logp, REJECTED.logp, 0.1), 0.744396660073571),
    ("slic", losses.slic(CHOSEN.logp, REJECTED.logp, number(-12.0), 1.0, 0.5), 8.0),
    ("slic hinge", losses.slic(CHOSEN.logp, REJECTED.logp, number(-12.0), 1.0, 0.0), 2.0),
    (
        "rrhf",
        losses.rrhf_rank(
            torch.tensor([-1.0, -0.5, -2.0, -0.8]), torch.tensor([3.0, 1.0, 2.0, 0.0])
        ),
        3.4,
    ),
    ("bradley-terry", losses.bradley_terry(number(1.2), number(0.5)), 0.4031860488854579),
]


@pytest.mark.parametrize(("name", "got", "expected"), GOLDEN, ids=[name for name, *_ in GOLDEN])
def test_golden_values(name: str, got: Tensor, expected: float) -> None:
    assert float(got) == pytest.approx(expected, abs=1e-6)


DESIRABLE = torch.tensor([True, False, True])
OF_TWO: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "dpo": lambda a, b: losses.dpo(a, b, 0.1),
    "ipo": lambda a, b: losses.ipo(a, b, 0.1),
    "kto": lambda a, b: losses.kto(a, DESIRABLE, torch.tensor(0.3), 0.1, 1.3, 0.7) + b,
    "odds ratio": losses.odds_ratio,
    "simpo": lambda a, b: losses.simpo(a, b, 2.0, 1.0),
    "cpo": lambda a, b: losses.cpo(a, b, 0.1),
    "slic": lambda a, b: losses.slic(a, b, a, 1.0, 0.1),
    "rrhf": lambda a, b: losses.rrhf_rank(
        torch.cat([a, b]), torch.tensor([2.0, 0.0, 1.0, 1.0, 3.0, 0.5])
    ),
    "bradley-terry": losses.bradley_terry,
}


@pytest.mark.parametrize("name", OF_TWO)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    chosen = torch.tensor([-0.7, -1.9, -3.1], dtype=torch.float64, requires_grad=True)
    rejected = torch.tensor([-1.2, -0.4, -2.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(OF_TWO[name], (chosen, rejected))


@pytest.mark.parametrize("name", ["dpo", "odds ratio", "simpo", "cpo", "bradley-terry"])
@given(chosen=log_probability, rejected=log_probability, more=st.floats(0, 5))
def test_a_better_margin_never_costs_more(
    name: str, chosen: float, rejected: float, more: float
) -> None:
    loss = OF_TWO[name]
    assert (
        float(loss(number(chosen), number(rejected - more)))
        <= float(loss(number(chosen), number(rejected))) + 1e-12
    )


@given(chosen=finite, shift=finite, tau=st.floats(0.01, 1))
def test_ipo_is_least_at_its_margin(chosen: float, shift: float, tau: float) -> None:
    at_margin = number(chosen - 1 / (2 * tau))
    assert float(losses.ipo(number(chosen), at_margin, tau)) == pytest.approx(0, abs=1e-9)
    assert float(losses.ipo(number(chosen), at_margin + shift, tau)) == pytest.approx(
        shift**2, abs=1e-6
    )


@given(
    ratio=finite,
    baseline=st.floats(0, 10),
    beta=st.floats(0.01, 1),
    weights=st.tuples(st.floats(0.5, 2), st.floats(0.5, 2)),
)
def test_kto_is_bounded_and_half_at_the_baseline(
    ratio: float, baseline: float, beta: float, weights: tuple[float, float]
) -> None:
    both = torch.tensor([True, False])
    good, bad = losses.kto(
        number(ratio).expand(2), both, number(baseline)[0], beta, *weights
    ).tolist()
    assert 0 <= good <= weights[0]
    assert 0 <= bad <= weights[1]
    assert good / weights[0] + bad / weights[1] == pytest.approx(1)
    at_baseline = losses.kto(number(baseline).expand(2), both, number(baseline)[0], beta, *weights)
    assert at_baseline.tolist() == pytest.approx([weights[0] / 2, weights[1] / 2])


def test_the_baseline_of_kto_is_never_negative_and_has_no_gradient() -> None:
    assert float(losses.kto_baseline(torch.tensor([-1.0, -2.0]))) == 0
    ratios = torch.tensor([1.0, 2.0], requires_grad=True)
    baseline = losses.kto_baseline(ratios)
    assert float(baseline) == 1.5
    assert not baseline.requires_grad


@given(mean=st.floats(-20, -1e-4))
def test_log_odds_are_those_of_the_probability(mean: float) -> None:
    probability = math.exp(mean)
    assert float(losses.log_odds(number(mean))) == pytest.approx(
        math.log(probability / (1 - probability)), rel=1e-6, abs=1e-6
    )


def test_certainty_has_finite_odds_and_no_broken_gradient() -> None:
    certain = torch.zeros(1, requires_grad=True)
    losses.odds_ratio(certain, torch.tensor([-1.0])).sum().backward()
    assert torch.isfinite(losses.log_odds(certain)).all()
    assert certain.grad is not None
    assert torch.isfinite(certain.grad).all()


@given(rejected=finite, beyond=st.floats(1e-3, 20), delta=st.floats(0.1, 5))
def test_the_hinge_of_slic_has_no_gradient_beyond_its_margin(
    rejected: float, beyond: float, delta: float
) -> None:
    chosen = number(rejected + delta + beyond).requires_grad_()
    other = number(rejected).requires_grad_()
    losses.slic(chosen, other, number(-1.0), delta, 0.1).sum().backward()
    assert chosen.grad is not None
    assert other.grad is not None
    assert float(chosen.grad) == float(other.grad) == 0


@given(st.lists(st.tuples(finite, st.integers(0, 4)), min_size=2, max_size=6), st.randoms())
def test_rrhf_ranks_whatever_the_order_of_the_candidates(
    candidates: list[tuple[float, int]], chance: Any
) -> None:
    def rank(rows: list[tuple[float, int]]) -> float:
        return float(
            losses.rrhf_rank(
                torch.tensor([p for p, _ in rows], dtype=torch.float64),
                torch.tensor([float(r) for _, r in rows]),
            )
        )

    by_hand = sum(max(0.0, p - q) for p, r in candidates for q, better in candidates if r < better)
    shuffled = chance.sample(candidates, len(candidates))
    assert rank(candidates) == pytest.approx(by_hand, abs=1e-9)
    assert rank(shuffled) == pytest.approx(by_hand, abs=1e-9)
    agreeing = [(float(r), r) for _, r in candidates]
    assert rank(agreeing) == 0


@given(better=finite, worse=finite)
def test_rrhf_of_two_candidates_is_the_hinge_of_slic_without_margin(
    better: float, worse: float
) -> None:
    rank = losses.rrhf_rank(
        torch.tensor([better, worse], dtype=torch.float64), torch.tensor([1.0, 0.0])
    )
    assert float(rank) == pytest.approx(
        float(losses.slic(number(better), number(worse), number(0.0), 0.0, 0.0)), abs=1e-9
    )
