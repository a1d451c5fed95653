"""Machines that do not know of one another share the runs of a suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.records.schema import Record
from bench.records.store import Store

from ..conftest import Bench

SUITE = """
suite: parts
model: tiny
target: tiny/smallest
retain: [tiny/largest]
budget: {steps: 2}
batch: {size: 4, max_length: 64}
seeds: 2
methods: [sft, lora]
"""


def answers(record: Record) -> tuple[str, str, dict[str, float]]:
    return record.id, record.status, {task: s.value for task, s in record.scores.items()}


@pytest.mark.slow
def test_merged_shards_are_the_whole_suite(tmp_path: Path, bench_process: Bench) -> None:
    file = tmp_path / "suite.yaml"
    file.write_text(SUITE)
    for part in ("1/2", "2/2"):
        made = bench_process("run", file, "--shard", part, "--results", f"part-{part[0]}")
        assert made.returncode == 0, made.stderr
    parts = [Store(tmp_path / f"part-{n}/parts") for n in (1, 2)]
    held = [{record.id for record in part.all()} for part in parts]
    assert held[0] & held[1] == {run for run in held[0] if run.startswith("base-")}
    again = bench_process("run", file, "--shard", "1/2", "--results", "part-1", "--quiet")
    assert again.returncode == 0, again.stderr
    merged = bench_process("merge", "part-1/parts", "part-2/parts", "--to", "merged/parts")
    assert merged.returncode == 0, merged.stderr
    assert bench_process("run", file, "--results", "whole").returncode == 0
    one, other = Store(tmp_path / "merged/parts"), Store(tmp_path / "whole/parts")
    assert one.asked() == other.asked()
    assert len(one.all()) == 5
    assert [answers(r) for r in one.planned()] == [answers(r) for r in other.planned()]
    assert all(one.items(run) == other.items(run) for run in one.asked())
    for name in ("suite.yaml", "plan.json"):
        assert (one.folder / name).read_text() == (other.folder / name).read_text()


@pytest.mark.parametrize("text", ["0/2", "3/2", "a", "1", "-1/2", "1/0"])
def test_a_shard_that_is_none_is_told(tmp_path: Path, bench: Bench, text: str) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    result = bench("run", "suite.yaml", f"--shard={text}")
    assert result.returncode == 2
    assert "is no shard" in result.stderr
