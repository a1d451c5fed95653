"""What a run saved, and loading it again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel
from bench.models.load import load_model
from bench.models.spec import ModelSpec

START = "start"
"""Folder inside an artifact with the weights that its adapter belongs to, where they are not the
suite's model.
"""


class CannotMerge(Exception):
    """An adapter that has to become part of its base cannot."""


def save_model(model: Any, folder: Path, dtype: torch.dtype) -> None:
    """Safetensors only: an adapter as PEFT saves it, or all weights in the suite's precision."""
    from peft import PeftModel

    shutil.rmtree(folder, ignore_errors=True)
    if not isinstance(model, PeftModel):
        model = model.to(dtype)
    model.save_pretrained(str(folder))


def save_artifact(
    model: Any, folder: Path, dtype: torch.dtype, start: ModelSpec, known: ModelSpec
) -> None:
    """A model as it will be evaluated; an adapter with the start it belongs to, unless that is the
    `known` one.
    """
    from peft import PeftModel

    save_model(model, folder, dtype)
    if isinstance(model, PeftModel) and start != known:
        shutil.copytree(start.location, folder / START)


def open_artifact(folder: Path, known: ModelSpec, dtype: torch.dtype, device: torch.device) -> Any:
    """What `save_artifact` saved, as a user would load it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    if not (folder / "adapter_config.json").exists():
        whole: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True)
        return whole.to(device)
    start = known.moved(folder / START) if (folder / START).is_dir() else known
    return PeftModel.from_pretrained(load_model(start, dtype, device), str(folder)).to(device)


def merge_adapter(model: Any) -> PreTrainedModel:
    """The model with its adapter made part of its weights; `CannotMerge` when that is impossible."""
    from peft import PeftModel

    if not isinstance(model, PeftModel):
        return model
    kind = type(model.active_peft_config).__name__
    if not hasattr(model.base_model, "merge_and_unload"):
        raise CannotMerge(
            f"an adapter of {kind} cannot be merged into its base, so nothing can follow it"
        )
    try:
        return model.merge_and_unload()
    except Exception as error:  # each of PEFT's tuners says in its own way that it cannot
        raise CannotMerge(
            f"an adapter of {kind} cannot be merged into its base, so nothing can follow it:"
            f" {error}"
        ) from error
