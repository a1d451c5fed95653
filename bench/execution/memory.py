"""The memory that each row of a suite takes in training, before anything is trained."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.execution import weigh
from bench.execution.run_job import TimeLimit, run_stage
from bench.execution.weigh import Weighed
from bench.execution.worker import Job
from bench.suite.plan import Run
from bench.suite.schema import Suite
from bench.system.errors import UserError


def of_recipes(
    suite: Suite, runs: Sequence[Run], device: str, at_once: int
) -> dict[str, list[Weighed] | None]:
    """What was found for the first run of each recipe; None where it cannot be weighed.

    UserError where several GPUs share a run.
    """
    if suite.gpus > 1:
        raise UserError("--memory works where a run has one GPU: the suite says gpus:")
    first: dict[str, Run] = {}
    for run in runs:
        if run.method is not None:
            first.setdefault(run.recipe, run)
    with TemporaryDirectory() as folder, ThreadPoolExecutor(at_once) as pool:
        jobs = [Job(suite, run, device, Path(folder) / run.id) for run in first.values()]
        found = pool.map(_weighed, jobs)
        return {job.run.recipe: one for job, one in zip(jobs, found, strict=True)}


def _weighed(job: Job) -> list[Weighed] | None:
    stop, limit = threading.Event(), TimeLimit(None)
    return weigh.remembered(
        job, lambda: run_stage("weigh", job, lambda name, fraction: None, stop, limit)
    )
