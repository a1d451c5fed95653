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


FAILS = """\
import os
from dataclasses import replace
from bench.execution.executors.local import Local
from bench.execution.executors.protocol import Finished
from bench.records.schema import Purpose, Status

class Fails:
    def __init__(self, place):
        self._inner, self._tried = Local(1), 0

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def hear(self, seconds):
        if self._tried == 2:
            raise KeyboardInterrupt
        return list(map(self._heard, self._inner.hear(seconds)))

    def _heard(self, news):
        if not isinstance(news, Finished):
            return news
        record = news.outcome.record
        self._tried += record.purpose is Purpose.TRIAL
        if record.purpose is not Purpose.TRIAL or record.trial != int(os.environ["FAILS"]):
            return news
        broken = {"status": Status.FAILED, "reason": "no room", "evaluation": None}
        record = record.model_copy(update=broken)
        return replace(news, outcome=replace(news.outcome, record=record))
"""
"""Lets one trial fail, and is interrupted when both trials have ended."""


@pytest.mark.slow
def test_no_row_is_trained_before_a_failed_trial_is_tried_again(
    bench_process: Bench, tmp_path: Path
) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE.replace("[sft, lora]", "[sft]"))
    path = installed(tmp_path / "site", "fails", FAILS)
    whole = bench_process("run", "suite.yaml", "--results", "whole")
    assert whole.returncode == 0, whole.stdout + whole.stderr
    (row,) = tmp_path.glob("whole/small/records/sft--tuned-*.json")
    chosen = json.loads(row.read_text())["trial"]
    held_up = bench_process(
        "run", "suite.yaml", "--on", "fails", PYTHONPATH=path, FAILS=str(chosen)
    )
    assert held_up.returncode == 130, held_up.stdout + held_up.stderr
    mended = bench_process("run", "suite.yaml")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    found = {f.name for f in tmp_path.glob("results/small/records/*.json")}
    assert found == {f.name for f in tmp_path.glob("whole/small/records/*.json")}
