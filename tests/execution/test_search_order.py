"""In which order the runs of a search are placed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..conftest import Bench
from .placing import installed

SUITE = """\
suite: small
model: tiny
target: tiny/smallest
budget: {tokens: 1k}
batch: {size: 16, max_length: 64}
seeds: 1
tuning: {trials: 2, defaults: false}
methods: [sft, lora]
"""
WAITS = """\
from bench.execution.executors.local import Local
from bench.execution.executors.protocol import Finished

class Waits:
    def __init__(self, place):
        self._inner, self._lora, self._held, self._idle, self._rows = Local(2), set(), [], 0, 0

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def submit(self, jobs):
        self._lora |= {job.run.id for job in jobs if job.run.method == "lora"}
        self._rows += sum(job.run.tuned_from == "sft" for job in jobs)
        self._inner.submit(jobs)

    def hear(self, seconds):
        heard = list(self._inner.hear(seconds))
        self._idle += not heard
        if self._rows or self._idle > 20:
            print(f"{self._rows} rows of sft before lora")
            return self._held + heard
        late = [n for n in heard if isinstance(n, Finished) and n.run in self._lora]
        self._held += late
        return [n for n in heard if n not in late]
"""
"""Holds back the trials of lora until a row of sft is placed, or for long nothing happens."""


@pytest.mark.slow
def test_rows_wait_for_the_trials_of_their_own_recipe_alone(
    bench_process: Bench, tmp_path: Path
) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    path = installed(tmp_path / "site", "waits", WAITS)
    result = bench_process("run", "suite.yaml", "--on", "waits", PYTHONPATH=path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 rows of sft before lora" in result.stdout
    assert "0 rows of sft before lora" not in result.stdout
    records = [json.loads(f.read_text()) for f in tmp_path.glob("results/small/records/*.json")]
    found = sorted((record["recipe"], record["status"]) for record in records)
    rows = [("base", "ok"), ("lora (tuned)", "ok"), ("sft (tuned)", "ok")]
    assert found == sorted([*rows, *[("lora", "ok"), ("sft", "ok")] * 2])
