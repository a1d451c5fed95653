"""Runs on this machine: one process per stage from a fork server, as many at once as there are
slots.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any, Protocol

from bench.execution import evaluate, train
from bench.execution.record import assemble, outcome_of
from bench.execution.worker import Job, Stage, work
from bench.records.schema import Record
from bench.records.store import Store

TRAIN, EVALUATE = "train", "evaluate"
STAGES: dict[str, Stage] = {TRAIN: train.train, EVALUATE: evaluate.evaluate}


class Watcher(Protocol):
    """Who wants to know how it goes."""

    def running(self, job: Job, stage: str, fraction: float) -> None: ...

    def finished(self, job: Job, result: Record) -> None: ...


@dataclass
class Active:
    """A run that is under way in one slot."""

    job: Job
    stage: str
    process: ForkServerProcess
    channel: Connection
    train: dict[str, Any] | None = None


def slots(jobs: int | None) -> list[str]:
    """The device of each run at a time: every GPU, or the CPU once per core."""
    import torch

    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    devices = gpus or ["cpu"] * len(os.sched_getaffinity(0))
    return devices[:jobs] if gpus else ["cpu"] * (jobs or len(devices))


def run_all(jobs: Iterable[Job], devices: list[str], store: Store, watcher: Watcher) -> None:
    """Run every job, each in a free slot, and put its record into the store the moment it is
    finished.
    """
    waiting, free = list(jobs), list(devices)
    active: list[Active] = []
    context = _context()
    try:
        while waiting or active:
            while waiting and free:
                active.append(_begin(context, replace(waiting.pop(0), device=free.pop(0))))
            for one in _heard(active, watcher):
                following = _advance(context, one, len(devices), store, watcher)
                active.remove(one)
                if following is not None:
                    active.append(following)
                else:
                    free.append(one.job.device)
    finally:
        for one in active:
            one.process.kill()
        for one in active:
            one.process.join()


def _context() -> ForkServerContext:
    # One thread per process: two collapse as soon as another process wants the core.
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.execution.executors.preload"])
    return context


def _begin(context: ForkServerContext, job: Job) -> Active:
    shutil.rmtree(job.work, ignore_errors=True)
    return _start(context, job, TRAIN if job.run.method is not None else EVALUATE, None)


def _start(
    context: ForkServerContext, job: Job, stage: str, train: dict[str, Any] | None
) -> Active:
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(STAGES[stage], stage, job, theirs))
    process.start()
    theirs.close()
    return Active(job, stage, process, ours, train)


def _heard(active: list[Active], watcher: Watcher) -> list[Active]:
    """Pass on what the workers tell, until at least one of them has ended; those that have."""
    while True:
        ready = wait(
            [source for one in active for source in (one.process.sentinel, one.channel)],
            timeout=1.0,
        )
        for one in active:
            if one.channel in ready:
                _listen(one, watcher)
        if ended := [one for one in active if one.process.sentinel in ready]:
            return ended


def _listen(one: Active, watcher: Watcher) -> None:
    try:
        while one.channel.poll():
            watcher.running(one.job, one.stage, one.channel.recv())
    except (EOFError, OSError):
        pass  # it has ended; its sentinel says so too


def _advance(
    context: ForkServerContext, one: Active, side_by_side: int, store: Store, watcher: Watcher
) -> Active | None:
    """What follows the stage that has just ended: the next stage, or the record."""
    one.process.join()
    one.channel.close()
    outcome = outcome_of(one.job, one.stage, one.process.exitcode)
    if one.stage == TRAIN and outcome["status"] == "ok":
        return _start(context, one.job, EVALUATE, outcome)
    train, evaluation = (outcome, None) if one.stage == TRAIN else (one.train, outcome)
    result = assemble(one.job, train, evaluation, side_by_side)
    store.put(result, one.job.work / "items.parquet")
    if one.job.suite.artifacts == "drop":
        shutil.rmtree(one.job.work, ignore_errors=True)
    watcher.finished(one.job, result)
    return None
