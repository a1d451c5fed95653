"""What only a GPU has: streams, a name with a peak, and NVML's view of the whole device."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch

from bench.system import ranks

PEAK_TFLOPS: tuple[tuple[str, float], ...] = (
    ("B200", 2250),
    ("H200 NVL", 835),
    ("H200", 989),
    ("H100 NVL", 835),
    ("H100 PCIe", 756),
    ("H100", 989),
    ("H800", 989),
    ("A100", 312),
    ("A800", 312),
    ("A40", 150),
    ("A30", 165),
    ("A10", 125),
    ("L40S", 362),
    ("L40", 181),
    ("L4", 121),
    ("RTX A6000", 155),
    ("RTX 4090", 165),
    ("RTX 3090", 71),
)
"""Dense bfloat16 products with float32 sums, in TFLOP/s, from NVIDIA's data sheets and white
papers. Where those give the number with sparsity, this is half of it. The first name that fits
counts.
"""


def peak_flops(name: str) -> float | None:
    """Dense bfloat16 FLOP/s of the GPU with this name; None where nobody wrote it down."""
    words = re.split(r"[\s_-]+", name.lower())
    for known, teraflops in PEAK_TFLOPS:
        if set(known.lower().split()) <= set(words):
            return teraflops * 1e12
    return None


class Aside:
    """Reads numbers from a GPU beside its queue: waits for the work up to a mark, and not for what
    was queued behind it.
    """

    def __init__(self) -> None:
        self._mark: torch.cuda.Event | None = None
        self._stream: torch.cuda.Stream | None = None

    def mark(self) -> None:
        """Whatever is read from here on has been computed by the work queued so far."""
        self._mark = self._mark or torch.cuda.Event()
        self._mark.record()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Numbers from before the mark may be read in here."""
        if self._mark is None:
            yield
            return
        self._stream = self._stream or torch.cuda.Stream()
        self._stream.wait_event(self._mark)
        with torch.cuda.stream(self._stream):
            yield


@dataclass
class Device:
    """What NVML and torch say of a GPU; None where they do not say it."""

    uuid: str | None = None
    used_bytes: int | None = None
    """On the whole device, at the end."""
    energy_joules: float | None = None
    """Of the whole device, from begin to end."""
    other_processes: int | None = None
    """That computed on it, at the end."""


@contextmanager
def watched(device: torch.device) -> Iterator[Device | None]:
    """Look at a GPU from begin to end; None for a CPU. Without the package nvidia-ml-py only its
    UUID is known.
    """
    if device.type != "cuda":
        yield None
        return
    seen = Device(uuid=f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    nvml, handle = _nvml(seen)
    energy = _asked(nvml, "nvmlDeviceGetTotalEnergyConsumption", handle)
    yield seen
    if energy is not None:
        after = _asked(nvml, "nvmlDeviceGetTotalEnergyConsumption", handle)
        seen.energy_joules = ranks.total((after - energy) / 1000)  # NVML counts millijoules
    if (memory := _asked(nvml, "nvmlDeviceGetMemoryInfo", handle)) is not None:
        seen.used_bytes = memory.used
    if (processes := _asked(nvml, "nvmlDeviceGetComputeRunningProcesses", handle)) is not None:
        # within a container NVML gives numbers of processes that this one does not know as its own
        seen.other_processes = max(0, len(processes) - 1)


def _nvml(seen: Device) -> tuple[Any, Any]:
    """The library and the device in it; None twice where either is missing."""
    with suppress(Exception):
        import pynvml  # pyright: ignore[reportMissingImports]

        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(seen.uuid)
    return None, None


def _asked(nvml: Any, question: str, handle: Any) -> Any:
    """NVML's answer, or None: not every device knows every number."""
    with suppress(Exception):
        return getattr(nvml, question)(handle)
    return None
