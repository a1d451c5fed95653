"""One run, in processes of its own: train and save in the first, load and evaluate in a fresh
second.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from bench.suite.plan import Run
from bench.suite.schema import Suite
from bench.system import ranks
from bench.system.errors import Skipped
from bench.system.files import write_atomically


@dataclass(frozen=True)
class Job:
    """What a worker is told."""

    suite: Suite
    run: Run
    device: str
    """Where it computes, such as cuda:3; of several ranks the first."""
    work: Path
    time_limit: float | None = None
    """Seconds; None while nobody can say how long it should take."""
    devices: tuple[str, ...] = ()
    """Of each rank, where the suite asks for several."""
    rank: int = 0
    """Which of them does this job."""
    concurrent_runs: int | None = None
    """How many runs share the machine, as far as is known."""

    def on(self, devices: Sequence[str]) -> Job:
        """The job on these devices, as many as the suite asks for."""
        return replace(self, device=devices[0], devices=tuple(devices))

    def of_rank(self, rank: int) -> Job:
        """What the process of that rank is told."""
        device = self.devices[rank] if self.devices else self.device
        return replace(self, rank=rank, device=device)

    def own(self, name: str) -> Path:
        """A file of this rank in the work folder."""
        path = self.work / name
        return path.with_stem(f"{path.stem}-{self.rank}") if self.rank else path

    @property
    def artifact(self) -> Path:
        return self.work / "artifact"

    def after_stage(self, number: int) -> Path:
        """Where the artifact stands that came out of an earlier target of a sequence, counted from
        1.
        """
        return self.work / "stages" / str(number)


class Stage(Protocol):
    def __call__(self, job: Job, report: Callable[[float], None], /) -> dict[str, Any]: ...


def work(stage: Stage, name: str, job: Job, channel: Connection) -> None:
    """Run one stage and leave its outcome in `<stage>.json`; its output goes to `log.txt`. The body
    of a worker process, one of several where several train together.
    """
    started = time.perf_counter()
    job = on_its_own_gpu(job)
    os.setpgid(0, 0)  # so that whatever it starts can be ended with it
    job.work.mkdir(parents=True, exist_ok=True)
    log = job.own("log.txt").open("a", buffering=1)
    os.dup2(log.fileno(), sys.stdout.fileno())
    os.dup2(log.fileno(), sys.stderr.fileno())
    threading.Thread(target=_end_with, args=(channel,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the launcher's to handle
    quieten()
    try:
        with ranks.joined(job.rank, job.suite.gpus, job.device, job.work / meeting(name)):
            tell = _unheard if job.rank else _throttled(channel.send)
            outcome = {"status": "ok", **stage(job, tell)}
        parts = outcome["seconds"]
        parts["other"] = time.perf_counter() - started - sum(parts.values())
    except BaseException as error:
        traceback.print_exc()
        outcome = {"status": _status(error), "reason": _reason(error)}
    write_atomically(job.own(f"{name}.json"), json.dumps(outcome, ensure_ascii=False, indent=1))


def meeting(stage: str) -> str:
    """The file by which the ranks of a stage find each other."""
    return f"{stage}.meeting"


def on_its_own_gpu(job: Job) -> Job:
    """Hide every other GPU from this process, and call its own `cuda:0`: libraries take the first
    GPU that they see, or all of them. CUDA reads the variable at its first use.
    """
    if job.device.startswith("cuda"):
        before = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible(job.device, before)
        return replace(job, device="cuda:0")
    return job


def visible(device: str, before: str | None) -> str:
    """What CUDA_VISIBLE_DEVICES must be for a process that may see one device, such as `cuda:3`,
    of those that the variable allowed `before`.
    """
    number = int(device.partition(":")[2] or 0)
    return before.split(",")[number].strip() if before else str(number)


def _unheard(fraction: float) -> None:
    """Of ranks that share a run the first alone is heard. What another wrote into its pipe would
    stay there, until the pipe is full and the rank waits for ever.
    """


def _throttled(send: Callable[[float], None]) -> Callable[[float], None]:
    """Tell at most five times a second: steps of a tiny model are faster than anybody reads."""
    last = 0.0

    def tell(fraction: float) -> None:
        nonlocal last
        if time.monotonic() - last > 0.2:
            last = time.monotonic()
            send(fraction)

    return tell


def _end_with(channel: Connection) -> None:
    """A worker must not outlive the process that asked for it, however that one ends."""
    try:
        channel.recv()
    except (EOFError, OSError):
        os.killpg(0, signal.SIGKILL)


def quieten() -> None:
    """Turn off what the libraries say about themselves; their errors still reach the log."""
    import datasets
    import torch
    import transformers
    from tqdm import tqdm

    torch.set_num_threads(1)
    tqdm.set_lock(
        threading.RLock()
    )  # its own would be a semaphore that a worker leaves behind when it is ended
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning)


def _status(error: BaseException) -> str:
    from bench.accounting.ledger import BudgetSpent
    from bench.accounting.resources import ran_out_of_memory
    from bench.methods.schedule import Diverged

    if isinstance(error, Skipped):
        return "skipped"
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, BudgetSpent):
        return "over budget"
    if ran_out_of_memory(error):
        return "out of memory"
    return "failed"


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return (
        text if type(error).__module__.startswith("bench.") else f"{type(error).__name__}: {text}"
    )
