"""One run from its job to its record: trained in one process, evaluated in a fresh second one."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from bench.execution import evaluate, kept, record, train, worker
from bench.execution.worker import Job
from bench.records.schema import Record

STAGES: dict[str, worker.Stage] = {"train": train.train, "evaluate": evaluate.evaluate}
Report = Callable[[str, float], None]
"""Hears the name of the stage that is under way, and which share of it is done."""
ITEMS = "items.parquet"
LOOK_EVERY = 0.5  # seconds between looks at the clock and at a request to stop
# Starting a process polls the processes of all threads (multiprocessing's _cleanup). Where two
# threads read the exit code of one process at once, it becomes 255.
_EXIT_CODES = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """What a run left: its record, and the file with the outcome of every item."""

    record: Record
    items: Path


class Stopped(Exception):
    """Somebody asked all runs to end."""


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
            limit = f"its time limit of {self._seconds:,.0f} seconds"
            return f"took longer than {limit} (time_limit: sets another)"
        if self._seconds is None and now - self._moved > self.IDLE:
            idle = f"{self.IDLE / 3600:.0f} hours"
            return f"made no progress for {idle} (time_limit: sets another limit)"
        return None


def run_job(
    job: Job, report: Report, stop: threading.Event, concurrent_runs: int | None
) -> Outcome:
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
        trained = _stage("train", job, report, stop, limit)
    if trained is None or trained["status"] == "ok":
        evaluated = _stage("evaluate", job, report, stop, limit)
    made = record.assemble(job, trained, evaluated, concurrent_runs)
    return Outcome(made, job.work / ITEMS)


def _stage(
    name: str, job: Job, report: Report, stop: threading.Event, limit: TimeLimit
) -> dict[str, Any]:
    """Run one stage in a process of its own; gives what it wrote, or how it ended."""
    for left in (f"{name}.json", ITEMS):  # by an earlier attempt
        (job.work / left).unlink(missing_ok=True)
    ours, theirs = _context().Pipe()
    process = _context().Process(target=worker.work, args=(STAGES[name], name, job, theirs))
    with _EXIT_CODES:
        process.start()
    theirs.close()
    report(name, 0.0)
    try:
        while _is_alive(process):
            if stop.is_set():
                raise Stopped
            if reason := limit.passed():
                return {"status": "timed out", "reason": reason}
            wait([process.sentinel, ours], timeout=LOOK_EVERY)
            with suppress(EOFError, OSError):  # it has ended; its sentinel says so too
                while ours.poll():
                    report(name, ours.recv())
                    limit.progressed()
    finally:
        _end(process.pid)
        wait([process.sentinel])
        with _EXIT_CODES:
            process.join()
        ours.close()
    return record.outcome_of(job, name, process.exitcode)


def _is_alive(process: BaseProcess) -> bool:
    with _EXIT_CODES:
        return process.is_alive()


def _end(leader: int | None) -> None:
    """End a worker and whatever it started: a worker leads a process group of its own."""
    with suppress(ProcessLookupError, PermissionError):
        if leader is not None and os.getpgid(leader) == leader:
            os.killpg(leader, signal.SIGKILL)
        elif leader is not None:
            os.kill(leader, signal.SIGKILL)


@cache
def _context() -> ForkServerContext:
    # One thread per process: two collapse as soon as another process wants the core.
    # A look for GPUs through NVML leaves CUDA alone, which no process may have used that forks.
    os.environ |= {
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    }
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.execution.preload"])
    return context
