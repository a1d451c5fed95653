"""Runs on this machine: as many at once as there are slots, each placed by a thread of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import Empty, SimpleQueue

from bench.execution.environment import processor
from bench.execution.executors.protocol import Finished, News, Placement, Running
from bench.execution.run_job import Stopped, run_job
from bench.execution.worker import Job
from bench.system.errors import UserError

Slot = list[str]
"""The devices of one run."""


CONTEXT = 1 << 30
"""Bytes of a GPU that a process takes beside what PyTorch allocates."""


def slots(jobs: int | None, gpus: int = 1, memory: float | None = None) -> list[Slot]:
    """The devices of each concurrent run: every so many GPUs, or cores of the CPU. `UserError`
    where there are too few GPUs for one run.

    Where `jobs` asks for more runs than there are GPUs, and a run holds at most so many bytes of
    `memory`, a GPU has as many as fit.
    """
    import torch

    if not (there := torch.cuda.device_count()):
        return [["cpu"] * gpus] * (jobs or max(1, len(os.sched_getaffinity(0)) // gpus))
    if there < gpus:
        raise UserError(f"gpus: {gpus} asks for more GPUs than the {there} of this machine")
    devices = [f"cuda:{i}" for i in range(there)]
    apart = [devices[i : i + gpus] for i in range(0, there - gpus + 1, gpus)]
    if jobs is None or jobs <= len(apart) or memory is None:
        return apart[:jobs]
    least = min(torch.cuda.get_device_properties(name).total_memory for name in devices)
    return (apart * max(1, int(least / (memory + CONTEXT))))[:jobs]


class Local:
    """Places runs on the CPUs or GPUs of this machine, each on so many `gpus`."""

    def __init__(self, jobs: int | None = None, gpus: int = 1, memory: float | None = None) -> None:
        self._free = slots(jobs, gpus, memory)
        self._first = self._free[0][0]
        self.slots, self.kind = len(self._free), self._first.partition(":")[0]
        self._pool = ThreadPoolExecutor(self.slots)
        self._stop = threading.Event()
        self._news: SimpleQueue[News | BaseException] = SimpleQueue()
        self._taken: dict[str, Slot] = {}

    @property
    def processor(self) -> str:
        return processor(self._first)

    def room(self) -> int:
        return len(self._free)

    def submit(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._taken[job.run.id] = devices = self._free.pop(0)
            here = replace(job.on(devices), concurrent_runs=self.slots)
            self._pool.submit(self._work, here)

    def hear(self, seconds: float) -> Sequence[News]:
        heard: list[News] = []
        try:
            while True:
                news = self._news.get(timeout=0 if heard else seconds)
                if isinstance(news, BaseException):
                    raise news
                heard.append(news)
                if isinstance(news, Finished):
                    self._free.append(self._taken.pop(news.run))
                    return heard  # its slot is free
        except Empty:
            return heard

    def close(self) -> None:
        self._stop.set()
        self._pool.shutdown()

    def _work(self, job: Job) -> None:
        def report(stage: str, fraction: float) -> None:
            self._news.put(Running(job.run.id, stage, fraction))

        try:
            outcome = run_job(job, report, self._stop)
            self._news.put(Finished(job.run.id, outcome))
        except Stopped:
            pass
        except BaseException as error:
            self._news.put(error)


def open_local(placement: Placement) -> Local:
    """What `--on local` names."""
    placement.refuse_other_options(())
    if placement.address:
        raise UserError(f"--on local is this machine and takes no address ({placement.address})")
    return Local(placement.jobs, placement.gpus, placement.memory)
