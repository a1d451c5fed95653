"""The objective of methods of reinforcement learning: what a look costs, and what it tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bench_rl import GRPO
from bench_rl.measure import PROMPTS, SAMPLES
from bench_rl.rollout import sample
from transformers import set_seed

from bench.testing import tiny_session

from .sampled import KNOWN

GIVEN: dict[str, Any] = {"max_completion_length": 6}


def _look(
    folder: Path, noise: float = 0.0, batch_size: int = 8
) -> tuple[dict[str, float], set[str]]:
    """The objective of the start with a little noise on its weights, and what models passed for."""
    session = tiny_session(folder, task=KNOWN, batch_size=batch_size)
    look = session.validation(session.start)
    model = look.model().eval()
    set_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
        values = GRPO(**GIVEN).objective(look, model)
    look.close()
    return values, {name for name, spend in look.ledger.by_purpose().items() if spend["tokens"]}


def test_at_the_start_the_divergence_is_0_and_not_computed(tmp_path: Path) -> None:
    values, purposes = _look(tmp_path)
    assert values["kl"] == 0
    assert 0.5 < values["reward"] <= 1
    assert purposes == {"rollout"}, "neither model reads what was sampled"


def test_a_model_that_has_moved_is_compared_with_the_start(tmp_path: Path) -> None:
    values, purposes = _look(tmp_path, noise=0.01)
    assert values["kl"] > 1e-3
    assert {"rollout", "reference"} <= purposes


@pytest.mark.parametrize("batch_size", [1, 8, 24])
def test_a_look_is_of_so_many_prompts_whatever_the_batch(
    batch_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def counted(session: Any, model: Any, prompts: Any, **given: Any) -> Any:
        sizes.append(len(prompts))
        return sample(session, model, prompts, **given)

    monkeypatch.setattr("bench_rl.measure.sample", counted)
    _look(tmp_path, batch_size=batch_size)
    assert sum(sizes) == PROMPTS
    assert max(sizes) * SAMPLES <= max(batch_size, SAMPLES)


def test_sampling_ends_where_all_completions_have_ended(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task=KNOWN)
    model = session.model().eval()
    prompts = ["copy a ?", "copy b ?"]
    found = sample(
        session, model, prompts, num_samples=2, temperature=0.01, max_completion_length=40
    )
    assert found.ended(session.end_ids(model)).all()
    assert found.mask.shape[1] == int(found.mask.sum(1).max()) < 10
    read = int(found.attention_mask.sum() - found.mask.sum()) + 4 * (found.mask.shape[1] - 1)
    assert float(session.ledger.purposes["rollout"].tokens) == read
