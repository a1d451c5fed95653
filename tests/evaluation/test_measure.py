"""`measure:` in a suite: tasks that are scored, and that count neither as learned nor as kept."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from ..conftest import Bench

SUITE = """
suite: measured
model: tiny
target: tiny/smallest
retain: [tiny/people]
measure: [tiny/sort, tiny/smallest]
budget: {tokens: 300}
batch: {size: 8, max_length: 32}
seeds: 1
methods: [sft]
"""


@pytest.mark.slow
def test_a_measured_task_has_a_score_and_is_not_forgotten(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    done = bench("run", "suite.yaml", "--quiet")
    assert done.returncode == 0, done.stderr
    report = tmp_path / "results/measured/report"
    rows = {row["recipe"]: row for row in csv.DictReader((report / "table.csv").open())}
    assert 0.5 < float(rows["base"]["measured[tiny/sort]"]) <= 1
    assert float(rows["sft"]["forgetting"]) == float(rows["sft"]["forgetting[tiny/people]"])
    assert "score[tiny/sort]" not in rows["sft"] and "measured[tiny/smallest]" not in rows["sft"]
    assert "| method | tiny/sort |" in (report / "table.md").read_text()


def test_an_unknown_task_is_told(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE.replace("tiny/sort", "tiny/sorted"))
    done = bench("plan", "suite.yaml")
    assert done.returncode == 2
    assert "tiny/sort" in done.stderr


def test_a_run_that_measures_more_is_another_run(bench: Bench, tmp_path: Path) -> None:
    ids = []
    for text in (SUITE, SUITE.replace("measure: [tiny/sort, tiny/smallest]\n", "")):
        (tmp_path / "suite.yaml").write_text(text)
        done = bench("plan", "suite.yaml", "--json")
        ids.append({run["id"] for run in json.loads(done.stdout)["runs"]})
    assert not ids[0] & ids[1]
