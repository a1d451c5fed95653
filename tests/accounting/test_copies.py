"""What PEFT copies of a metered model is no more than it asked for."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from bench.accounting.budget import Budget
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
