"""No model is in memory that nobody needs."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from bench.accounting.budget import Budget
from bench.execution.train import train
from bench.execution.worker import Job
from bench.methods.run_log import RunLog
from bench.suite import file as suite_file
from bench.suite.plan import make_plan
from bench.testing import tiny_session

SAVED: dict[str, dict[str, Any]] = {
    "model": {"modules_to_save": ["embed_tokens", "lm_head"], "task_type": "CAUSAL_LM"},
    "scorer": {"task_type": "SEQ_CLS"},  # which saves the new output too
}


def _parameters() -> dict[int, torch.nn.Parameter]:
    gc.collect()
    return {id(one): one for one in gc.get_objects() if isinstance(one, torch.nn.Parameter)}


@pytest.mark.parametrize("kind", SAVED)
def test_a_copy_of_a_head_holds_no_second_model(kind: str, tmp_path: Path) -> None:
    before = _parameters()
    session = tiny_session(tmp_path, Budget("steps", 2), "tiny/smallest")
    base = session.model() if kind == "model" else session.scorer("reward")
    model = get_peft_model(base, LoraConfig(target_modules=["q_proj"], **SAVED[kind]))
    made = [one for key, one in _parameters().items() if key not in before]
    assert sum(one.nbytes for one in made) == sum(one.nbytes for one in model.parameters())


@pytest.fixture
def at_hand(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many models somebody has whenever one is handed out."""
    counts: list[int] = []
    handed_out = RunLog.handed_out

    def counting(log: RunLog, model: Any) -> None:
        handed_out(log, model)
        counts.append(len(log.models()))

    monkeypatch.setattr(RunLog, "handed_out", counting)
    return counts


SUITE: dict[str, Any] = {
    "suite": "small",
    "model": "tiny",
    "target": ["tiny/smallest", "tiny/add"],
    "budget": {"steps": 4},
    "batch": {"size": 4, "max_length": 64},
    "seeds": 1,
    "methods": [{"chain": ["sft", "lora"]}],
}


def test_no_stage_holds_the_model_of_the_stage_before(tmp_path: Path, at_hand: list[int]) -> None:
    suite = suite_file.parse(SUITE)
    run = next(run for run in make_plan(suite, "cpu") if run.method is not None)
    train(Job(suite, run, "cpu", tmp_path), lambda _: None)
    assert len(at_hand) >= 4, "two parts on each of two targets"
    assert set(at_hand) == {1}
