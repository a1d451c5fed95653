"""Several targets in a row, and shares of the budget: what a real run writes down of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.analysis import analyze
from bench.records.schema import Record
from bench.records.stages import EvaluationStage
from bench.records.store import Store

from ..conftest import Bench

SUITE = """
suite: row
model: tiny
target: [tiny/swap, tiny/smallest]
retain: [tiny/people]
budget: {tokens: 4k}
batch: {size: 16, max_length: 64}
seeds: [3]
curve: [0.5]
methods:
  - lora: {lr: 3.0e-3}
"""


@pytest.mark.slow
def test_scores_after_every_target_and_on_shares_of_the_budget(
    bench_process: Bench, tmp_path: Path
) -> None:
    (tmp_path / "row.yaml").write_text(SUITE)
    done = bench_process("run", "row.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "results/row"
    base, whole, half = Store(folder).planned()
    assert [r.purpose for r in (base, whole, half)] == ["row", "row", "curve"]
    (after_first,) = evaluation(whole).earlier_scores
    assert set(after_first) == {
        "tiny/swap",
        "tiny/smallest",
        "tiny/people",
    }, "every task is scored after every target"
    assert evaluation(base).earlier_scores == evaluation(half).earlier_scores == []
    assert set(evaluation(half).scores) == set(after_first), "as much as of the whole budget"
    assert half.budget is not None and half.train is not None
    assert (half.budget.currency, half.budget.amount) == ("tokens", 2000.0)
    assert half.train.ledger.spent.tokens == pytest.approx(2000, rel=0.4)
    found = analyze(Store(folder))
    (sequence,) = found.sequences
    values = [
        {task: score.value for task, score in scores.items()}
        for scores in (evaluation(base).scores, after_first, evaluation(whole).scores)
    ]
    assert sequence.matrix == [[scores[task] for task in sequence.tasks] for scores in values]
    assert [(p.recipe, p.share) for p in found.curve] == [("lora", 0.5), ("lora", 1.0)]
    (row,) = (row for row in found.rows if row.recipe == "lora")
    for column, point in (
        ("target_accuracy", found.curve[1].accuracy),
        ("forgetting", found.curve[1].forgetting),
    ):
        assert point is not None and point.value == row.means[column]
        assert point.bounds == row.intervals[column], "the whole budget is the row of the table"
    forgotten = found.curve[0].forgetting
    kept = evaluation(base).scores["tiny/people"], evaluation(half).scores["tiny/people"]
    assert forgotten is not None
    assert forgotten.value == pytest.approx(kept[0].value - kept[1].value)
    assert "after tiny/swap" in (folder / "report/table.md").read_text()
    assert json.loads((folder / "plan.json").read_text())["runs"] == [
        r.id for r in (base, whole, half)
    ]


def evaluation(record: Record) -> EvaluationStage:
    assert record.evaluation is not None
    return record.evaluation
