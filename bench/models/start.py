"""What a recipe starts from: a model, and what earlier recipes put on top of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.models import load
from bench.models.spec import ModelSpec, fingerprint
from bench.system.cache import cache_folder
from bench.system.errors import Skipped

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Loader = Callable[[Any, Path], Any]
"""Puts a saved artifact onto a freshly loaded model, and gives the whole."""


@dataclass(frozen=True)
class Attached:
    """An artifact on top of a model: its folder, its form on disk, and how it is loaded."""

    folder: Path
    form: dict[str, Any]
    load: Loader


@dataclass(frozen=True)
class Start:
    """A model with its attached artifacts, in the order in which they are put on."""

    spec: ModelSpec
    attached: tuple[Attached, ...] = ()
    trained: bool = False
    """Whether its weights are what a part of a recipe made, and not the suite's model."""

    @property
    def tokenizer_location(self) -> str:
        """Folder or hub id of the tokenizer."""
        return self.spec.tokenizer_location

    def moved(self, folder: Path) -> Start:
        """The same tokenizer with whole weights from a local folder."""
        return Start(self.spec.moved(folder), trained=True)

    def with_attached(self, attached: Attached) -> Start:
        return replace(self, attached=(*self.attached, attached))


def folder_of_start(spec: ModelSpec, dtype: torch.dtype, device: torch.device) -> Path:
    """Where that lies what a start model says, computed once for all runs: in the cache, by model,
    precision, kind of device and libraries.
    """
    import torch
    import transformers

    libraries = f"torch {torch.__version__}, transformers {transformers.__version__}"
    name = f"{fingerprint(spec)} {dtype} {device.type} {libraries}"
    return cache_folder() / "starts" / hashlib.sha256(name.encode()).hexdigest()[:16]


def load_start(start: Start, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """A fresh copy of the start, its weights in `dtype`."""
    model: Any = load.load_model(start.spec, dtype, device)
    for attached in start.attached:
        model = attached.load(model, attached.folder).to(device)
    return model


def load_scorer(start: Start, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The start with one new output per token in place of its head; `Skipped` where an earlier part
    of the recipe left modules of its own, which no scorer can hold.
    """
    if start.attached:
        raise Skipped("a reward model cannot start from a model with modules of a method's own")
    return load.load_scorer(start.spec, dtype, device)
