"""A budget in samples: nothing is free, and a packed row is not one sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import Format
from bench.accounting.budget import Budget
from bench.methods.recipe import apply
from bench.methods.registry import usable
from bench.testing import tiny_session

SAMPLES = 512
SETTINGS: dict[str, dict[str, Any]] = {
    "sft": {},
    "dapt": {},
    "tapt": {},
    "kto": {},
    "grpo": {"max_completion_length": 4},
    "rejection-sampling": {"num_samples": 4, "max_completion_length": 4},
    "slic-hf": {"max_new_tokens": 4},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_every_text_that_is_read_is_paid_for(name: str, tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("samples", SAMPLES), "tiny/largest")
    texts = max(len(text.split()) for text in session.dataset(Format.LANGUAGE_MODELING)[:]["text"])
    apply(name, usable(name).model_validate(SETTINGS[name]), session)
    session.close()
    spent = session.ledger.totals()
    assert SAMPLES <= spent["samples"] <= 1.25 * SAMPLES
    # a text and a completion of a few tokens more, or the padding of a packed row
    assert spent["tokens"] < 1.5 * (texts + 6) * spent["samples"]
    for purpose, charge in session.ledger.by_purpose().items():
        assert bool(charge["samples"]) == bool(charge["tokens"]), purpose
