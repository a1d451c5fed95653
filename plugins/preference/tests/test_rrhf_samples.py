"""RRHF on its own samples, ranked by the reward of the task."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench_preference import RRHF

from bench.accounting.budget import Budget
from bench.data.formats import Format

from .half_right import half_right, objectives, tokens


def test_rrhf_ranks_its_own_samples_by_the_reward_of_the_task(tmp_path: Path) -> None:
    method = RRHF(lr=1e-4, candidates="sampled", max_new_tokens=6)
    assert method.needs() == (Format.PROMPT_ONLY,)
    session = half_right(tmp_path, Budget("tokens", 20_000))
    model = method.train(session)
    session.close()
    spent = tokens(session)
    assert set(spent) == {"rollout", "train"}
    assert spent["rollout"] == pytest.approx(0.3 * 20_000, rel=0.1)
    before, after = objectives(method, session, model)
    assert after["reward_accuracy"] > before["reward_accuracy"]


def test_parameters_of_samples_enter_a_run_only_where_they_are_set() -> None:
    assert RRHF(lr=1e-5).model_dump() == {"lr": 1e-5}
    assert RRHF(lr=1e-5, candidates="sampled", num_candidates=8).model_dump() == {
        "lr": 1e-5,
        "candidates": "sampled",
        "num_candidates": 8,
    }
