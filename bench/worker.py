"""One run, in processes of its own: train and save in the first, load and evaluate in a fresh second."""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from .errors import Skipped
from .plan import Run
from .store import write_atomically
from .suite import Suite

LIBRARIES = ("torch", "transformers", "peft", "trl", "datasets", "lm-eval", "accelerate", "tokenizers")


@dataclass(frozen=True)
class Job:
    """What a worker is told."""

    suite: Suite
    suite_folder: Path
    run: Run
    device: str
    work: Path

    @property
    def artifact(self) -> Path:
        return self.work / "artifact"

    def after_stage(self, number: int) -> Path:
        """Where the artifact stands that came out of an earlier target of a sequence, counted from 1."""
        return self.work / "stages" / str(number)


class Stage(Protocol):
    def __call__(self, job: Job, tell: Callable[[float], None]) -> dict[str, Any]: ...


def work(stage: Stage, name: str, job: Job, channel: Connection) -> None:
    """Run one stage and leave its outcome in `<stage>.json`; its output goes to `log.txt`. The body of a worker process."""
    job.work.mkdir(parents=True, exist_ok=True)
    log = (job.work / "log.txt").open("a", buffering=1)
    os.dup2(log.fileno(), sys.stdout.fileno())
    os.dup2(log.fileno(), sys.stderr.fileno())
    threading.Thread(target=_end_with, args=(channel,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the launcher's to handle
    quieten()
    job.suite.at(job.suite_folder)
    try:
        outcome = {"status": "ok", **stage(job, _throttled(channel.send))}
    except BaseException as error:
        traceback.print_exc()
        outcome = {"status": _status(error), "reason": _reason(error)}
    write_atomically(job.work / f"{name}.json", json.dumps(outcome, ensure_ascii=False, indent=1))


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
        os._exit(1)


def quieten() -> None:
    """Turn off what the libraries say about themselves; their errors still reach the log."""
    import datasets
    import torch
    import transformers
    from tqdm import tqdm

    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # its own would be a semaphore that a worker leaves behind when it is ended
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning)


def _status(error: BaseException) -> str:
    import torch

    from .ledger import BudgetSpent
    from .schedule import Diverged

    if isinstance(error, Skipped):
        return "skipped"
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, BudgetSpent):
        return "over budget"
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error):
        return "out of memory"
    return "failed"


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if type(error).__module__.startswith("bench.") else f"{type(error).__name__}: {text}"


def precision(suite: Suite, device: str) -> Any:
    """The torch dtype that the suite asks for on this device."""
    import torch

    auto = "bfloat16" if device.startswith("cuda") else "float32"
    return getattr(torch, auto if suite.dtype == "auto" else suite.dtype)


def environment(job: Job) -> dict[str, Any]:
    """Where a run ran, as far as its numbers may depend on it."""
    import torch

    return {
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "device": torch.cuda.get_device_name() if job.device.startswith("cuda") else _processor(),
        "device_kind": job.device.partition(":")[0],
        "dtype": str(precision(job.suite, job.device)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def count_parameters(model: Any) -> dict[str, int]:
    return {
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "total": sum(p.numel() for p in model.parameters()),
    }
