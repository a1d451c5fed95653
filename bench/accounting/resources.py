"""Time and memory of a stretch of code, as context managers that yield their reading."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch


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
            self.reserved_bytes = max(
                self.reserved_bytes or 0, torch.cuda.max_memory_reserved(device)
            )
        else:
            self.peak_bytes = max(self.peak_bytes, _resident("VmHWM"))

    def restart(self, device: torch.device) -> None:
        """Forget every peak so far."""
        self.peak_bytes = 0
        self.baseline_bytes = restart_peak(device)


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
    """Tokens per second over the steady steps of a training, its first steps excluded."""

    WARM_UP_STEPS = 5

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._begun: tuple[float, float] | None = None
        self._steps = 0

    def step(self, tokens: Callable[[], float]) -> None:
        """Tell that another step is done."""
        self._steps += 1
        if self._steps == self.WARM_UP_STEPS:
            synchronize(self._device)
            self._begun = (time.perf_counter(), tokens())

    def read(self, tokens: float) -> tuple[float, float] | None:
        """Tokens and seconds since the warm-up, or None before the second steady step."""
        if self._begun is None or self._steps <= self.WARM_UP_STEPS:
            return None
        synchronize(self._device)
        return tokens - self._begun[1], time.perf_counter() - self._begun[0]
