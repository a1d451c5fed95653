"""What a run leaves that never comes to its end: nothing that took long is thrown away."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..conftest import Bench
from ..runs import records
from .test_executors import ONE_SLOT, SUITE, installed

MORTAL = (
    ONE_SLOT
    + """\
from threading import Event

from bench.execution.executors.protocol import Finished, Lost
from bench.execution.run_job import Stopped, run_job


class Mortal(OneSlot):
    def done(self, job):
        stop = Event()

        def report(stage, fraction):
            if stage == "evaluate" and job.run.method:
                stop.set()

        try:
            return Finished(job.run.id, run_job(job.on(["cpu"]), report, stop, 1))
        except Stopped:
            return Lost(job.run.id, "its job reached its time limit", final=True)
"""
)
"""Loses every run of a method for good, after its training."""


@pytest.mark.slow
def test_a_run_that_is_lost_for_good_keeps_its_training(
    bench_process: Bench, tmp_path: Path
) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    path = installed(tmp_path / "site", "mortal", MORTAL)
    result = bench_process("run", "suite.yaml", "--on", "mortal", PYTHONPATH=path)
    assert result.returncode == 1, result.stdout + result.stderr
    first = records(tmp_path)["sft-s0"]
    assert (first["status"], first["reason"]) == ("crashed", "its job reached its time limit")
    assert first["train"] and not first["evaluation"]
    again = bench_process("run", "suite.yaml", PYTHONPATH=path)
    assert again.returncode == 0, again.stdout + again.stderr
    second = records(tmp_path)["sft-s0"]
    assert second["status"] == "ok"
    assert second["train"]["seconds"] == first["train"]["seconds"], "it was not trained again"
