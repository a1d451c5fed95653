"""Who can teach on a model in few bits, whose weights cannot be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bench_distillation import GKD, KD, SeqKD

from bench.accounting.budget import Budget
from bench.methods.recipe import apply, obstacle
from bench.models.spec import ModelSpec
from bench.testing import tiny_session

NF4 = ModelSpec(path="tiny", quantize="nf4")


@pytest.mark.parametrize("kind", [KD, SeqKD, GKD])
def test_a_quantized_start_cannot_be_tuned_to_teach_and_another_model_can(
    kind: Any, tmp_path: Path
) -> None:
    alone, taught = kind(adapter="lora"), kind(adapter="lora", teacher="tiny")
    session = tiny_session(tmp_path, Budget("steps", 2), start=NF4)
    assert "name a teacher" in (obstacle(alone, session) or "")
    assert obstacle(taught, session) is None
    session.close()
    assert obstacle(alone, tiny_session(tmp_path / "whole")) is None


def test_a_student_in_few_bits_learns_from_a_model_in_full(tmp_path: Path) -> None:
    method = KD.model_validate({"adapter": "lora", "teacher": "tiny"})
    session = tiny_session(tmp_path, Budget("steps", 2), start=NF4)
    apply("kd", method, session)
    session.close()
    assert session.ledger.steps == 2 and session.ledger.purposes["teacher"].samples == 16
