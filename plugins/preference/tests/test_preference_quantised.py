"""A ranker that is learned on a model in few bits, where an adapter is all that trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bench_preference.ranker import by_model, scores, trained_ranker

from bench import Format
from bench.accounting.budget import Budget
from bench.methods.adaptable import Adapter
from bench.models.spec import ModelSpec
from bench.testing import tiny_session


@pytest.mark.parametrize("bits", ["nf4", "int8"])
def test_a_later_phase_scores_as_the_ranker_that_was_trained(bits: Any, tmp_path: Path) -> None:
    start = ModelSpec(path="tiny", quantize=bits)
    session = tiny_session(tmp_path, Budget("steps", 8), start=start)
    session.adapter = Adapter.model_validate("lora")
    rows = next(session.rows(Format.PREFERENCE))
    ranker = trained_ranker(session, 0.5, 1e-2)
    with session.unmetered():
        expected = scores(ranker, session, rows, rows["chosen"])
    with session.stage("policy", until=1.0) as stage, stage.unmetered():
        other = stage.scorer("reward").eval()
        assert scores(other, stage, rows, rows["chosen"]) != pytest.approx(expected, abs=1e-2)
        rank = by_model(ranker, stage)
        assert rank(rows, rows["chosen"]) == pytest.approx(expected, abs=1e-5)
    session.close()
