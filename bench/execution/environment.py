"""Where a run ran, as far as its numbers may depend on it."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.execution.worker import Job
from bench.suite.schema import Suite
from bench.system import ranks

LIBRARIES = (
    "torch",
    "transformers",
    "peft",
    "trl",
    "datasets",
    "lm-eval",
    "accelerate",
    "tokenizers",
)


def precision(suite: Suite, device: str) -> Any:
    """The torch dtype that the suite asks for on this device."""
    import torch

    auto = "bfloat16" if device.startswith("cuda") else "float32"
    return getattr(torch, auto if suite.dtype == "auto" else suite.dtype)


def environment(job: Job) -> dict[str, Any]:
    """Where a run ran, as far as its numbers may depend on it."""
    import torch

    on_gpu = job.device.startswith("cuda")
    return {
        "python": platform.python_version(),
        "libraries": versions(),
        "device": processor(job.device),
        "device_kind": job.device.partition(":")[0],
        "dtype": str(precision(job.suite, job.device)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "ranks": ranks.count(),
        "attention": job.suite.attention,
        "compiled": job.suite.compile,
        **(_arithmetic() if on_gpu else {}),
    }


def _arithmetic() -> dict[str, Any]:
    """The settings of a GPU that its numbers and speed depend on."""
    import torch

    return {
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled()
        or torch.backends.cudnn.deterministic,
    }


def versions() -> dict[str, str]:
    """Of each library that numbers may depend on, as far as it is installed."""
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def processor(device: str) -> str:
    """Name of the GPU, or of the CPU."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def count_parameters(model: Any) -> dict[str, int]:
    from bench.accounting import packed

    return {
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "total": packed.parameters(model),
    }
