"""One process of a stage of a run: started from a warm fork server, heard while it works, and ended
with whatever it started.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext
from typing import Any

from bench.execution import record, worker
from bench.execution.worker import Job, Stage

# Starting a process polls the processes of all threads (multiprocessing's _cleanup). Where two
# threads read the exit code of one process at once, it becomes 255.
_EXIT_CODES = threading.Lock()


class StageProcess:
    """Begins to work when it is made."""

    def __init__(self, stage: Stage, name: str, job: Job) -> None:
        self._written = job.own(f"{name}.json")
        self._written.unlink(missing_ok=True)  # by an earlier attempt
        self._ours, theirs = _context().Pipe()
        self._process = _context().Process(target=worker.work, args=(stage, name, job, theirs))
        with _EXIT_CODES:
            self._process.start()
        theirs.close()

    def is_alive(self) -> bool:
        with _EXIT_CODES:
            return self._process.is_alive()

    def hear(self, seconds: float) -> Iterator[float]:
        """Which share of the stage is done, whenever it says so; waits so long for it to say more
        or to end.
        """
        wait([self._process.sentinel, self._ours], timeout=seconds)
        with suppress(EOFError, OSError):  # it has ended; its sentinel says so too
            while self._ours.poll():
                yield self._ours.recv()

    def outcome(self) -> dict[str, Any]:
        """What it wrote or, where it died before it could, how it died."""
        if self._written.is_file():
            return json.loads(self._written.read_text(encoding="utf-8"))
        return record.death(self._process.exitcode)

    def ended(self) -> float:
        """When it wrote its outcome, to compare with others; one that died earlier wrote none."""
        return self._written.stat().st_mtime if self._written.is_file() else 0.0

    def end(self) -> None:
        """End it and whatever it started: it leads a process group of its own."""
        leader = self._process.pid
        assert leader is not None
        with suppress(ProcessLookupError, PermissionError):
            try:
                os.killpg(leader, signal.SIGKILL)  # which outlives a leader that died
            except ProcessLookupError:  # it leads none yet, or nothing of it is left
                os.kill(leader, signal.SIGKILL)
        wait([self._process.sentinel])
        with _EXIT_CODES:
            self._process.join()
        self._ours.close()


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
