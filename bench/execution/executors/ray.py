"""Runs on a Ray cluster: one task per run, on whichever node has room. Records, items and kept
artifacts come back through the object store, so the nodes share no disk.

The driver, not Ray, places lost runs again: it tells of each, and ends a run that takes down
whatever it is placed on. So tasks have no retries of their own.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Event
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
from bench.suite.plan import work_folder
from bench.system.cache import cache_folder
from bench.system.errors import UserError

OPTIONS = ("gpus", "cpus", "memory")
QUEUE = 100  # runs that wait in the cluster, so that one that grows knows what for
TELL_EVERY = 1.0  # seconds between news of one stage
UNTIL_ENDED = 15.0  # seconds that a cancelled run has to end by itself
CONNECTIONS = 4  # attempts at a client's connection
# however the process that answers a client failed, also where Ray looks at it as it dies
UNSTARTED = "Initialization failure from server"


class Ray:
    """Places runs on a Ray cluster. Options: `gpus` and `cpus` that one run holds, which may be
    fractions, and `memory` in gigabytes.
    """

    processor = ""

    def __init__(self, placement: Placement) -> None:
        placement.refuse_other_options(OPTIONS)
        _connect(placement)
        import ray

        have = ray.cluster_resources()
        gpus = placement.number("gpus", float, placement.gpus if have.get("GPU") else 0.0)
        cpus = placement.number("cpus", float, placement.gpus)
        memory = placement.number("memory", float, 0.0)
        self.kind = "cuda" if gpus else "cpu"
        fit = have.get("GPU", 0.0) / gpus if gpus else have.get("CPU", 0.0) / (cpus or 1.0)
        self.slots = min(max(1, int(fit)), placement.jobs or QUEUE)
        self._most = placement.jobs or self.slots + QUEUE
        self._needs = {"num_cpus": cpus, "num_gpus": gpus, "memory": int(memory * 1e9) or None}
        self._open: dict[Any, Job] = {}
        self._nodes: dict[str, str] = {}
        self._board = _board()
        self._latest: Any = None

    def room(self) -> int:
        return self._most - len(self._open)

    def submit(self, jobs: Sequence[Job]) -> None:
        import ray

        task = ray.remote(**self._needs, max_calls=1, max_retries=0)(_work)
        for job in jobs:
            ref = task.remote(remote.placed(job, self.kind), self._board)
            self._open[ref] = job

    def hear(self, seconds: float) -> Sequence[News]:
        import ray

        refs = list(self._open)
        if not refs:
            time.sleep(seconds)
            return []
        ended, _ = ray.wait(refs, num_returns=1, timeout=seconds)
        if ended:
            ended, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        return [*self._under_way(), *(self._ended(ref) for ref in ended)]

    def close(self) -> None:
        import ray

        with suppress(Exception):  # the cluster itself may be gone
            for force in (False, True):
                for ref in self._open:
                    ray.cancel(ref, force=force)
                if self._open:
                    refs = list(self._open)
                    _, left = ray.wait(refs, num_returns=len(refs), timeout=UNTIL_ENDED)
                    self._open = {ref: self._open[ref] for ref in left}
            ray.kill(self._board)
        ray.shutdown()

    def _ended(self, ref: Any) -> News:
        import ray
        from ray.exceptions import OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError

        job = self._open.pop(ref)
        run, node = job.run.id, self._nodes.pop(job.run.id, "")
        try:
            parcel: remote.Parcel = ray.get(ref)
            return Finished(run, remote.unpacked(parcel, job), parcel.node)
        except RayTaskError as error:
            reason = " ".join(f"{type(error.cause).__name__}: {error.cause}".split())
            return Lost(run, f"the task failed with {reason}", node, final=True)
        except OutOfMemoryError:
            return Lost(run, "Ray ended it because memory ran out on its node", node)
        except WorkerCrashedError:
            return Lost(run, "its process was ended", node)
        except RayError as error:
            return Lost(run, f"its node is gone ({type(error).__name__})", node)

    def _under_way(self) -> list[News]:
        """What runs said since the last look; it waits for nobody."""
        import ray
        from ray.exceptions import RayError

        if self._latest is None:
            self._latest = self._board.take.remote()
        ready, _ = ray.wait([self._latest], timeout=0)
        if not ready:
            return []
        latest, self._latest = self._latest, None
        try:
            news: list[Running] = ray.get(latest)
        except RayError:  # its node was lost; it begins anew elsewhere
            return []
        live = {job.run.id for job in self._open.values()}
        found = [one for one in news if one.run in live]
        self._nodes |= {one.run: one.node for one in found}
        return list(found)


class _Board:
    """Where runs write how far they are. It lives in the cluster."""

    def __init__(self) -> None:
        self._latest: dict[str, Running] = {}

    def tell(self, news: Running) -> None:
        self._latest[news.run] = news

    def take(self) -> list[Running]:
        latest, self._latest = self._latest, {}
        return list(latest.values())


def _board() -> Any:
    """A board beside the driver, where there is room for it, and in any case where it lives on."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    options = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": here}
    return ray.remote(_Board).options(**options).remote()


def _work(job: Job, board: Any) -> remote.Parcel:
    """The task of one run."""
    import ray

    # of its own, also where nodes share a home: a node that is thought lost may still write
    node = ray.get_runtime_context().get_node_id()
    job = replace(job, work=work_folder(cache_folder() / "nodes" / node, job.suite, job.run))

    def tell(stage: str, fraction: float) -> None:
        board.tell.remote(Running(job.run.id, stage, fraction, remote.node()))

    try:
        report = remote.sparingly(tell, TELL_EVERY)
        return remote.work(job, report, Event(), shared_disk=False)
    finally:
        with suppress(OSError):  # another run of this node is still there
            job.work.parent.rmdir()
            job.work.parent.parent.rmdir()


def _connect(placement: Placement) -> None:
    os.environ |= {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    try:
        import ray
    except ImportError:
        raise missing_package("Ray", "ray") from None
    address = f"ray://{placement.address}" if placement.address else "auto"
    try:
        _persist(lambda: ray.init(address, logging_level=logging.ERROR, log_to_driver=False))
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        if "pip package `ray[client]`" in reason:
            raise UserError('--on ray://… needs Ray\'s client: pip install "ray[client]"') from None
        if placement.address:
            raise UserError(f"no Ray cluster answers at {address}: {reason}") from None
        raise UserError(
            "no Ray cluster runs on this machine: start one with `ray start --head`, or name one"
            f" with --on ray://HOST:10001 ({reason})"
        ) from None


def _persist(connect: Callable[[], object]) -> None:
    """A cluster answers a client by a process of its own, and on a busy head node one start in
    three of such a process was seen to fail, so it is asked for again.
    """
    for left in reversed(range(CONNECTIONS)):
        try:
            # what it warns of, it raises as well
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                connect()
            return
        except (ConnectionError, RuntimeError) as error:
            if not left or UNSTARTED not in str(error):
                raise
