"""What a method says of the start is measured once for all its runs, unless training decides it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Bench

SUITE = """suite: small
model: tiny
target: tiny/largest
budget: {{tokens: 4k}}
batch: {{size: 32, max_length: 64}}
seeds: 2
methods:
  - {method}
"""
LEARNED = "ppo: {reward: model, reward_share: 0.5, max_completion_length: 4}"


def _kept(tmp_path: Path) -> dict[str, Any]:
    files = (tmp_path / "cache/bench/starts").rglob("objective-*.json")
    return {str(file): json.loads(file.read_text()) for file in files}


def _before(tmp_path: Path) -> list[dict[str, float]]:
    files = sorted((tmp_path / "results/small/records").glob("[!b]*.json"))
    looks = [json.loads(file.read_text())["train"]["objective"][-1] for file in files]
    return [look["before"]["values"] for look in looks]


@pytest.mark.slow
def test_the_start_is_measured_once_for_all_seeds(tmp_path: Path, bench_process: Bench) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE.format(method="sft: {lr: 1.0e-3}"))
    assert bench_process("run", "suite.yaml", "--jobs", 1).returncode == 0
    [(file, kept)] = _kept(tmp_path).items()
    assert _before(tmp_path) == [kept["values"]] * 2
    Path(file).write_text(json.dumps({"values": {"nll": 1.25}}))
    assert bench_process("run", "suite.yaml", "--jobs", 1, "--results", "again").returncode == 0
    (tmp_path / "results").rename(tmp_path / "measured")
    (tmp_path / "again").rename(tmp_path / "results")
    assert _before(tmp_path) == [{"nll": 1.25}] * 2, "the file is read, not made again"


@pytest.mark.slow
def test_what_a_learned_reward_says_of_the_start_is_not_kept(
    tmp_path: Path, bench_process: Bench
) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE.format(method=LEARNED))
    assert bench_process("run", "suite.yaml", "--jobs", 1).returncode == 0
    assert not _kept(tmp_path)
    first, second = _before(tmp_path)
    assert first["reward"] != second["reward"], "each seed learned a reward of its own"
