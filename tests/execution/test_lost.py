"""What a run leaves that never comes to its end: nothing that took long is thrown away."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.execution.record import assemble
from bench.execution.run_suite import known_runs, missing_runs
from bench.execution.worker import Job
from bench.records.store import Store
from bench.suite.file import load

from ..conftest import Bench
from ..runs import records
from .placing import ONE_SLOT, SUITE, installed

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
            return Finished(job.run.id, run_job(job.on(["cpu"]), report, stop))
        except Stopped:
            return Lost(job.run.id, "its job reached its time limit", final=True)
"""
)
"""Loses every run of a method for good, after its training."""
LATE = (
    MORTAL
    + """\
from bench.execution import kept, record
from bench.execution.run_job import Outcome


class Late(Mortal):
    def done(self, job):
        news = super().done(job)
        if isinstance(news, Finished):
            return news
        late = {"status": "timed out", "reason": news.reason}
        made = record.assemble(job, kept.kept_training(job), late)
        return Finished(job.run.id, Outcome(made, job.work / "no-items"))
"""
)
"""Says of every such run that its evaluation took too long."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "source", "status"),
    [("mortal", MORTAL, "crashed"), ("late", LATE, "timed out")],
)
def test_a_run_that_is_lost_in_its_evaluation_keeps_its_training(
    name: str, source: str, status: str, bench_process: Bench, tmp_path: Path
) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    path = installed(tmp_path / "site", name, source)
    result = bench_process("run", "suite.yaml", "--on", name, PYTHONPATH=path)
    assert result.returncode == 1, result.stdout + result.stderr
    first = records(tmp_path)["sft-s0"]
    assert (first["status"], first["reason"]) == (status, "its job reached its time limit")
    assert first["train"] and not first["evaluation"]
    (tmp_path / "suite.yaml").write_text(SUITE + "time_limit: 1000\n")
    again = bench_process("run", "suite.yaml", PYTHONPATH=path)
    assert again.returncode == 0, again.stdout + again.stderr
    second = records(tmp_path)["sft-s0"]
    assert second["status"] == "ok"
    assert second["train"]["seconds"] == first["train"]["seconds"], "it was not trained again"


@pytest.mark.parametrize(
    ("stated", "again"),
    [("", False), ("time_limit: 60\n", False), ("time_limit: 3600\n", True)],
)
def test_a_run_that_took_too_long_is_tried_again_with_another_limit(
    stated: str, again: bool, tmp_path: Path
) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE + "time_limit: 60\n")
    suite, store = load(tmp_path / "suite.yaml"), Store(tmp_path / "results")
    runs = known_runs(suite, "cpu", store)
    late = Job(suite, runs[1], "cpu", tmp_path)
    reason = "took longer than its time limit of 60 seconds (time_limit: sets another)"
    stage = {"status": "timed out", "reason": reason}
    store.put(assemble(late, stage, None), tmp_path / "no-items")
    (tmp_path / "suite.yaml").write_text(SUITE + stated)
    missing = missing_runs(load(tmp_path / "suite.yaml"), runs, store)
    assert (runs[1] in missing) == again
    assert len(missing) == 2 + again
