"""Runs as SLURM jobs, through submitit: a job array for each batch of runs.

Driver and nodes share a disk, on which the cache lies. A job that SLURM preempts is requeued, and
its run begins anew, or with its evaluation where its training was finished.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.execution.executors import remote
from bench.execution.executors.protocol import (
    Finished,
    Lost,
    News,
    Placement,
    Running,
    missing_package,
)
from bench.execution.worker import Job
from bench.system.cache import cache_folder
from bench.system.errors import UserError
from bench.system.files import write_atomically

PASSED_ON = ("account", "qos", "constraint", "exclude", "comment")
OPTIONS = ("gpus", "cpus", "mem", "time", "cluster", *PASSED_ON)
AT_ONCE = 100  # jobs in the queue, where nobody says how many
DAY = 24 * 60  # minutes
AROUND = 30  # minutes on top of a run's own limit: for a start on a cold node
LOOK_EVERY, TELL_EVERY = 0.5, 2.0  # seconds
GRACE = {"slurm": 30.0, "local": 1.0}  # seconds until the file of a job that has ended is seen
ALIVE, TOUCH_EVERY, SILENCE = "driver-is-alive", 2.0, 600.0


@dataclass
class _Placed:
    job: Job
    submitted: Any
    node: str = ""
    told: str = ""
    ended: float | None = None
    """When its end was first seen, on one clock."""


class Slurm:
    """Places runs as SLURM jobs, on the partition that is its address. Options: `gpus`, `cpus` and
    `mem` (gigabytes) of one run, `time` in minutes, and some of sbatch's. `cluster=local` runs the
    same jobs as processes of this machine, to try it out.
    """

    processor = ""

    def __init__(self, placement: Placement) -> None:
        placement.refuse_other_options(OPTIONS)
        try:
            import submitit
        except ImportError:
            raise missing_package("submitit", "slurm") from None
        options = dict(placement.options)
        self._cluster = options.get("cluster", "slurm")
        if self._cluster not in GRACE:
            raise UserError(f"--on slurm: cluster={self._cluster} is neither slurm nor local")
        if self._cluster == "slurm" and shutil.which("sbatch") is None:
            raise UserError("--on slurm: this machine has no sbatch; start bench on a login node")
        gpus = placement.number("gpus", int, placement.gpus * self._gpus(placement.address))
        self.kind = "cuda" if gpus else "cpu"
        self.slots = placement.jobs or AT_ONCE
        self._minutes = placement.number("time", int, 0)
        folder = cache_folder() / "slurm" / uuid.uuid4().hex
        folder.mkdir(parents=True)
        (folder / ALIVE).touch()
        self._folder, self._open = folder, dict[str, _Placed]()
        self._executor = submitit.AutoExecutor(folder, cluster=self._cluster)
        self._executor.update_parameters(
            name="bench",
            cpus_per_task=placement.number("cpus", int, placement.gpus),
            gpus_per_node=gpus or None,
            mem_gb=placement.number("mem", float, 0.0) or None,
            slurm_partition=placement.address or None,
            **{f"slurm_{key}": options[key] for key in PASSED_ON if key in options},
        )
        self._closed = threading.Event()
        # apart from the driver's own work, which may take long: it puts artifacts away too
        self._alive = threading.Thread(target=self._live, daemon=True)
        self._alive.start()

    def room(self) -> int:
        return self.slots - len(self._open)

    def submit(self, jobs: Sequence[Job]) -> None:
        jobs = [remote.placed(job, self.kind) for job in jobs]
        self._executor.update_parameters(timeout_min=self._minutes or _minutes(jobs))
        with _undisturbed(), self._executor.batch():  # an array where there are several
            submitted = [self._executor.submit(_work, job, self._folder) for job in jobs]
        for job, placed in zip(jobs, submitted, strict=True):
            self._open[job.run.id] = _Placed(job, placed)

    def hear(self, seconds: float) -> Sequence[News]:
        until = time.monotonic() + seconds
        while True:
            heard = [news for run in list(self._open) if (news := self._look(run))]
            if heard or time.monotonic() > until:
                return heard
            time.sleep(LOOK_EVERY)

    def close(self) -> None:
        self._closed.set()
        self._alive.join()
        (self._folder / ALIVE).unlink(missing_ok=True)  # which alone ends jobs of this machine
        submitted = [placed.submitted for placed in self._open.values()]
        self._cancel(submitted)
        until = time.monotonic() + GRACE["slurm"]
        while time.monotonic() < until and not all(job.done() for job in submitted):
            time.sleep(LOOK_EVERY)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _look(self, run: str) -> News | None:
        placed = self._open[run]
        if not placed.submitted.done():
            return self._under_way(run, placed)
        now = time.monotonic()
        placed.ended = placed.ended or now
        if placed.submitted.paths.result_pickle.exists():
            del self._open[run]
            return self._result(run, placed)
        if now - placed.ended < GRACE[self._cluster]:
            return None
        del self._open[run]
        self._cancel([placed.submitted])  # SLURM may have requeued it
        return Lost(run, f"its job ended ({placed.submitted.state.lower()})", placed.node)

    def _under_way(self, run: str, placed: _Placed) -> Running | None:
        file = _news_file(self._folder, run)
        text = file.read_text() if file.is_file() else ""
        if text == placed.told:
            return None
        placed.told = text
        said = json.loads(text)
        placed.node = said["node"]
        return Running(run, said["stage"], said["fraction"], placed.node)

    def _result(self, run: str, placed: _Placed) -> News:
        if (error := placed.submitted.exception()) is None:
            parcel: remote.Parcel = placed.submitted.result()
            return Finished(run, remote.unpacked(parcel, placed.job), parcel.node)
        said = [line for line in str(error).splitlines() if "Error" in line]
        reason = " ".join((said or ["it left no result"])[-1].split())
        if "timed-out" in reason:
            reason = "its job reached its time limit (time= in --on sets another, in minutes)"
        return Lost(run, reason, placed.node, final=True)

    def _cancel(self, submitted: list[Any]) -> None:
        if self._cluster == "slurm" and submitted:
            ids = [job.job_id for job in submitted]
            subprocess.run(["scancel", *ids], check=False, capture_output=True)

    def _live(self) -> None:
        while not self._closed.wait(TOUCH_EVERY):
            with suppress(OSError):  # a disk that is away for a moment
                (self._folder / ALIVE).touch()

    def _gpus(self, partition: str) -> int:
        """One, where the nodes of the partition have any."""
        if self._cluster != "slurm":
            return 0
        command = ["sinfo", "--noheader", "--format=%P %G"]
        told = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        rows = [line.split() for line in told.splitlines()]
        wanted = [row for row in rows if _is_wanted(row[0], partition)]
        return int(any("gpu" in row[-1] for row in wanted))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C is the driver's to handle: a process that starts in here ignores it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _is_wanted(name: str, partition: str) -> bool:
    """Whether a row of sinfo is of this partition; a star marks the default one."""
    return name.rstrip("*") == partition if partition else name.endswith("*")


def _minutes(jobs: Sequence[Job]) -> int:
    """What SLURM must give to each of these jobs."""
    limits = [job.time_limit for job in jobs]
    known = [limit for limit in limits if limit is not None]
    return math.ceil(max(known) / 60) + AROUND if len(known) == len(limits) else DAY


def _news_file(folder: Path, run: str) -> Path:
    return folder / f"{run}.json"


def _work(job: Job, folder: Path) -> remote.Parcel:
    """The body of a SLURM job. Where SLURM takes the node away, or nothing is heard of the driver,
    it leaves no result, so that the run may be placed again.
    """
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    watch = threading.Thread(target=_stop_with_driver, args=(folder / ALIVE, stop), daemon=True)
    watch.start()

    def tell(stage: str, fraction: float) -> None:
        said = {"node": remote.node(), "stage": stage, "fraction": fraction}
        write_atomically(_news_file(folder, job.run.id), json.dumps(said))

    try:
        return remote.work(job, remote.sparingly(tell, TELL_EVERY), stop, shared_disk=True)
    finally:
        # SLURM tells the processes of the run too: that they ended says nothing of it
        if stop.is_set():
            os._exit(128 + signal.SIGTERM)


def _stop_with_driver(file: Path, stop: threading.Event) -> None:
    """A run must not outlive the driver that asked for it, however that one ends: its sign of life
    has vanished, or stays as it is.
    """
    seen, since = 0.0, time.monotonic()
    while file.exists() and time.monotonic() - since < SILENCE:
        if (now := file.stat().st_mtime) != seen:
            seen, since = now, time.monotonic()
        time.sleep(5 * LOOK_EVERY)
    stop.set()
