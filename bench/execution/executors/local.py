"""Runs on this machine: as many at once as there are slots, each placed by a thread of its own."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Protocol

from bench.execution import kept
from bench.execution.run_job import Outcome, run_job
from bench.execution.worker import Job
from bench.records.schema import Record
from bench.records.store import Store
from bench.suite.forecast import Forecast


class Watcher(Protocol):
    """Who wants to know how it goes."""

    def running(self, job: Job, stage: str, fraction: float) -> None: ...

    def finished(self, job: Job, result: Record) -> None: ...


def slots(jobs: int | None) -> list[str]:
    """The device of each concurrent run: every GPU, or the CPU once per core."""
    import torch

    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    devices = gpus or ["cpu"] * len(os.sched_getaffinity(0))
    return devices[:jobs] if gpus else ["cpu"] * (jobs or len(devices))


def run_all(
    jobs: Iterable[Job], devices: list[str], store: Store, watcher: Watcher, forecast: Forecast
) -> None:
    """Run every job, each in a free slot, and keep its record the moment it is finished."""
    waiting, free, stop = list(jobs), list(devices), threading.Event()
    active: dict[Future[Outcome], Job] = {}
    with ThreadPoolExecutor(len(devices)) as pool:
        try:
            while waiting or active:
                while waiting and free:
                    job = waiting.pop(0)
                    limit = job.suite.time_limit or forecast.limit(job.run)
                    job = replace(job, device=free.pop(0), time_limit=limit)
                    active[_placed(pool, job, watcher, forecast, stop, len(devices))] = job
                done, _ = wait(active, timeout=1.0, return_when=FIRST_COMPLETED)
                for future in done:
                    job = active.pop(future)
                    free.append(job.device)
                    _keep(job, future.result(), store)
                    forecast.finished(future.result().record)
                    watcher.finished(job, future.result().record)
        finally:
            stop.set()


def _placed(
    pool: ThreadPoolExecutor,
    job: Job,
    watcher: Watcher,
    forecast: Forecast,
    stop: threading.Event,
    slots: int,
) -> Future[Outcome]:
    def report(stage: str, fraction: float) -> None:
        forecast.running(job.run, stage, fraction, time.monotonic())
        watcher.running(job, stage, fraction)

    return pool.submit(run_job, job, report, stop, slots)


def _keep(job: Job, outcome: Outcome, store: Store) -> None:
    store.put(outcome.record, outcome.items)
    if kept.evaluation_is_open(outcome.record):
        return
    kept.forget(job)
    if job.suite.artifacts == "drop":
        shutil.rmtree(job.work, ignore_errors=True)
