"""What the harness does beside a training costs it no time and no memory, and what a training did
before its first step is not forgotten.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import Format, token_losses
from bench.accounting.budget import Budget
from bench.accounting.resources import Speed
from bench.methods import registry
from bench.methods.recipe import apply
from bench.models import load
from bench.testing import tiny_session

PAUSE = 1.0
MIB = 2**20


def test_a_pause_does_not_slow_a_training_down(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", Speed.WARM_UP_STEPS + 2))
    model = session.model()
    optimizer = session.optimizer(model, 1e-3)
    begun = time.perf_counter()
    for batch in session.batches(Format.PROMPT_COMPLETION):
        session.learn(optimizer, batch, lambda part: token_losses(model, part))
    with session.unmetered():
        time.sleep(PAUSE)
    session.close()
    passed = time.perf_counter() - begun
    ((tokens, seconds),) = session.log.speeds
    assert tokens > 0 and 0 < seconds < passed - PAUSE


def test_loading_what_is_merged_is_not_charged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load.load_model

    def slowly(*given: Any) -> Any:
        time.sleep(0.2)
        return loaded(*given)

    monkeypatch.setattr(load, "load_model", slowly)
    merge = registry.usable("merge").model_validate({"parts": ["sft", "sft"]})
    session = tiny_session(tmp_path, Budget("steps", 2))
    session.log.measures_objectives = False
    begun = time.perf_counter()
    apply("merge", merge, session)
    passed = time.perf_counter() - begun
    # two parts; the start and both parts to be merged; one to hold what came out
    assert session.log.load_seconds > 6 * 0.2
    assert session.ledger.spent("seconds") < passed - 6 * 0.2
    session.close()


def test_memory_that_was_held_before_the_first_step_is_remembered(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    memory = session.log.memory

    model = session.model()
    before = memory.baseline_bytes
    with torch.no_grad():
        model(input_ids=torch.ones(1, 4, dtype=torch.long))
    torch.ones(64 * MIB, dtype=torch.uint8)
    session.reference()
    memory.note(session.device)
    assert memory.baseline_bytes == before
    assert memory.peak_bytes > before + 60 * MIB
    session.close()


def test_memory_that_loading_takes_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load.load_model

    def greedily(*given: Any) -> Any:
        torch.ones(256 * MIB, dtype=torch.uint8)
        return loaded(*given)

    monkeypatch.setattr(load, "load_model", greedily)
    session = tiny_session(tmp_path)
    for _ in range(2):  # nothing is charged before the first one alone
        with torch.no_grad():
            session.model()(input_ids=torch.ones(1, 4, dtype=torch.long))
    session.log.memory.note(session.device)
    assert session.log.memory.peak_bytes < session.log.memory.baseline_bytes + 200 * MIB
    session.close()
