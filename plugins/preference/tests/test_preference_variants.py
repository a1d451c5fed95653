"""DPO's variants, TPO and RSO: golden values, properties, and what TRL computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bench_preference import CPO, DPO, LDDPO, TPO, DPONorm, RobustDPO, losses
from bench_preference.likelihood import Likelihoods, paired_log_ratios
from bench_preference.triples import triple
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bench.data.formats import Format
from bench.testing import tiny_session

from .by_trl import dpo_trainer

finite = st.floats(-30, 30)
LONG_AND_SHORT = {
    "prompt": ["smallest of 84 92 78 ?", "smallest of 59 71 41 ?", "swap tom and ann ?"],
    "chosen": [" 78", " 4 1 4 1", " tom ann tom"],
    "rejected": [" 9 2 8", " 71", " ann"],
}


def number(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


# Worked out by hand for log-ratios 1 and -1: β(h_w - h_l) = .2, -log σ(.2) = .598139 and
# -log σ(-.2) = .798139; (.9 · .598139 - .1 · .798139) / .8 = .573139.
GOLDEN = [
    ("robust", losses.robust_dpo(number(1.0), number(-1.0), 0.1, 0.1), 0.5731388693815918),
    ("hinge within its margin", losses.hinge_norm(number(1.0), number(-1.0), 0.05), 0.9),
    ("hinge beyond its margin", losses.hinge_norm(number(30.0), number(-1.0), 0.05), 0.0),
]


@pytest.mark.parametrize(("name", "got", "expected"), GOLDEN, ids=[name for name, *_ in GOLDEN])
def test_golden_values(name: str, got: Tensor, expected: float) -> None:
    assert float(got) == pytest.approx(expected, abs=1e-9)


@given(chosen=finite, rejected=finite, beta=st.floats(0.01, 1), noise=st.floats(0, 0.45))
def test_robust_dpo_is_in_expectation_the_dpo_of_the_true_labels(
    chosen: float, rejected: float, beta: float, noise: float
) -> None:
    a, b = number(chosen), number(rejected)
    as_labelled, flipped = (
        float(losses.robust_dpo(one, other, beta, noise)) for one, other in ((a, b), (b, a))
    )
    expected = (1 - noise) * as_labelled + noise * flipped
    assert expected == pytest.approx(float(losses.dpo(a, b, beta)), abs=1e-6)
    assert float(losses.robust_dpo(a, b, beta, 0.0)) == float(losses.dpo(a, b, beta))


@pytest.mark.parametrize("loss", [losses.robust_dpo, losses.hinge_norm])
def test_gradients_agree_with_finite_differences(loss: Any) -> None:
    chosen = torch.tensor([-0.7, -1.9, -3.1], dtype=torch.float64, requires_grad=True)
    rejected = torch.tensor([-1.2, -0.4, -2.3], dtype=torch.float64, requires_grad=True)
    rest = (0.3, 0.2) if loss is losses.robust_dpo else (0.3,)
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, *rest), (chosen, rejected))


# ── what a token counts ──

LABELLED = torch.tensor(
    [[0, 1, 1, 0, 0], [0, 0, 1, 1, 1], [0, 1, 1, 1, 1], [0, 0, 1, 0, 0]], dtype=torch.bool
)
"""Two chosen completions of 2 and 3 tokens, and the rejected ones of 4 and 1."""


def test_dpo_norm_weighs_every_completion_the_same() -> None:
    weights = DPONorm().weights(LABELLED)
    assert weights.sum(1).tolist() == pytest.approx([1, 1, 1, 1])
    assert (weights > 0).equal(LABELLED)


def test_ld_dpo_weighs_tokens_beyond_the_shorter_completion_less() -> None:
    expected = [[0, 1, 1, 0, 0], [0, 0, 1, 0.5, 0.5], [0, 1, 1, 0.5, 0.5], [0, 0, 1, 0, 0]]
    assert LDDPO(ld_alpha=0.5).weights(LABELLED).tolist() == expected
    assert LDDPO(ld_alpha=1.0).weights(LABELLED).equal(DPO().weights(LABELLED))
    assert LDDPO(ld_alpha=0.0).weights(LABELLED).sum(1).tolist() == [2, 1, 2, 1]


def test_with_completions_of_one_length_dpo_norm_is_dpo_with_another_beta(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    rows = session.dataset(Format.PREFERENCE)[:4]
    model, start = session.model(), session.reference()
    with torch.no_grad():
        model.get_parameter("model.embed_tokens.weight").mul_(0.9)
        length = int((session.encode(rows["prompt"], rows["chosen"])["labels"] >= 0).sum(1)[0])
        per_token = DPONorm(beta=5.0).losses(model, start, session, rows)
        summed = DPO(beta=5.0 / length).losses(model, start, session, rows)
    assert per_token.tolist() == pytest.approx(summed.tolist(), rel=1e-5)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (RobustDPO(label_smoothing=0.2), {"loss_type": ["robust"], "label_smoothing": 0.2}),
        (DPONorm(beta=5.0), {"loss_type": ["sigmoid_norm"]}),
        (LDDPO(ld_alpha=0.3), {"ld_alpha": 0.3}),
        (LDDPO(ld_alpha=0.0), {"ld_alpha": 0.0}),
    ],
    ids=["robust-dpo", "dpo-norm", "ld-dpo", "ld-dpo without the rest"],
)
def test_a_variant_of_dpo_is_what_trl_computes(
    method: DPO, settings: dict[str, Any], tmp_path: Path
) -> None:
    from datasets import Dataset

    session = tiny_session(tmp_path, batch_size=3)
    model = session.model()
    session.task = _task_of(session.task, Dataset.from_dict(LONG_AND_SHORT))
    trainer = dpo_trainer(session, model, beta=method.beta, **settings)
    with torch.no_grad():  # a policy that has moved, or all losses are ln 2
        model.get_parameter("model.embed_tokens.weight").mul_(0.9)
        theirs = trainer.compute_loss(model, next(iter(trainer.get_train_dataloader())))
        ours = method.losses(model, session.reference(), session, LONG_AND_SHORT)
        plain = paired_log_ratios(model, session.reference(), session, LONG_AND_SHORT)
    assert float(ours.mean()) == pytest.approx(float(theirs), rel=1e-5)
    assert float(ours.mean()) != pytest.approx(float(losses.dpo(*plain, method.beta).mean()))


def _task_of(task: Any, rows: Any) -> Any:
    from dataclasses import replace

    return replace(task, loaders={Format.PREFERENCE: lambda split: rows})


def test_the_hinge_and_the_sigmoid_of_rso_are_what_trl_computes(tmp_path: Path) -> None:
    from bench_preference import RSO
    from datasets import Dataset

    session = tiny_session(tmp_path, batch_size=3)
    model = session.model()
    session.task = _task_of(session.task, Dataset.from_dict(LONG_AND_SHORT))
    for kind in ("hinge", "sigmoid"):
        trainer = dpo_trainer(session, model, loss_type=[kind], beta=0.05)
        with torch.no_grad():
            model.get_parameter("model.embed_tokens.weight").mul_(0.9)
            theirs = trainer.compute_loss(model, next(iter(trainer.get_train_dataloader())))
            ours = RSO(gamma=0.05, loss_type=kind).losses(
                model, session.reference(), session, LONG_AND_SHORT
            )
        assert float(ours.mean()) == pytest.approx(float(theirs), rel=1e-5)


# ── triples ──


def test_tpo_is_what_its_paper_prints() -> None:
    """-log σ(.01 · (-10 + 9)) - 2 · (-12 / 6) = .698160 + 4."""
    gold, chosen, rejected = (
        Likelihoods(number(logp), number(length)) for logp, length in ((-12, 6), (-10, 5), (-9, 4))
    )
    loss = TPO(beta=0.01, alpha=2.0).loss(gold, chosen, rejected)
    assert float(loss) == pytest.approx(4.698159680510, abs=1e-9)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=6))
def test_a_triple_is_in_falling_order_and_prefers_only_what_is_better(scores: list[int]) -> None:
    names = [f"{number}" for number in range(len(scores))]
    of = dict(zip(names, scores, strict=True))
    gold, chosen, rejected = triple(names, [float(s) for s in scores])
    assert of[gold] == max(scores)
    assert of[rejected] == min(scores)
    assert of[gold] >= of[chosen] >= of[rejected]
    if len(set(scores)) > 1:
        assert of[chosen] > of[rejected]


def test_tpo_of_two_completions_is_cpo_with_a_mean_likelihood(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    model = session.model().eval()
    pairs = session.dataset(Format.PREFERENCE)[:4]
    ranking = {
        "prompt": pairs["prompt"],
        "completions": [
            list(both) for both in zip(pairs["rejected"], pairs["chosen"], strict=True)
        ],
        "scores": [[0.0, 1.0]] * 4,
    }
    from bench_preference.likelihood import paired

    with torch.no_grad():
        tpo = TPO(beta=0.1).losses(model, session, ranking)
        chosen, rejected = paired(model, session, pairs)
        cpo = CPO(beta=0.1).loss(chosen, rejected) + chosen.logp - chosen.mean
    assert tpo.tolist() == pytest.approx(cpo.tolist(), rel=1e-5)


def test_tpo_is_what_trl_computes(tmp_path: Path) -> None:
    from datasets import Dataset
    from trl.experimental.tpo import TPOConfig, TPOTrainer

    session = tiny_session(tmp_path)
    rows = session.dataset(Format.RANKING)[:8]
    triples = [triple(*row) for row in zip(rows["completions"], rows["scores"], strict=True)]
    data = {"prompt": rows["prompt"], "reference": [t.gold for t in triples]}
    data |= {"chosen": [t.chosen for t in triples], "rejected": [t.rejected for t in triples]}
    model = session.model()
    trainer: Any = TPOTrainer(
        model,
        train_dataset=Dataset.from_dict(data),
        **session.trainer_kwargs(TPOConfig, beta=0.05, tpo_alpha=0.7, max_length=64),
    )
    with torch.no_grad():
        theirs = trainer.compute_loss(model, next(iter(trainer.get_train_dataloader())))
        ours = TPO(beta=0.05, alpha=0.7).losses(model, session, rows)
    assert float(ours.mean()) == pytest.approx(float(theirs), rel=1e-5)
