"""One row of a suite alone, as the page says it is reproduced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..conftest import Bench, run_in

SUITE = """suite: pair
model: tiny
target: tiny/smallest
budget: {tokens: 2k}
seeds: [0]
split: validation
methods: [sft, lora]
"""


def test_a_method_that_the_suite_has_not_is_told(tmp_path: Path, bench: Bench) -> None:
    (tmp_path / "pair.yaml").write_text(SUITE)
    result = bench("run", "pair.yaml", "--only", "lore")
    assert result.returncode == 2
    assert "--only lore is no method of the suite pair; its methods are sft, lora" in result.stderr


def test_results_of_the_whole_suite_are_not_dropped(tmp_path: Path, bench: Bench) -> None:
    (tmp_path / "pair.yaml").write_text(SUITE)
    folder = tmp_path / "results/pair"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps({"runs": ["another"]}))
    result = bench("run", "pair.yaml", "--only", "lora")
    assert result.returncode == 2
    assert "give another folder" in result.stderr


@pytest.mark.slow
def test_one_row_is_run_with_the_id_that_it_has_in_the_whole_suite(tmp_path: Path) -> None:
    (tmp_path / "pair.yaml").write_text(SUITE)
    for arguments in (("--only", "lora", "--results", "again"), ()):
        done = run_in(tmp_path, "run", "pair.yaml", *arguments, "--quiet")
        assert done.returncode == 0, done.stderr
    plans = [
        json.loads((tmp_path / folder / "pair/plan.json").read_text())["runs"]
        for folder in ("again", "results")
    ]
    assert [run.split("-")[0] for run in plans[0]] == ["base", "lora"]
    assert set(plans[0]) < set(plans[1])
