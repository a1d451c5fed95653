"""Time and memory of a stretch of code, as context managers that yield their reading."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.accounting.ledger import Ledger
from bench.system.ranks import here


@dataclass
class Stopwatch:
    seconds: float = 0.0


@dataclass
class Memory:
    """Peaks in bytes. On CPU the resident set of this process; on GPU what torch's allocator gave
    out and reserved.
    """

    baseline_bytes: int = 0
    peak_bytes: int = 0
    reserved_bytes: int | None = None
    kind: str = "resident set"

    def note(self, device: torch.device) -> None:
        """Take in the peak since the last `restart_peak`."""
        if device.type == "cuda":
            self.kind = "allocated by torch"
            self.peak_bytes = max(self.peak_bytes, torch.cuda.max_memory_allocated(device))
            reserved = torch.cuda.max_memory_reserved(device)
            self.reserved_bytes = max(self.reserved_bytes or 0, reserved)
        else:
            self.peak_bytes = max(self.peak_bytes, _resident("VmHWM"))

    def parts(self, held: Held) -> dict[str, Any]:
        """As a record holds it: with what was held from step to step, and on a GPU the rest."""
        rest = None if self.reserved_bytes is None else max(0, self.peak_bytes - held.total)
        split = {f"{name}_bytes": value for name, value in asdict(held).items()}
        known = split if held.total else dict.fromkeys(split)
        return asdict(self) | known | {"activations_bytes": rest if held.total else None}

    def restart(self, device: torch.device) -> None:
        """Forget every peak so far."""
        self.peak_bytes, self.reserved_bytes = 0, None
        self.baseline_bytes = restart_peak(device)


@dataclass(frozen=True)
class Held:
    """Bytes that a training holds from one step to the next."""

    weights: int = 0
    gradients: int = 0
    optimizer: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer


def held(models: Iterable[nn.Module], optimizer: Optimizer) -> Held:
    """What models, gradients and the state of an optimizer hold just after its step."""
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    weights = {id(p): p for model in models for p in [*model.parameters(), *trained]}
    # tensors that several parameters have in common, such as the map of 8-bit values, are one
    state = {id(value): value for kept in optimizer.state.values() for value in kept.values()}
    return Held(
        weights=sum(here(p).nbytes for p in weights.values()),
        gradients=sum(here(p.grad).nbytes for p in weights.values() if p.grad is not None),
        optimizer=sum(here(value).nbytes for value in state.values() if isinstance(value, Tensor)),
    )


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU or the machine had no memory left for what was asked."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(sign in str(error) for sign in ("can't allocate memory", "ALLOC_FAILED"))


def let_go() -> None:
    """Free what nobody holds any more, and give it back to the GPU where one is in use."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def stopwatch(device: torch.device) -> Iterator[Stopwatch]:
    """Wall-clock seconds, with the device's queue empty at both ends."""
    watch = Stopwatch()
    synchronize(device)
    started = time.perf_counter()
    try:
        yield watch
    finally:
        synchronize(device)
        watch.seconds = time.perf_counter() - started


@contextmanager
def memory(device: torch.device) -> Iterator[Memory]:
    """Peak memory from here to the end of the block, or from the last `restart` within it."""
    reading = Memory()
    reading.restart(device)
    try:
        yield reading
    finally:
        reading.note(device)


def restart_peak(device: torch.device) -> int:
    """Forget the peak so far; gives the bytes in use now.

    On CPU `ru_maxrss` would not do: a forked child inherits its parent's. Writing 5 to `clear_refs`
    sets the kernel's high-water mark of this process (VmHWM) back to its present resident set.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)  # the statistics are those of an initialised device only
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS")


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


class Speed:
    """Tokens per second over the steady steps of a training, its first steps excluded, while the
    ledger's clock runs.
    """

    WARM_UP_STEPS = 5

    def __init__(self, device: torch.device, ledger: Ledger) -> None:
        self._device, self._ledger = device, ledger
        self._begun: tuple[float, float] | None = None
        self._steps = 0

    def step(self) -> None:
        """Tell that another step is done."""
        self._steps += 1
        if self._steps == self.WARM_UP_STEPS:
            self._begun = self._now()

    def read(self) -> tuple[float, float] | None:
        """Tokens and seconds since the warm-up, or None before the second steady step."""
        if self._begun is None or self._steps <= self.WARM_UP_STEPS:
            return None
        tokens, seconds = self._now()
        return tokens - self._begun[0], seconds - self._begun[1]

    def _now(self) -> tuple[float, float]:
        synchronize(self._device)
        return float(self._ledger.purposes["train"].tokens), self._ledger.clock
