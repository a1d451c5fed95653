"""Losses beside those of TRL's trainers on the same eight rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bench_preference import CPO, KTO, ORPO, SimPO, losses
from bench_preference.likelihood import Likelihoods, log_ratios, paired
from torch import Tensor

from bench.data.formats import Format
from bench.methods.session import Session
from bench.testing import tiny_session


def _collated(trainer: Any) -> dict[str, Tensor]:
    return next(iter(trainer.get_train_dataloader()))


def _pair_trainer(session: Session, trainer: Any, config: Any, **settings: Any) -> Any:
    rows = session.dataset(Format.PREFERENCE).select(range(8))
    return trainer(
        session.model(),
        train_dataset=rows,
        **session.trainer_kwargs(config, max_length=64, **settings),
    )


def _seen(session: Session, model: Any) -> tuple[Likelihoods, Likelihoods]:
    with torch.no_grad():
        return paired(model, session, session.dataset(Format.PREFERENCE)[:8])


def _loss(trainer: Any) -> float:
    with torch.no_grad():
        return float(trainer.compute_loss(trainer.model, _collated(trainer)))


def test_simpo_is_what_trl_computes(tmp_path: Path) -> None:
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    session = tiny_session(tmp_path)
    trainer = _pair_trainer(
        session, CPOTrainer, CPOConfig, loss_type="simpo", cpo_alpha=0.0, beta=2.0, simpo_gamma=1.0
    )
    ours = SimPO(beta=2.0, gamma=1.0).loss(*_seen(session, trainer.model)).mean()
    assert float(ours) == pytest.approx(_loss(trainer), rel=1e-5)


def test_the_preference_term_of_cpo_is_what_trl_computes(tmp_path: Path) -> None:
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    session = tiny_session(tmp_path)
    trainer = _pair_trainer(
        session, CPOTrainer, CPOConfig, loss_type="sigmoid", cpo_alpha=0.0, beta=0.1
    )
    chosen, rejected = _seen(session, trainer.model)
    assert float(losses.cpo(chosen.logp, rejected.logp, 0.1).mean()) == pytest.approx(
        _loss(trainer), rel=1e-5
    )
    trainer.cpo_alpha = 1.0
    likelihood_of_tokens = -chosen.logp.sum() / chosen.length.sum()
    theirs = _loss(trainer)
    assert float(
        losses.cpo(chosen.logp, rejected.logp, 0.1).mean() + likelihood_of_tokens
    ) == pytest.approx(theirs, rel=1e-5)
    ours = CPO(beta=0.1).loss(chosen, rejected).mean()
    assert float(ours) == pytest.approx(theirs + float(likelihood_of_tokens) * 2, rel=1e-5), (
        "three tokens each: the paper sums them"
    )


def test_the_hinge_of_slic_is_what_trl_computes_for_beta_one(tmp_path: Path) -> None:
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    session = tiny_session(tmp_path)
    trainer = _pair_trainer(
        session, CPOTrainer, CPOConfig, loss_type="hinge", cpo_alpha=0.1, beta=1.0
    )
    chosen, rejected = _seen(session, trainer.model)
    ours = losses.slic(chosen.logp, rejected.logp, chosen.mean, delta=1.0, lam=0.1).mean()
    assert float(ours) == pytest.approx(_loss(trainer), rel=1e-5)


def test_the_odds_ratio_of_orpo_is_what_trl_computes(tmp_path: Path) -> None:
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    session = tiny_session(tmp_path)
    trainer = _pair_trainer(session, ORPOTrainer, ORPOConfig, beta=0.1)
    chosen, rejected = _seen(session, trainer.model)
    with torch.no_grad():
        _, metrics = trainer.get_batch_loss_metrics(trainer.model, _collated(trainer))
    assert float(losses.odds_ratio(chosen.mean, rejected.mean).mean()) == pytest.approx(
        -metrics["log_odds_ratio"], rel=1e-5
    )
    ours = ORPO(lam=0.1).loss(chosen, rejected).mean() + chosen.mean.mean()
    assert float(ours) == pytest.approx(-0.1 * metrics["log_odds_ratio"], rel=1e-5)


def test_kto_is_what_trl_computes(tmp_path: Path) -> None:
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer

    session = tiny_session(tmp_path)
    rows = session.dataset(Format.UNPAIRED_PREFERENCE).select(range(8))
    model, start = session.model(), session.reference()
    with torch.no_grad():  # a policy that has moved, so that the baseline is not zero
        model.get_parameter("model.embed_tokens.weight").mul_(0.9)
    settings = session.trainer_kwargs(
        KTOConfig, beta=0.1, desirable_weight=1.3, undesirable_weight=0.7
    )
    trainer = KTOTrainer(model, ref_model=start, train_dataset=rows, **settings)
    method = KTO(beta=0.1, desirable_weight=1.3, undesirable_weight=0.7)
    prompts, completions = list(rows["prompt"]), list(rows["completion"])
    with torch.no_grad():
        mismatched = log_ratios(
            model, start, session, prompts, [completions[-1], *completions[:-1]]
        )
        assert float(losses.kto_baseline(mismatched)) > 0
        baseline = method.baseline(model, start, session, rows[:8])
        ours = method.losses(model, start, session, baseline, rows[:8]).mean()
        assert float(ours) == pytest.approx(
            float(trainer.compute_loss(model, _collated(trainer))), rel=1e-5
        )
