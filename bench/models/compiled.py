"""Decoder layers compiled by torch: fewer kernels, and less memory traffic between them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from bench.models.load import decoder_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

COMPILERS = ("g++", "clang++", "cl")


def compile_layers(model: PreTrainedModel) -> None:
    """Compile every decoder layer at its first pass, in place: parameters keep their names.

    Layers of one kind share what was compiled. What torch cannot compile runs as it did. Raises
    `Skipped` where the model has no layers that are known here.
    """
    import torch._inductor.config as inductor

    inductor.compile_threads = 1  # else a pool of processes stays behind
    for layer in decoder_layers(model):
        layer.compile(dynamic=True)  # batches differ in length


def obstacle() -> str | None:
    """Why nothing can be compiled here; None where it can."""
    if any(name and shutil.which(name) for name in (os.environ.get("CXX"), *COMPILERS)):
        return None
    return "compile needs a C++ compiler, such as g++, which is not installed here"
