"""Whether two models hold the same weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.models.load import load_model
from bench.models.sharding import whole_weights
from bench.models.spec import ModelSpec

if TYPE_CHECKING:
    import torch


def has_changed(model: Any, spec: ModelSpec, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether a model is more, or other, than the start model."""
    import torch

    start = load_model(spec, dtype, device).state_dict()
    with whole_weights(model):
        made = {name: tensor.to(device) for name, tensor in model.state_dict().items()}
    return made.keys() != start.keys() or any(
        tensor.shape != made[name].shape or not torch.equal(made[name].to(tensor.dtype), tensor)
        for name, tensor in start.items()
    )
