"""Arithmetic in the suite's precision, with float32 masters of everything that trains."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bench.system.ranks import is_sharded

if TYPE_CHECKING:
    import torch
    from torch.nn import Module, Parameter
    from transformers import PreTrainedModel


def compute_in(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Arithmetic in `dtype` with float32 masters of everything that trains, whoever builds the
    optimizer.

    Frozen weights stay in `dtype`. PEFT calls `forward` directly, so the wrapper replaces it rather
    than hooking the call; TRL's fused heads call the backbone and never the model's own `forward`,
    so the backbone has the wrapper too.
    """
    import torch

    if dtype == torch.float32:
        return
    for module in (model, model.base_model):
        module.forward = _in_dtype(module.forward, model, dtype)  # pyright: ignore[reportAttributeAccessIssue]


def in_float32(parameters: Iterable[Parameter]) -> None:
    """Make each a float32 master, in place."""
    import torch

    for parameter in parameters:
        if parameter.dtype == torch.float32:
            continue
        if is_sharded(parameter):  # whose part has to change with it
            master = torch.nn.Parameter(parameter.detach().float(), parameter.requires_grad)
            torch.utils.swap_tensors(parameter, master)
        else:
            parameter.data = parameter.data.float()


def as_saved(model: Module, dtype: torch.dtype) -> None:
    """All that is saved in `dtype`, in place. What is not saved stays as a fresh model has it:
    the frequencies of rotary positions lose their meaning in 16 bits.
    """
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data.to(dtype)
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_floating_point() and name not in module._non_persistent_buffers_set:
                setattr(module, name, buffer.to(dtype))


def _in_dtype(
    forward: Callable[..., Any], model: PreTrainedModel, dtype: torch.dtype
) -> Callable[..., Any]:
    import torch

    @functools.wraps(forward)
    def in_dtype(*args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            in_float32(p for p in model.parameters() if p.requires_grad)
        with torch.autocast(model.device.type, dtype=dtype):
            return forward(*args, **kwargs)

    return in_dtype
