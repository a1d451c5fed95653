"""One run from its job to its record: trained in one process, evaluated in a fresh second one."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.execution import evaluate, kept, record, train, weigh, worker
from bench.execution.process import StageProcess
from bench.execution.worker import Job
from bench.records.schema import Record

STAGES: dict[str, worker.Stage] = {
    "weigh": weigh.weigh,
    "train": train.train,
    "evaluate": evaluate.evaluate,
}
Report = Callable[[str, float], None]
"""Hears the name of the stage that is under way, and which share of it is done."""
ITEMS = "items.parquet"
LOOK_EVERY = 0.5  # seconds between looks at the clock and at a request to stop


@dataclass(frozen=True)
class Outcome:
    """What a run left: its record, and the file with the outcome of every item."""

    record: Record
    items: Path


class Stopped(Exception):
    """Somebody asked all runs to end."""


def named(limit: float) -> str:
    """A time limit as the reason of a run names it that it ended."""
    return f"its time limit of {limit:,.0f} seconds"


class TimeLimit:
    """Ends a run that takes longer than it may or, where nobody knows how long that is, one that
    has made no progress for very long.
    """

    IDLE = 6 * 3600.0  # seconds: no step and no task takes that long

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._started = self._moved = time.monotonic()

    def progressed(self) -> None:
        self._moved = time.monotonic()

    def passed(self) -> str | None:
        """Why the run must end, or None."""
        now = time.monotonic()
        if self._seconds is not None and now - self._started > self._seconds:
            return f"took longer than {named(self._seconds)} (time_limit: sets another)"
        if self._seconds is None and now - self._moved > self.IDLE:
            idle = f"{self.IDLE / 3600:.0f} hours"
            return f"made no progress for {idle} (time_limit: sets another limit)"
        return None


def run_job(job: Job, report: Report, stop: threading.Event) -> Outcome:
    """Train, evaluate, and put the record together; nothing is written outside of `job.work`.

    A training of this run that is kept there is evaluated and not repeated. A stage that takes the
    run past its time limit is ended, with every process that it started.
    Raises `Stopped` when `stop` is set.
    """
    limit = TimeLimit(job.time_limit)
    trained = evaluated = None
    if job.run.method is not None:
        trained = kept.kept_training(job)
    if trained is None:
        shutil.rmtree(job.work, ignore_errors=True)
    if trained is None and job.run.method is not None:
        kept.mark(job)
        if job.suite.memory:
            found = weigh.remembered(job, lambda: run_stage("weigh", job, report, stop, limit))
            if reason := weigh.too_large(found, job):
                trained = {"status": "out of memory", "reason": reason}
            job = weigh.fitting(job, found)
        trained = trained or run_stage("train", job, report, stop, limit)
    if trained is None or trained["status"] == "ok":
        evaluated = run_stage("evaluate", job, report, stop, limit)
    return Outcome(record.assemble(job, trained, evaluated), job.work / ITEMS)


def run_stage(
    name: str, job: Job, report: Report, stop: threading.Event, limit: TimeLimit
) -> dict[str, Any]:
    """Run one stage in a process of its own, or in one for each rank. Gives what the first wrote,
    or how that one ended which failed first: the others would wait for it in vain.
    """
    for left in (worker.meeting(name), ITEMS):  # by an earlier attempt
        (job.work / left).unlink(missing_ok=True)
    processes = [StageProcess(STAGES[name], name, job.of_rank(r)) for r in range(job.suite.gpus)]
    report(name, 0.0)
    try:
        while True:
            if stop.is_set():
                raise Stopped
            if reason := limit.passed():
                return {"status": "timed out", "reason": reason}
            for fraction in processes[0].hear(LOOK_EVERY):
                report(name, fraction)
                limit.progressed()
            ended = sorted((p for p in processes if not p.is_alive()), key=StageProcess.ended)
            outcomes = [process.outcome() for process in ended]
            if failed := [outcome for outcome in outcomes if outcome["status"] != "ok"]:
                return failed[0]
            if len(ended) == len(processes):
                return processes[0].outcome()
    finally:
        for process in processes:
            process.end()
